"""Seconds to train with several labels per text, and with one, on the same texts: labels.py.

It trains for an epoch on the first rows of Reuters, by turns with all labels of each text and with
its first alone, and prints the ratio of the median seconds. These include the choice of held-out
rows, of thresholds, and the scores.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure import DATA, report_results
from small import in_turns

from selfattn_lm import fit
from selfattn_lm.memory import keep_memory

ROWS = 2000


def reuters() -> tuple[list[str], list[list[str]]]:
    """The first texts and their labels."""
    path = DATA / "reuters_modapte90" / "train.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:ROWS]]
    return [row["text"] for row in rows], [row["labels"] for row in rows]


def main() -> None:
    """Measure, and report the results."""
    texts, several = reuters()
    first = [labels[0] for labels in several]

    def train(targets: Sequence[Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            fit(texts, targets, out=Path(folder) / "run", epochs=1)

    keep_memory()  # as the command line does
    seconds = in_turns({"one": (train, [first]), "several": (train, [several])})
    labels = {label for row in several for label in row}
    ratio = seconds["several"] / seconds["one"]
    report_results(
        labels=len(labels), one_s=seconds["one"], several_s=seconds["several"], ratio=ratio
    )


if __name__ == "__main__":
    main()
