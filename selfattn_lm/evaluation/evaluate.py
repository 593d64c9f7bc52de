"""Scores of a classifier on a split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfattn_lm.data.examples import Split
from selfattn_lm.errors import UserError
from selfattn_lm.evaluation.report import Evaluation
from selfattn_lm.inference import TextClassifier
from selfattn_lm.phrases import counted
from selfattn_lm.runs import write_json

_MAX_NAMED = 10  # unknown labels in a message


def evaluate_split(
    classifier: TextClassifier, split: Split, *, skip_unknown: bool = False
) -> Evaluation:
    """Score a classifier on texts and their targets.

    Raises UserError for labels that the classifier does not know, unless they are to be skipped.
    """
    task = classifier.task
    unknown = task.unknown(split.targets)
    if unknown:
        if not skip_unknown:
            raise UserError(_unknown_labels(split, unknown))
        known = [row for row, target in enumerate(split.targets) if task.is_known(target)]
        split = split.select(known)
        if not known:
            names = ", ".join(task.names[:_MAX_NAMED])
            raise UserError(f"{split.source}: the run knows none of the labels, only {names}.")
    outputs = classifier.outputs(split.texts, split.pairs)
    values = task.score(outputs, task.encode(split.targets))
    return Evaluation(split.source, task.kind, values, unknown, split.columns)


def _unknown_labels(split: Split, unknown: Mapping[str, int]) -> str:
    named = [f"{name!r} ({counted(count, 'row')})" for name, count in unknown.items()][:_MAX_NAMED]
    reason = f"the run does not know the labels {', '.join(named)}"
    return f"{split.source}: {reason}; --skip-unknown leaves them out."


def write_metrics(folder: Path, evaluations: Mapping[str, Evaluation], **more: Any) -> None:
    """Write `metrics.json`: the evaluation of each split, and what else there is to record."""
    plain: dict[str, Any] = {}
    for name, evaluation in evaluations.items():
        plain[name] = evaluation.to_plain()
    plain.update(more)
    write_json(folder / "metrics.json", plain)
