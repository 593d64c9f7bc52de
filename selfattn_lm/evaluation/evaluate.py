"""Score a run on labelled data."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from selfattn_lm.config import DataConfig
from selfattn_lm.errors import UserError
from selfattn_lm.evaluation.metrics import Scores, score
from selfattn_lm.inference import TextClassifier
from selfattn_lm.runs import write_text
from selfattn_lm.text.labels import encode_labels
from selfattn_lm.text.splits import Split, load_split


@dataclass(frozen=True)
class Evaluation:
    """What was scored, and how well.

    Attributes:
        where: The file or split.
        scores: The scores.
        skipped: How many rows of each unknown label were left out.
    """

    where: str
    scores: Scores
    skipped: dict[str, int]

    def to_plain(self) -> dict[str, Any]:
        """Plain values for `metrics.json`."""
        return {**self.scores.values, "data": self.where, "skipped": self.skipped}


def evaluate(
    run: str | Path,
    data: str | Path,
    /,
    *,
    split: str = "test",
    out: str | Path | None = None,
    skip_unknown: bool = False,
    text_column: str = "auto",
    label_column: str = "auto",
    subset: str = "",
) -> Evaluation:
    """Score a run on labelled data.

    Args:
        run: The run folder.
        data: A file, a folder, a hub name or `stdlib-docs`.
        split: Which split of a folder, hub name or `stdlib-docs`.
        out: A folder for `metrics.json`.
        skip_unknown: Leave out rows whose label the run does not know, and count them.
        text_column: Column of the text; by default the one that the run was trained on, if it is there.
        label_column: Column of the label.
        subset: Which configuration of a hub data set.

    Raises:
        UserError: For a run or data that cannot be used, or labels that the run does not know.
    """
    classifier = TextClassifier.load(run)
    asked = DataConfig(str(data), text_column=text_column, label_column=label_column, subset=subset)
    trained = classifier.run.in_effect.data.text_column
    evaluation = evaluate_split(
        classifier, load_split(asked, split, trained), skip_unknown=skip_unknown
    )
    if out is not None:
        text = json.dumps({split: evaluation.to_plain()}, ensure_ascii=False, indent=1) + "\n"
        write_text(Path(out) / "metrics.json", text)
    return evaluation


def evaluate_split(classifier: TextClassifier, split: Split, *, skip_unknown: bool = False) -> Evaluation:
    """Score a classifier on labelled texts in memory."""
    known = set(classifier.labels)
    unknown = Counter(label for label in split.labels if label not in known)
    if unknown and not skip_unknown:
        names = ", ".join(f"{name!r} ({count} rows)" for name, count in unknown.most_common(10))
        raise UserError(f"{split.where}: the run does not know the labels {names}; --skip-unknown leaves them out.")
    if unknown:
        split = split.take(i for i, label in enumerate(split.labels) if label in known)
        if not len(split):
            raise UserError(f"{split.where}: the run knows none of the labels; it knows {', '.join(classifier.labels[:10])}.")
    probabilities = torch.from_numpy(classifier.predict_proba(split.texts))
    labels = torch.from_numpy(encode_labels(split.labels, classifier.labels))
    return Evaluation(split.where, score(probabilities, labels, classifier.labels), dict(unknown.most_common()))
