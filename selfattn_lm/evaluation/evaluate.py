"""Score a classifier on labelled texts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from selfattn_lm.errors import UserError
from selfattn_lm.evaluation.metrics import Scores, score
from selfattn_lm.evaluation.report import report
from selfattn_lm.inference import TextClassifier
from selfattn_lm.runs import write_json
from selfattn_lm.text.labels import encode_labels
from selfattn_lm.text.splits import Split


@dataclass(frozen=True)
class Evaluation:
    """What was scored (`where`), how well, and how many rows of each unknown label were left out."""

    where: str
    scores: Scores
    skipped: dict[str, int]

    def to_plain(self) -> dict[str, Any]:
        """Plain values for `metrics.json`."""
        return {**self.scores.values, "data": self.where, "skipped": self.skipped}

    def __rich__(self) -> Any:
        return report(self.where, self.scores, self.skipped)


def evaluate_split(classifier: TextClassifier, split: Split, *, skip_unknown: bool = False) -> Evaluation:
    """Score a classifier on labelled texts in memory.

    Raises:
        UserError: For labels that the classifier does not know, unless they are skipped.
    """
    known = set(classifier.labels)
    unknown = Counter(label for label in split.labels if label not in known)
    if unknown and not skip_unknown:
        names = ", ".join(f"{name!r} ({count} rows)" for name, count in unknown.most_common(10))
        raise UserError(f"{split.where}: the run does not know the labels {names}; --skip-unknown leaves them out.")
    if unknown:
        split = split.take(i for i, label in enumerate(split.labels) if label in known)
        if not len(split):
            raise UserError(
                f"{split.where}: the run knows none of the labels, only {', '.join(classifier.labels[:10])}."
            )
    probabilities = torch.from_numpy(classifier.predict_proba(split.texts))
    labels = torch.from_numpy(encode_labels(split.labels, classifier.labels))
    return Evaluation(split.where, score(probabilities, labels, classifier.labels), dict(unknown.most_common()))


def write_metrics(folder: Path, evaluations: Mapping[str, Evaluation], **more: Any) -> None:
    """Write `metrics.json`: the evaluation of each split, and what else there is to record."""
    write_json(folder / "metrics.json", {name: e.to_plain() for name, e in evaluations.items()} | more)
