"""What one label per text and several labels per text have in common. L labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from selfattn_lm.data.examples import Split
from selfattn_lm.data.targets import Target
from selfattn_lm.tasks.base import Task
from selfattn_lm.tasks.label_checks import label_warnings
from selfattn_lm.tasks.label_names import count_labels, labels_of, sorted_names

TOO_FEW_ROWS = "give several rows per label, or name the right column with --data.label-column"


@dataclass(frozen=True)
class NamedLabels:
    """The labels of a task, each with an output of the head.

    Attributes:
        names: The names of the labels, in the order of the head's outputs.
        are_integers: Whether the labels were given in Python, all as integers, and predictions in
            Python are to be integers too. Files show them as text.
    """

    names: list[str]
    are_integers: bool = False
    kind: ClassVar[str]

    @property
    def outputs(self) -> int:
        """The number of labels."""
        return len(self.names)

    @property
    def labels(self) -> list[Any]:
        """The labels as predictions in Python give them: their names, or integers."""
        if self.are_integers:
            return [int(name) for name in self.names]
        return self.names

    def unknown(self, targets: Sequence[Target]) -> dict[str, int]:
        """Count the rows of each label that is not among the names, the most frequent first."""
        counts = count_labels(targets)
        for name in self.names:
            del counts[name]  # if it is there
        return dict(counts.most_common())

    def is_known(self, target: Target) -> bool:
        """Return whether all labels of a target are among the names."""
        return set(labels_of(target)).issubset(self.names)

    def warnings(self, splits: Mapping[str, Split]) -> list[str]:
        """Find labels that are rare, missing in training, alike, or in conflict."""
        return label_warnings(splits)

    def head_problem(self, initial: Task) -> str:
        """Say why the head of another task does not suit; empty for the same kind and labels."""
        if initial.kind != self.kind:
            return f"the model to start from was trained for {initial.card()}"
        if initial.names != self.names:
            return "the labels differ from those of the model to start from"
        return ""


def find_labels(splits: Mapping[str, Split]) -> tuple[list[str], bool]:
    """Find the labels of all splits, whole numbers in their order, others by name.

    Returns:
        Their names, and whether all were given as integers.
    """
    found: set[str] = set()
    for split in splits.values():
        found.update(count_labels(split.targets))
    are_integers = all(split.integer_labels for split in splits.values())
    return sorted_names(found), are_integers
