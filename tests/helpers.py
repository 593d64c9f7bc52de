"""What several test files need: small data, a run with set weights, interrupted trainings, comparison of messages."""

import csv
import multiprocessing
import os
import random
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

WORDS = {
    "fruit": ["apple", "pear", "plum", "cherry", "grape", "melon", "lemon", "fig"],
    "metal": ["iron", "copper", "zinc", "silver", "gold", "nickel", "lead", "tin"],
    "water": ["river", "lake", "sea", "rain", "ice", "steam", "cloud", "dew"],
}
SMALL = {
    "model": {"width": 16, "heads": 2, "layers": 1},
    "training": {"epochs": 6, "batch_size": 16, "learning_rate": 0.02},
}
# The same for tests that compare numbers or bytes, or ask for an accuracy: other precisions differ by processor.
EXACT = {"model": SMALL["model"], "training": {**SMALL["training"], "precision": "32"}}
NEEDED = ("model.safetensors", "tokenizer.json", "labels.json")


def sentences(rows: int, seed: int = 0) -> list[tuple[str, str]]:
    """(text, label) pairs that a small model learns in seconds: the label's words among words of no meaning."""
    chance = random.Random(seed)
    filler = ["the", "a", "of", "and", "with", "some", "on", "near", "under", "very"]
    pairs = []
    for i in range(rows):
        label = sorted(WORDS)[i % len(WORDS)]
        words = [chance.choice(WORDS[label]) for _ in range(2)] + [chance.choice(filler) for _ in range(4)]
        chance.shuffle(words)
        pairs.append((" ".join(words), label))
    return pairs


def file_name(name: str) -> str:
    """A name as Python gives it for the file that is so called in UTF-8: another string where the locale is C."""
    return os.fsdecode(name.encode("utf-8"))


def write_csv(path: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = ("text", "label")) -> Path:
    """A csv file with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_run_with_set_weights(folder: Path, data: Path) -> Path:
    """Write a run on `data` that knows the `WORDS` without having been trained, so that it is right on any processor.

    Number i of a word's vector says that the word belongs to label i, and the heads read just that. All other weights
    are random: the encoder has something to compute, and what it adds is too little to change a prediction.
    """
    import torch

    from selfattn_lm.config import settings_from, with_changes
    from selfattn_lm.features.tokenizer import train_tokenizer
    from selfattn_lm.runs import Run, new_model, write_run

    settings = settings_from({"data": {"source": str(data)}, **SMALL}, "settings")
    resolved: dict[str, Any] = {
        "data": {"text_column": "text"},
        "tokenizer": {"type": "wordpiece", "vocab_size": 1000},
        "model": {"max_length": 16, "pooling": "mean", "max_ngram": 2, "ngram_buckets": 1024},
    }
    in_effect = with_changes(settings, resolved)
    tokenizer = train_tokenizer((text for text, _ in sentences(240)), in_effect.tokenizer)
    labels = sorted(WORDS)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = new_model(in_effect, tokenizer, len(labels), with_char_ngrams=False)
        table = model.embedding.tokens.weight
        table[:, : len(labels)] = 0
        for number, label in enumerate(labels):
            for word in WORDS[label]:
                table[tokenizer.token_to_id(word), number] = 2
        for layer in model.branches["encoder"].encoder.layers:
            layer.attention.out.weight.mul_(0.1)
            layer.feed_forward[2].weight.mul_(0.1)
        for name, scale in (("bag", 3.0), ("encoder", 1.5)):
            linear = model.branches[name].head[1]
            linear.weight.zero_()
            linear.bias.zero_()
            for number in range(len(labels)):
                linear.weight[number, number] = scale
    write_run(folder, Run(settings, resolved, labels, tokenizer, model.eval()))
    return folder


def same_bytes(one: Path, other: Path) -> bool:
    """Whether two run folders hold the same tokenizer, labels and weights."""
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in NEEDED)


def _die_at(step: int, arguments: list[str]) -> None:
    from selfattn_lm.cli import main
    from selfattn_lm.training.callbacks import StopOnRequest

    def die(self: StopOnRequest, trainer: Any, *args: Any) -> None:
        if trainer.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    StopOnRequest.on_train_batch_end = die  # type: ignore[method-assign]
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        main(arguments)


def run_killed_at(step: int, arguments: list[str]) -> None:
    """Run the command line in a process that is killed at a step, without a chance to clean up."""
    process = multiprocessing.get_context("forkserver").Process(target=_die_at, args=(step, arguments))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@contextmanager
def ctrl_c_at(step: int, number: int = signal.SIGINT) -> Iterator[None]:
    """Within, Ctrl-C is pressed, or another signal comes, while a training of this process is at a step."""
    import pytest

    from selfattn_lm.training.callbacks import StopOnRequest

    on_train_batch_end = StopOnRequest.on_train_batch_end

    def press(self: StopOnRequest, trainer: Any, *args: Any) -> None:
        if trainer.global_step == step:
            signal.raise_signal(number)
        on_train_batch_end(self, trainer, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StopOnRequest, "on_train_batch_end", press)
        yield


def assert_says(message: str, expected: str) -> None:
    """Compare a message word for word, but let `…` stand for words that are not ours.

    Python, the system and other libraries phrase their reasons as they like, and otherwise in their next version.
    """
    pattern = ".+".join(re.escape(part) for part in expected.split("…"))
    if re.fullmatch(pattern, message, re.DOTALL) is None:
        assert message == expected
