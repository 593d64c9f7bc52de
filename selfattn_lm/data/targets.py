"""What the cells of the label columns mean: a label, several labels, or a number."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from selfattn_lm.config import TaskKind
from selfattn_lm.data.characters import visible_text
from selfattn_lm.errors import UserError

log = logging.getLogger(__name__)

# A label (str), the labels of a text (a tuple of them, () if it has none), or a number (float).
Target = Any

# Numbers with a fraction are labels, such as the versions 1.1 and 1.2, unless there are more.
_MAX_LABELS = 20


class TargetReader:
    """Reads the target of each row of a split.

    Attributes:
        kind: `single_label`, `multi_label` or `regression`. If none is asked for, the first row
            decides between one label and several, and all rows between labels and numbers; until
            then it is `auto`.
        reads_texts: Whether a visible text in the label column is a target as it is.
    """

    def __init__(
        self,
        columns: Sequence[str],
        kind: TaskKind,
        first: Mapping[str, Any],
        separator: str = "",
        *,
        empty_means_none: bool = False,
    ) -> None:
        """Take the label columns, the first row, and the settings of the data.

        Args:
            columns: The label column; or several, one for each label, that hold 0 and 1.
            kind: The kind that is asked for, or `auto`.
            first: The cells of the first row by column.
            separator: What separates the labels of a cell; empty if a cell holds one.
            empty_means_none: Whether an empty cell means that a text has no labels.
        """
        self.columns = tuple(columns)
        self.kind = kind
        self.separator = separator
        self.empty_means_none = empty_means_none
        holds_lists = isinstance(first.get(self.columns[0]), list | tuple)
        if kind == "auto" and (len(self.columns) > 1 or separator or holds_lists):
            self.kind = "multi_label"
        self.reads_texts = self.kind in ("auto", "single_label")

    def read(self, values: Mapping[str, Any], place: str) -> Target:
        """Read the target of a row.

        Args:
            values: The cells of the row by column.
            place: The row, for messages.

        Raises:
            UserError: A cell is empty, or is of another kind than those of the other rows.
        """
        if len(self.columns) > 1:
            return self._marked_columns(values, place)
        name = self.columns[0]
        cell = values.get(name)
        if self.kind == "regression":
            return _number(cell, name, place)
        if isinstance(cell, list | tuple):
            return self._several(cell, name, place)
        if self.kind == "multi_label":
            return self._separated(cell, name, place)
        return _label(cell, name, place)

    def finish(self, targets: list[Target], source: str) -> list[Target]:
        """Decide between labels and numbers, now that all rows are read; returns the targets.

        Args:
            targets: The targets of all rows.
            source: The file, for messages.

        Raises:
            UserError: A column of numbers also holds one that is not finite.
        """
        if self.kind != "auto":
            return targets
        self.kind = "single_label"
        numbers = _numbers(targets)
        if numbers is None:
            return targets
        values = set(numbers)
        if len(values) <= _MAX_LABELS:
            return targets
        if all(number.is_integer() for number in values):
            log.info(
                "%s: %d different whole numbers in column %r are labels; --data.task regression"
                " predicts them as numbers",
                source,
                len(values),
                self.columns[0],
            )
            return targets
        self.kind = "regression"
        for target, number in zip(targets, numbers, strict=True):
            if not math.isfinite(number):
                reason = f"column {self.columns[0]!r} holds numbers, but also {target!r}"
                advice = "--data.task regression names the row, single_label takes all as labels"
                raise UserError(f"{source}: {reason}; {advice}.")
        return numbers

    def _several(self, cell: Sequence[Any], name: str, place: str) -> tuple[str, ...]:
        """The labels of a cell that holds a list."""
        if self.kind == "auto":
            reason = f"column {name!r} holds a list of labels, but one label in the first row"
            raise UserError(f"{place}: {reason}; write a list in each row.")
        if self.kind == "single_label":
            reason = f"column {name!r} holds a list of labels, not one label"
            advice = "name another column with --data.label-column, or train with lists"
            raise UserError(f"{place}: {reason}; {advice}.")
        labels = []
        for item in cell:
            label = _label(item, name, place)
            if self.separator and self.separator in label:
                reason = f"label {label!r} in column {name!r} contains the separator"
                raise UserError(f"{place}: {reason}; choose another --data.label-separator.")
            labels.append(label)
        return tuple(dict.fromkeys(labels))

    def _separated(self, cell: Any, name: str, place: str) -> tuple[str, ...]:
        """The labels of a cell that holds a text."""
        if _is_missing(cell):
            if self.empty_means_none:
                return ()
            advice = "fill it in, or --data.empty-means-none takes it as a text without labels"
            raise UserError(f"{place}: no label in column {name!r}; {advice}.")
        if not self.separator:
            reason = f"column {name!r} holds {str(cell)[:40]!r}, not a list of labels"
            advice = "write a list, or name what separates labels with --data.label-separator"
            raise UserError(f"{place}: {reason}; {advice}.")
        labels = []
        for part in str(cell).split(self.separator):
            label = visible_text(part)
            if not label:
                reason = f"an empty label between separators in column {name!r}"
                raise UserError(f"{place}: {reason}; fix the cell {str(cell)[:40]!r}.")
            labels.append(label)
        return tuple(dict.fromkeys(labels))

    def _marked_columns(self, values: Mapping[str, Any], place: str) -> tuple[str, ...]:
        """The names of the columns that hold 1."""
        labels = []
        for name in self.columns:
            cell = values.get(name)
            if _is_missing(cell):
                if self.empty_means_none:
                    continue
                advice = "fill it in, or --data.empty-means-none takes it as 0"
                raise UserError(f"{place}: nothing in column {name!r}; {advice}.")
            number = _parsed(cell)
            if number not in (0.0, 1.0):
                reason = f"{str(cell)[:40]!r} in column {name!r} is not 0 or 1"
                raise UserError(f"{place}: {reason}; several label columns hold 0 or 1 each.")
            if number == 1.0:
                labels.append(name)
        return tuple(labels)


def _is_missing(cell: Any) -> bool:
    """Whether a cell is empty: None, NaN or blank."""
    if isinstance(cell, str):
        return not visible_text(cell)
    return bool(cell is None or cell != cell)  # only NaN differs from itself


def _label(cell: Any, name: str, place: str) -> str:
    """The label in a cell as a text, without white space around it."""
    if _is_missing(cell):
        raise UserError(f"{place}: no label in column {name!r}; fill it in or remove the row.")
    if isinstance(cell, str):
        return visible_text(cell)
    if isinstance(cell, list | tuple | Mapping):
        raise UserError(f"{place}: column {name!r} holds {str(cell)[:40]}, which is not a label.")
    if isinstance(cell, float) and math.isinf(cell):
        raise UserError(
            f"{place}: {cell} in column {name!r} is not a label; fix or remove the row."
        )
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def _number(cell: Any, name: str, place: str) -> float:
    """The number in a cell, which must be finite."""
    advice = "fix or remove the row, or name another column with --data.label-column"
    if _is_missing(cell):
        raise UserError(f"{place}: no number in column {name!r}; {advice}.")
    number = None
    if not isinstance(cell, bool):
        number = _parsed(cell)
    if number is None:
        shown = repr(str(cell)[:40])
        raise UserError(f"{place}: {shown} in column {name!r} is not a number; {advice}.")
    if not math.isfinite(number):
        raise UserError(f"{place}: {cell} in column {name!r} is not a finite number; {advice}.")
    return number


def _parsed(cell: Any) -> float | None:
    """A number, or a text that is one, as a float; None for all else."""
    if not isinstance(cell, str | int | float):
        return None
    try:
        return float(cell)
    except (ValueError, OverflowError):
        return None


def _numbers(labels: Sequence[str]) -> list[float] | None:
    """All labels as numbers; None if one of them is none."""
    by_label: dict[str, float] = {}
    for label in dict.fromkeys(labels):
        number = _parsed(label)
        if number is None:
            return None
        by_label[label] = number
    return [by_label[label] for label in labels]
