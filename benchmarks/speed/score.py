"""Seconds until a score is reached on held-out rows of ag_news: score.py WAY SCORE LIMIT.

WAY is a preset of ours, trained as on the command line, or `best`: `transformers.Trainer` at its
fastest with a BERT of 256x4. The time runs from the start of the process to the first validation
that reaches SCORE. After LIMIT seconds, the best score so far is reported.
"""

import csv
import os
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

from measure import WORK, report_results
from peers import parts

BEGUN = time.perf_counter()  # as the process starts
EVERY = 150  # steps from one of Trainer's validations to the next


class Watch:
    """Ends the process when the score is reached or the time is up."""

    def __init__(self, score: float, limit: float) -> None:
        self.score = score
        self.limit = limit
        self.best = 0.0

    def see(self, accuracy: float) -> None:
        """Take note of an accuracy that was reached now."""
        self.best = max(self.best, accuracy)
        seconds = time.perf_counter() - BEGUN
        reached = self.best >= self.score
        if reached or seconds >= self.limit:
            report_results(seconds=seconds if reached else None, accuracy=self.best)
            sys.stdout.flush()
            os._exit(0)


def ours(preset: str, watch: Watch) -> None:
    """Train as on the command line, and follow the log."""
    from selfattn_lm.cli import main

    texts, labels, held, truth = parts()
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in (
            ("train", zip(texts, labels, strict=True)),
            ("validation", zip(held, truth, strict=True)),
        ):
            with (Path(folder) / f"{name}.csv").open("w", newline="") as file:
                csv.writer(file).writerows([("text", "label"), *rows])
        log = Path(folder) / "run" / "log.csv"
        threading.Thread(target=follow, args=(log, watch), daemon=True).start()
        main(["train", folder, "--preset", preset, "--out", str(log.parent)])
    watch.limit = 0
    watch.see(watch.best)


def follow(log: Path, watch: Watch) -> None:
    """Read the log ten times a second."""
    while True:
        with log.open() if log.is_file() else open(os.devnull) as file:
            found = [float(row["validation_accuracy"] or 0) for row in csv.DictReader(file)]
        watch.see(max(found, default=0.0))
        time.sleep(0.1)


def theirs(watch: Watch) -> None:
    """Train with `transformers.Trainer` and frequent validations."""
    from training import arguments_of, bert, collator, examples, settings_of
    from transformers import Trainer, TrainerCallback

    from selfattn_lm.config import settings_from
    from selfattn_lm.data.examples import Split
    from selfattn_lm.training.data import prepare

    texts, labels, held, truth = parts()
    splits = {
        "train": Split.from_lists("train", texts, labels),
        "validation": Split.from_lists("validation", held, truth),
    }
    data = prepare(splits, settings_from(settings_of("ours", 256, 4, "bf16"), "settings"), None)

    def compute_accuracy(predicted: Any) -> dict[str, float]:
        logits, targets = predicted
        return {"accuracy": float((logits.argmax(1) == targets).mean())}

    class Scores(TrainerCallback):
        def on_evaluate(
            self, args: Any, state: Any, control: Any, metrics: Any, **kwargs: Any
        ) -> None:
            watch.see(metrics["eval_accuracy"])

    with tempfile.TemporaryDirectory() as folder:
        arguments = arguments_of(True, "bf16", folder, eval_strategy="steps", eval_steps=EVERY)
        Trainer(
            bert(256, 4, data), arguments, collator(), examples(data.train), examples(data.validation),
            compute_metrics=compute_accuracy,
            callbacks=[Scores()],
        ).train()  # fmt: skip
    watch.limit = 0
    watch.see(watch.best)


def main(way: str, score: float, limit: float) -> None:
    """Measure, and report the results."""
    warnings.simplefilter("ignore")
    WORK.mkdir(parents=True, exist_ok=True)
    watch = Watch(score, limit)
    over = threading.Timer(limit, watch.see, args=(0.0,))
    over.daemon = True
    over.start()
    if way == "best":
        theirs(watch)
    else:
        ours(way, watch)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
