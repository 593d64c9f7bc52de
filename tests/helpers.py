"""What several test files need: small data, a run with set weights, interrupted trainings, comparison of messages."""

import csv
import multiprocessing
import os
import random
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from selfattn_lm.config import PredictionSettings, Resolved, ResolvedModel, ResolvedTokenizer

WORDS: dict[str, Any] = {
    "fruit": ["apple", "pear", "plum", "cherry", "grape", "melon", "lemon", "fig"],
    "metal": ["iron", "copper", "zinc", "silver", "gold", "nickel", "lead", "tin"],
    "water": ["river", "lake", "sea", "rain", "ice", "steam", "cloud", "dew"],
}
SMALL: dict[str, Any] = {
    "model": {"width": 16, "heads": 2, "layers": 1},
    "training": {"epochs": 6, "batch_size": 16, "learning_rate": 0.02},
}
# The same for tests that compare numbers or bytes, or ask for an accuracy: other precisions differ by processor.
EXACT: dict[str, Any] = {
    "model": SMALL["model"],
    "training": {**SMALL["training"], "precision": "32"},
}
NEEDED = ("model.safetensors", "tokenizer.json", "labels.json")


def sentences(rows: int, seed: int = 0) -> list[tuple[str, str]]:
    """(text, label) pairs that a small model learns in seconds: the label's words among words of no meaning."""
    chance = random.Random(seed)
    filler = ["the", "a", "of", "and", "with", "some", "on", "near", "under", "very"]
    pairs = []
    for i in range(rows):
        label = sorted(WORDS)[i % len(WORDS)]
        words = [chance.choice(WORDS[label]) for _ in range(2)] + [
            chance.choice(filler) for _ in range(4)
        ]
        chance.shuffle(words)
        pairs.append((" ".join(words), label))
    return pairs


def file_name(name: str) -> str:
    """A name as Python gives it for the file that is so called in UTF-8: another string where the locale is C."""
    return os.fsdecode(name.encode("utf-8"))


def write_csv(
    path: Path, rows: Iterable[tuple[str, ...]], header: tuple[str, ...] = ("text", "label")
) -> Path:
    """A csv file with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def model_config(**values: Any) -> "ResolvedModel":
    """The settings of a small model without n-grams, with `values` instead of the usual ones."""
    from selfattn_lm.config import ResolvedModel

    usual: dict[str, Any] = {
        "width": 16,
        "heads": 2,
        "layers": 1,
        "pooling": "mean",
        "max_length": 16,
    }
    return ResolvedModel(**{**usual, "max_ngram": 1, "ngram_buckets": 1024, **values})


def tokenizer_config(type: str = "wordpiece", **values: Any) -> "ResolvedTokenizer":
    """The settings of a tokenizer with at most 30,000 tokens."""
    from selfattn_lm.config import ResolvedTokenizer

    return ResolvedTokenizer(**{"type": type, "vocab_size": 30_000, **values})


def prediction_settings(
    model: "ResolvedModel", tokenizer: "ResolvedTokenizer | None" = None
) -> "PredictionSettings":
    """The settings that prediction needs, with these of the model."""
    from selfattn_lm.config import DataConfig, PredictionSettings

    return PredictionSettings(
        data=DataConfig(), tokenizer=tokenizer or tokenizer_config(), model=model
    )


def resolved_settings(model: "ResolvedModel", **training: Any) -> "Resolved":
    """All settings of a run that trains for one epoch in fp32."""
    from selfattn_lm.config import DataConfig, Resolved, ResolvedTraining

    usual: dict[str, Any] = {
        "epochs": 1,
        "learning_rate": 0.01,
        "ema_decay": 0.0,
        "patience": 5,
        "devices": 1,
    }
    usual.update(validations_per_epoch=1, precision="32", monitor="macro_f1")
    return Resolved(
        seed=0,
        data=DataConfig(),
        tokenizer=tokenizer_config(),
        model=model,
        training=ResolvedTraining(**{**usual, **training}),
    )


def write_run_with_set_weights(folder: Path, data: Path) -> Path:
    """Write a run that knows the `WORDS` without training, so that it is right on any processor.

    Number i of a word's vector says that the word belongs to label i, and the heads read just that.
    All other weights are random: the encoder has something to compute, and what it adds is too
    little to change a prediction.
    """
    import torch

    from selfattn_lm.build import build_model
    from selfattn_lm.config import resolved_from, settings_from
    from selfattn_lm.features.tokenizer import train_tokenizer
    from selfattn_lm.runs import Run, write_run
    from selfattn_lm.tasks import SingleLabel

    settings = settings_from({"data": {"source": str(data)}, **SMALL}, "settings")
    decided: dict[str, Any] = {
        "data": {"text_column": "text"},
        "tokenizer": {"type": "wordpiece", "vocab_size": 1000},
        "model": {"max_length": 16, "pooling": "mean", "max_ngram": 2, "ngram_buckets": 1024},
    }
    resolved = resolved_from(settings, decided, "settings")
    tokenizer = train_tokenizer((text for text, _ in sentences(240)), resolved.tokenizer)
    labels = sorted(WORDS)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model: Any = build_model(resolved, tokenizer, len(labels), in_training=False)
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
    write_run(folder, Run(settings, resolved, SingleLabel(labels), tokenizer, model.eval()))
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
    process = multiprocessing.get_context("forkserver").Process(
        target=_die_at, args=(step, arguments)
    )
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


def call_before_each_step(monkeypatch: "pytest.MonkeyPatch", action: Callable[[], None]) -> None:
    """Have a function called before each step of a commit, which moves or deletes one file."""
    from selfattn_lm.runs import commit

    move, delete = commit._move, commit._delete

    def move_after_action(source: Path, target: Path) -> None:
        action()
        move(source, target)

    def delete_after_action(path: Path) -> None:
        action()
        delete(path)

    monkeypatch.setattr(commit, "_move", move_after_action)
    monkeypatch.setattr(commit, "_delete", delete_after_action)
