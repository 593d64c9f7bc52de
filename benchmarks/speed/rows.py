"""The cost of many rows, in a process of its own: rows.py start|predict|long|cold|make ROWS|WAY.

`start` trains on a file with ROWS rows and ends with the first step; `predict` predicts the file
with a small run; `long` predicts 100,000 texts of mixed length with the weights of 128x2; `cold`
predicts one text. The files repeat the texts of ag_news with their words rotated, so that all rows
differ; the one for `long` is made from three datasets.
"""

import csv
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import WORK, report_results, rows_of

MIXED = (("ag_news", 60_000), ("clinc150", 30_000), ("imdb", 10_000))


def turned(texts: list[str], labels: list[str], rows: int) -> list[tuple[str, str]]:
    """The given number of rows, shuffled; each repetition rotates the words by one more."""
    found = []
    for i in np.random.default_rng(0).permutation(rows):
        words, turn = texts[i % len(texts)].split(), int(i) // len(texts)
        start = turn % max(1, len(words))
        found.append(
            (
                " ".join(words[start:] + words[:start]) + (f" {turn}" if turn else ""),
                labels[i % len(texts)],
            )
        )
    return found


def table_of(rows: int) -> Path:
    """A CSV file with the given number of labelled rows."""
    file = WORK / f"{rows}.csv"
    if not file.is_file():
        write(file, ("text", "label"), turned(*rows_of("ag_news", "train"), rows))
    return file


def mixed() -> Path:
    """A CSV file of 100,000 texts of mixed length, and a sample of 1,000 for the slow ways."""
    file = WORK / "mixed.csv"
    if not file.is_file():
        texts = [
            text for name, count in MIXED for text, _ in turned(*rows_of(name, "train"), count)
        ]
        texts = [texts[i] for i in np.random.default_rng(1).permutation(len(texts))]
        (WORK / "mixed.sample.txt").write_text("\0".join(texts[:1000]))
        write(file, ("text",), [(text,) for text in texts])
    return file


def write(file: Path, names: tuple[str, ...], rows: Any) -> None:
    """Write under a temporary name, then rename."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with (file.parent / "making").open("w", newline="") as made:
        csv.writer(made).writerows([names, *rows])
    os.replace(file.parent / "making", file)


def start(rows: int) -> None:
    """Train as on the command line, and end with the first step."""
    from selfattn_lm.cli import main
    from selfattn_lm.training.modules import ClassifierModule

    step = ClassifierModule.training_step
    begun = time.perf_counter()

    def first(self: Any, batch: Any, index: int) -> None:
        step(self, batch, index)
        report_results(seconds=time.perf_counter() - begun)
        sys.stdout.flush()
        os._exit(0)

    ClassifierModule.training_step = first  # type: ignore[assignment,method-assign]
    main(["train", str(WORK / f"{rows}.csv"), "--out", str(WORK / "started"), "--overwrite"])


def predict(run: Path, file: Path, rows: int) -> None:
    """Predict a file as on the command line."""
    from selfattn_lm.cli import main

    out = WORK / "predicted.csv"
    begun = time.perf_counter()
    assert main(["predict", str(run), str(file), "--out", str(out)]) == 0
    report_results(texts_per_s=rows / (time.perf_counter() - begun))


def small_run() -> Path:
    """A run of the preset `quick`, trained for one epoch."""
    from selfattn_lm import train

    folder = WORK / "quick"
    if not (folder / "metrics.json").is_file():
        train(
            str(table_of(10_000)),
            preset="quick",
            out=folder,
            overwrite=True,
            training={"epochs": 1},
        )
    return folder


def cold(way: str) -> None:
    """Start up and make one prediction; the wall time of the process is what counts."""
    from inference import WAYS

    predict, _ = WAYS[way]("256x4", "auto" if way == "ours" else "32")
    report_results(label=predict(["Stocks fell as oil prices rose again."])[0])


def main(task: str, what: str) -> None:
    """Measure, and report the results; `make` makes the files and runs."""
    if task == "make":
        from models import make

        sizes = [make(size) for size in ("128x2", "256x4", "384x6")]
        report_results(
            made=[
                str(x)
                for x in (*sizes, mixed(), small_run(), table_of(100_000), table_of(1_000_000))
            ]
        )
    elif task == "start":
        start(int(what))
    elif task == "predict":
        predict(small_run(), table_of(int(what)), int(what))
    elif task == "long":
        predict(WORK / "128x2" / "run", mixed(), 100_000)
    else:
        cold(what)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
