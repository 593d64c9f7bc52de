"""Show that the working tree computes what another commit computes, to the bit.

python tools/same.py BASE [--only CASE,CASE]

BASE is checked out into a worktree of its own. Each case runs with both codes on this machine, on one thread and in
fp32 unless it says otherwise; then tensors are compared to the bit, and predictions, scores and other files byte for
byte.
Where names have changed since BASE, the tables below translate BASE's into the working tree's.
"""

import contextlib
import csv
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# What BASE calls it -> what the working tree calls it.
SETTINGS: dict[str, str] = {
    "data.held_out": "data.validation_fraction",
    "tokenizer.unit": "tokenizer.type",
    "model.max_tokens": "model.max_length",
    "model.ngrams": "model.max_ngram",
    "model.ngram_rows": "model.ngram_buckets",
    "model.words": "model.bag_branch",
    "model.spelling": "model.char_ngrams",
    "training.lr": "training.learning_rate",
    "training.warmup": "training.warmup_fraction",
    "training.accumulate": "training.accumulate_batches",
    "training.clip": "training.max_grad_norm",
    "training.ema": "training.ema_decay",
    "training.validations": "training.validations_per_epoch",
}
TENSORS: dict[str, str] = {  # regular expressions
    r"^views\.context\.": "branches.encoder.",
    r"^views\.words\.": "branches.bag.",
    r"^mix$": "branch_weights",
    r"\.attention\.project\.": ".attention.qkv.",
    r"\.attention\.combine\.": ".attention.out.",
}
COLUMNS: dict[str, str] = {}  # of log.csv and of predicted files
KEYS: dict[str, str] = {"hidden": "masked_tokens"}  # of metrics.json and data.json
NOT_COMPARED = ("minutes", "tokens_per_s", "seconds", "texts_per_s", "training_s")

WORDS = {
    "fruit": ["apple", "pear", "plum", "cherry", "grape", "melon"],
    "metal": ["iron", "copper", "zinc", "silver", "gold", "nickel"],
    "water": ["river", "lake", "sea", "rain", "ice", "steam"],
}
SMALL = {
    "model.width": 16, "model.heads": 2, "model.layers": 1, "model.ngram_rows": 2048,
    "training.epochs": 2, "training.batch_size": 16, "training.precision": 32,
}  # fmt: skip


# --- one side: every case, in the code that PYTHONPATH names


class Side:
    """Runs commands in one of the two codes, and keeps what they print."""

    def __init__(self, out: Path, data: Path, *, is_base: bool) -> None:
        self.out, self.data, self.is_base = out, data, is_base

    def flags(self, settings: dict[str, Any]) -> list[str]:
        """Settings by BASE's names as flags of this side."""
        flags = []
        for name, value in settings.items():
            own = name if self.is_base else SETTINGS.get(name, name)
            flag = "--" + own.replace("_", "-")
            if value is True:
                flags.append(flag)
            elif value is False:
                section, _, rest = own.rpartition(".")
                flags.append(f"--{section}.no-{rest.replace('_', '-')}")
            else:
                flags += [flag, str(value)]
        return flags

    def __call__(self, name: str, *arguments: Any, stdin: bytes = b"") -> int:
        """Run a command; its exit code and what it printed are compared too."""
        from selfattn_lm.cli import main

        printed = io.StringIO()
        before = sys.stdin
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
                code = main([str(argument) for argument in arguments])
        finally:
            sys.stdin = before
        text = printed.getvalue().replace(str(self.out), "OUT").replace(str(self.data), "DATA")
        if arguments[0] in (
            "train",
            "pretrain",
            "study",
        ):  # their figures are in files; times are in these lines
            text = ""
        (self.out / f"{name}.printed").write_text(f"exit code {code}\n{text}", encoding="utf-8")
        return code

    def train(self, name: str, settings: dict[str, Any] | None = None, *more: Any) -> Path:
        """Train a small run called `name`."""
        run = self.out / name
        self(name, "train", self.data / "train.csv", "--data.test", self.data / "test.csv", "--out", run,
             *self.flags({**SMALL, **(settings or {})}), *more)  # fmt: skip
        return run


CASES: dict[str, Callable[[Side], None]] = {}


def case(function: Callable[[Side], None]) -> Callable[[Side], None]:
    """Register a case by its function's name."""
    CASES[function.__name__] = function
    return function


@case
def kinds(side: Side) -> None:
    for kind in ("attention", "bag", "cnn", "lstm"):
        side.train(f"kind-{kind}", {"model.kind": kind})


@case
def units(side: Side) -> None:
    for unit in ("word", "wordpiece", "bpe", "character"):
        side.train(f"unit-{unit}", {"tokenizer.unit": unit})


@case
def positions(side: Side) -> None:
    for kind in ("learned", "sinusoidal", "rotary", "none"):
        side.train(f"positions-{kind}", {"model.positions": kind, "model.layers": 2})


@case
def regularisation(side: Side) -> None:
    side.train("token-dropout", {"model.token_dropout": 0.5})
    side.train(
        "no-dropout", {"model.token_dropout": 0, "model.dropout": 0, "model.embedding_dropout": 0}
    )
    side.train("average", {"training.ema": 0.9, "training.validations": 2})
    side.train("no-average", {"training.ema": 0})
    side.train("accumulate", {"training.accumulate": 2})
    side.train(
        "class-weights", {"training.class_weights": "balanced", "training.monitor": "accuracy"}
    )
    side.train("context-alone", {"model.words": False, "model.pooling": "max"})
    side.train("few", {"data.shots": 5, "seed": 3})


@case
def starts(side: Side) -> None:
    first = side.train("start")
    side("init", "train", side.data / "other.csv", "--init", first, "--out", side.out / "init",
         *side.flags({"training.epochs": 1, "training.precision": 32}))  # fmt: skip
    side(
        "pretrained",
        "pretrain",
        side.data / "texts.txt",
        "--out",
        side.out / "pretrained",
        *side.flags(SMALL),
    )
    side("from-pretrained", "train", side.data / "train.csv", "--init", side.out / "pretrained",
         "--out", side.out / "from-pretrained",
         *side.flags({"training.epochs": 1, "training.precision": 32}))  # fmt: skip


@case
def bert(side: Side) -> None:
    """Fine-tune a tiny BERT, give it back, and ask transformers for its logits."""
    import torch
    import transformers

    folder = side.out / "tiny-bert"
    torch.manual_seed(0)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "a", "of", "and", "with"]
    vocabulary += [word for words in WORDS.values() for word in words]
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=40,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    side("tuned", "train", side.data / "train.csv", "--init", folder, "--out", side.out / "tuned",
         *side.flags({"training.epochs": 1, "training.precision": 32, "training.freeze": 1,
                      "training.layer_decay": 0.8, "model.pooling": "cls"}))  # fmt: skip
    side("export", "export", side.out / "tuned", "--out", side.out / "exported")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        side.out / "exported"
    ).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(side.out / "exported")
    with torch.inference_mode():
        logits = model(**tokenizer(["the apple and a river"], return_tensors="pt")).logits
    (side.out / "exported-logits.json").write_text(json.dumps(logits.tolist()), encoding="utf-8")
    shutil.rmtree(folder)


@case
def resume(side: Side) -> None:
    """Kill a run between two validations, and go on."""
    run = side.out / "killed"
    arguments = ["train", str(side.data / "train.csv"), "--out", str(run)]
    arguments += side.flags({**SMALL, "training.validations": 3})
    code = f"""
import os, signal, sys
from selfattn_lm.cli import main
from selfattn_lm.training.callbacks import StopOnRequest
def die(self, trainer, *rest):
    if trainer.global_step == 9:
        os.kill(os.getpid(), signal.SIGKILL)
StopOnRequest.on_train_batch_end = die
main({arguments!r})
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()[-2000:]
    side("killed", "train", "--resume", "--out", run)


@case
def probe(side: Side) -> None:
    side("probe", "study", "probe", "--out", side.out / "probe",
         *side.flags({"model.width": 8, "model.heads": 2, "training.epochs": 1, "training.precision": 32}))  # fmt: skip


@case
def prediction(side: Side) -> None:
    run = side.train("predictor")
    out = side.out
    for precision in ("32", "bf16", "int8"):
        for form in ("csv", "jsonl"):
            target = out / f"predicted-{precision}.{form}"
            flags = ["--top-k", 2, "--probabilities", "--precision", precision, "--out", target]
            side(f"predict-{form}-{precision}", "predict", run, side.data / f"bad.{form}", *flags)
    lines = "the apple\n\nsome gold 🙂\n".encode() + b"caf\xe9\nrain"
    side("predict-stdin", "predict", run, "-", "--precision", "32", stdin=lines)
    side(
        "evaluate",
        "evaluate",
        run,
        side.data / "test.csv",
        "--precision",
        "32",
        "--out",
        out / "scores",
    )
    side(
        "evaluate-unknown",
        "evaluate",
        run,
        side.data / "other.csv",
        "--precision",
        "32",
        "--skip-unknown",
    )


@case
def refusals(side: Side) -> None:
    """Exit codes of what is refused; the sentences may change."""
    bad: list[list[Any]] = [
        ["train"], ["train", "missing.csv"], ["train", side.data / "train.csv", "--model.width", "x"],
        ["train", side.data / "train.csv", *side.flags({"model.width": 10, "model.heads": 3})],
        ["train", side.data / "one.csv"], ["train", side.data / "train.csv", "--nonsense", "1"],
        ["predict", "missing", "--text", "a"], ["predict", side.data, "--text", "a"],
        ["evaluate", "missing", side.data / "test.csv"], ["export", "missing", "--out", side.out / "x"],
        ["pretrain"], ["study"], ["train", "--resume", "--out", side.out / "nowhere"],
    ]  # fmt: skip
    codes = [side("refused", *arguments, *(["--out", side.out / "x"] if arguments[0] == "train" else []))
             for arguments in bad if "--resume" not in arguments]  # fmt: skip
    (side.out / "refused.printed").write_text(" ".join(map(str, codes)), encoding="utf-8")


def run_side(out: Path, data: Path, names: list[str], *, is_base: bool) -> None:
    """Run the cases in this process."""
    import torch

    torch.set_num_threads(1)
    side = Side(out, data, is_base=is_base)
    for name in names:
        CASES[name](side)
        (out / f"{name}.done").touch()


# --- comparison


def translated(text: str, table: dict[str, str]) -> str:
    """A text of BASE with the working tree's names."""
    for old, new in table.items():
        text = re.sub(old, new, text)
    return text


def plain(value: Any, table: dict[str, str]) -> Any:
    """Plain values with keys translated, without what differs from run to run."""
    if isinstance(value, dict):
        return {
            table.get(key, key): plain(item, table)
            for key, item in value.items()
            if key not in NOT_COMPARED
        }
    if isinstance(value, list):
        return [plain(item, table) for item in value]
    return value


def without_paths(text: str, out: Path, data: Path) -> str:
    return text.replace(str(out), "OUT").replace(str(data), "DATA")


def contents(file: Path, out: Path, data: Path, *, is_base: bool) -> Any:
    """What is compared of a file."""
    columns, keys, tensors = (COLUMNS, KEYS, TENSORS) if is_base else ({}, {}, {})
    if file.suffix == ".safetensors":
        import safetensors.torch

        weights = safetensors.torch.load_file(file)
        return {
            translated(name, tensors): (str(t.dtype), t.shape, t.numpy().tobytes())
            for name, t in weights.items()
        }
    text = without_paths(file.read_text(encoding="utf-8"), out, data)
    if file.name in ("metrics.json", "data.json") or file.parent.name == "cells":
        return plain(json.loads(text), keys)
    if file.name == "log.csv":
        rows = csv.DictReader(io.StringIO(text))
        return [
            {columns.get(k, k): v for k, v in row.items() if k not in NOT_COMPARED} for row in rows
        ]
    if file.name.startswith("predicted") and file.suffix == ".csv":
        header, _, rest = text.partition("\n")
        return ",".join(columns.get(name, name) for name in header.split(",")), rest
    return text


SKIPPED = (
    ".png",
    ".svg",
    ".md",
    ".yaml",
    ".done",
    ".ckpt",
)  # pictures, prose, settings under other names
NAMES_SKIPPED = ("study.json", "bert.json")


def files_of(folder: Path) -> dict[str, Path]:
    return {
        str(file.relative_to(folder)): file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.suffix not in SKIPPED and file.name not in NAMES_SKIPPED
    }


def differences(base: Path, work: Path, data: Path) -> Iterator[str]:
    """What is not the same, a line each."""
    old, new = files_of(base), files_of(work)
    for name in sorted(old.keys() | new.keys()):
        if name not in new or name not in old:
            yield f"{name}: only {'BASE' if name in old else 'the working tree'} writes it"
            continue
        before = contents(old[name], base, data, is_base=True)
        after = contents(new[name], work, data, is_base=False)
        if before != after:
            detail = ""
            if isinstance(before, dict) and isinstance(after, dict):
                keys = [
                    key for key in before.keys() | after.keys() if before.get(key) != after.get(key)
                ]
                detail = f" ({', '.join(sorted(map(str, keys))[:4])})"
            yield f"{name}: differs{detail}"


def write_data(folder: Path) -> None:
    """Small labelled texts, with bad rows among those to predict."""
    chance = random.Random(0)

    def pairs(rows: int) -> list[tuple[str, str]]:
        found = []
        for i in range(rows):
            label = sorted(WORDS)[i % 3]
            words = chance.choices(WORDS[label], k=2) + chance.choices(
                ["the", "a", "of", "and", "with"], k=4
            )
            chance.shuffle(words)
            found.append(
                (" ".join(words), label if chance.random() < 0.8 else chance.choice(sorted(WORDS)))
            )
        return found

    def write(name: str, rows: list[tuple[str, ...]]) -> None:
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])

    write("train.csv", pairs(200))
    write("test.csv", pairs(80))
    write("other.csv", [(text, "new" if label == "fruit" else label) for text, label in pairs(80)])
    write("one.csv", [(text, "same") for text, _ in pairs(5)])
    (folder / "texts.txt").write_text("\n".join(text for text, _ in pairs(300)), encoding="utf-8")
    (folder / "bad.csv").write_text(
        'id,text\n1,the apple\n2,\n3,a,b\n4,"é of gold"\n', encoding="utf-8"
    )
    rows: list[Any] = [
        {"id": 1, "text": "rain"},
        {"id": 2, "text": None},
        {"id": 3, "text": 5},
        {"id": 4},
    ]
    lines = [json.dumps(row) for row in rows] + [
        "{",
        '{"id": 5, "text": "zinc", "more": [1, null]}',
    ]
    (folder / "bad.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    """Compare; the exit code is 1 if anything differs."""
    if sys.argv[1] == "--side":
        _, _, out, data, names, kind = sys.argv
        run_side(Path(out), Path(data), names.split(","), is_base=kind == "base")
        return 0
    names = sys.argv[3].split(",") if sys.argv[2:3] == ["--only"] else list(CASES)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        base_code = place / "code"
        subprocess.run(
            ["git", "worktree", "add", "--quiet", "--detach", base_code, sys.argv[1]],
            cwd=ROOT,
            check=True,
        )
        try:
            data = place / "data"
            data.mkdir()
            write_data(data)
            sides = {}
            for kind, code in (("base", base_code), ("work", ROOT)):
                out = place / kind
                out.mkdir()
                fixed = {
                    "OMP_NUM_THREADS": "1",
                    "PYTHONPATH": str(code),
                    "SELFATTN_CACHE": str(place / f"{kind}-cache"),
                }
                environment = {
                    **os.environ,
                    **fixed,
                    "HF_HUB_OFFLINE": "1",
                    "TRANSFORMERS_VERBOSITY": "error",
                }
                command = [
                    sys.executable,
                    str(Path(__file__)),
                    "--side",
                    str(out),
                    str(data),
                    ",".join(names),
                    kind,
                ]
                sides[kind] = subprocess.Popen(
                    command, env=environment, cwd=place, stderr=subprocess.PIPE, text=True
                )
            for kind, process in sides.items():
                told = process.communicate()[1]
                if process.returncode:
                    print(f"{kind} ended with {process.returncode}:\n{told[-3000:]}")
                    return 1
            found = list(differences(place / "base", place / "work", data))
            count = len(files_of(place / "work"))
        finally:
            subprocess.run(
                ["git", "worktree", "remove", "--force", base_code], cwd=ROOT, check=True
            )
    print("\n".join(found) if found else f"the same: {len(names)} cases, {count} files")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
