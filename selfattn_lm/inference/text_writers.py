"""Rows to csv, tsv or jsonl in UTF-8, whatever the locale."""

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from selfattn_lm.inference.cells import cell_text, json_text

RowDict = Mapping[str, Any]


class Writer(Protocol):
    """Writes rows, each a mapping from column names to values."""

    def write(self, rows: Sequence[RowDict]) -> None:
        """Write some rows; those for standard output appear at once."""


class TextFile(Protocol):
    """The part of a text file that a writer needs."""

    def write(self, text: str, /) -> int:
        """Write a text."""

    def flush(self) -> None:
        """Write what is buffered."""


class Utf8File:
    """A binary file as a text file; lone surrogates, which UTF-8 cannot encode, are escaped."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self.file = file

    def write(self, text: str, /) -> int:
        """Write a text."""
        return self.file.write(text.encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        """Write what is buffered."""
        self.file.flush()


def standard_output() -> TextFile:
    """Return standard output in UTF-8, with newlines as they are written."""
    sys.stdout.flush()
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:  # the standard output of a notebook takes only texts
        return sys.stdout
    return Utf8File(binary)


def text_writer(file: TextFile, form: str, names: Sequence[str]) -> Writer:
    """Return a writer of csv, tsv or jsonl with these columns."""
    if form == "jsonl":
        return _JsonLines(file)
    if form == "tsv":
        return _Delimited(file, "\t", names)
    return _Delimited(file, ",", names)


class _JsonLines:
    """Writes one JSON object per line, with the columns that the row has."""

    def __init__(self, file: TextFile) -> None:
        self.file = file

    def write(self, rows: Sequence[RowDict]) -> None:
        for row in rows:
            self.file.write(json_text(row) + "\n")
        self.file.flush()


class _Delimited:
    """Writes csv or tsv; a column that a row lacks is empty."""

    def __init__(self, file: TextFile, delimiter: str, names: Sequence[str]) -> None:
        self.file = file
        self.names = names
        self.plain = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        self.quoted = csv.writer(
            file, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL
        )
        self._write_cells(names)

    def write(self, rows: Sequence[RowDict]) -> None:
        for row in rows:
            self._write_cells([cell_text(row.get(name)) for name in self.names])
        self.file.flush()

    def _write_cells(self, cells: Sequence[str]) -> None:
        # The csv module quotes a carriage return only if lines end in one.
        if any("\r" in cell for cell in cells):
            self.quoted.writerow(cells)
        else:
            self.plain.writerow(cells)
