"""What is predicted of a text. A task is an object; nothing else asks which one it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from selfattn_lm.data.examples import Split
from selfattn_lm.tasks.base import LinearTargets, Task
from selfattn_lm.tasks.columns import PredictionOptions
from selfattn_lm.tasks.multi_label import MultiLabel
from selfattn_lm.tasks.regression import Regression
from selfattn_lm.tasks.single_label import SingleLabel

__all__ = [
    "LinearTargets",
    "MultiLabel",
    "PredictionOptions",
    "Regression",
    "SingleLabel",
    "Task",
    "choose_task",
    "recorded_task",
]

_TASKS: dict[str, type[SingleLabel] | type[MultiLabel] | type[Regression]] = {
    "single_label": SingleLabel,
    "multi_label": MultiLabel,
    "regression": Regression,
}


def choose_task(splits: Mapping[str, Split]) -> Task:
    """Choose the task that suits the targets of the training split.

    Raises UserError if the training split has too little to learn from.
    """
    return _TASKS[splits["train"].kind].from_splits(splits)


def recorded_task(labels: Sequence[str | int], values: Mapping[str, Any]) -> Task | None:
    """Build the task of a run from what it records; None if it was pretrained without one.

    Args:
        labels: The labels, in the order of the head's outputs.
        values: What `Task.to_plain` gave; empty for runs of versions that had one kind alone.

    Raises:
        ValueError: The values are not those of a task.
    """
    kind = values.get("kind", "single_label")
    if kind not in _TASKS:
        raise ValueError(f"there is no task {kind!r}")
    if kind == "single_label" and not labels:
        return None
    return _TASKS[kind].from_plain(labels, values)
