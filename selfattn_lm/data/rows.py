"""One row of a file, as every reader gives it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from selfattn_lm.data.lines import damaged_columns, repair
from selfattn_lm.errors import UserError


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file, or what is wrong with it."""

    number: int  # among the file's rows, from 1, a header not counted
    values: dict[str, Any] | None  # its columns; None where it could not be read
    problem: str = ""  # why it could not be read
    line: int = 0  # the line of the file on which it ends, 0 for formats without lines
    damaged: Mapping[str, str] = field(default_factory=dict)  # columns in which U+FFFD stands for what was no text
    file: str = ""  # which file, where one source has several

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        row = f"row {self.number}"
        if self.line not in (0, self.number):
            row += f" (line {self.line})"
        return f"{self.file}, {row}" if self.file else row


class NoRowsError(UserError):
    """The file has no rows; `columns` are those of its header, if it has one."""

    def __init__(self, where: str, columns: list[str]) -> None:
        super().__init__(f"{where}: the file has no rows.")
        self.columns = columns


def row_of_texts(number: int, values: dict[str, Any]) -> Row:
    """A row that was not read from a file; its texts may hold halves of characters too."""
    damaged = damaged_columns(values)
    return Row(number, repair(values) if damaged else values, damaged=damaged)
