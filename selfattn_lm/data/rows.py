"""Define the row that every reader yields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from selfattn_lm.data.lines import damaged_columns, replace_surrogates
from selfattn_lm.errors import UserError


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file, or the reason why it cannot be read."""

    number: int  # its number in the file, from 1; a header is not counted
    values: dict[str, Any] | None  # its values by column; None if it cannot be read
    problem: str = ""  # why it cannot be read
    line: int = 0  # the line of the file on which it ends; 0 for formats without lines
    # What was wrong with the columns in which U+FFFD replaces invalid text, by column.
    damaged: Mapping[str, str] = field(default_factory=dict)
    file: str = ""  # the file it is from, if one source has several

    @property
    def place(self) -> str:
        """The file, row and line, as messages name them."""
        place = f"row {self.number}"
        if self.line not in (0, self.number):
            place = f"{place} (line {self.line})"
        if self.file:
            place = f"{self.file}, {place}"
        return place


class NoRowsError(UserError):
    """The file has no rows.

    Attributes:
        columns: The columns that its header names; empty if it has no header.
    """

    def __init__(self, where: str, columns: list[str]) -> None:
        super().__init__(f"{where}: the file has no rows.")
        self.columns = columns


def checked_row(number: int, values: dict[str, Any], line: int = 0, *, decoded: bool = True) -> Row:
    """Return a row of valid texts: U+FFFD replaces surrogates, and `damaged` names their columns.

    Args:
        number: The number of the row, from 1.
        values: The values by column.
        line: The line on which the row ends, 0 if the format has no lines.
        decoded: Whether surrogates may stand for bytes that were not UTF-8.
    """
    damaged = damaged_columns(values, decoded=decoded)
    if damaged:
        values = replace_surrogates(values)
    return Row(number, values, "", line, damaged)


def row_of_texts(number: int, values: dict[str, Any]) -> Row:
    """Return a row of texts that do not come from a reader, but may hold surrogates too."""
    return checked_row(number, values)
