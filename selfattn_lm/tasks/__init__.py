"""What is predicted of a text. A task is an object; nothing else asks which one it is."""

from collections.abc import Mapping

from selfattn_lm.data.examples import Split
from selfattn_lm.tasks.base import Task
from selfattn_lm.tasks.columns import PredictionOptions
from selfattn_lm.tasks.single_label import SingleLabel

__all__ = ["PredictionOptions", "SingleLabel", "Task", "choose_task"]


def choose_task(splits: Mapping[str, Split]) -> SingleLabel:
    """Choose the task that suits the targets of the splits.

    Raises UserError if the training split has too few labels or rows to learn from.
    """
    return SingleLabel.from_splits(splits)
