"""Read the rows of csv and tsv files.

With `standard` quoting, a quote at the beginning of a field quotes the field; with `none`, it is an
ordinary character.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from typing import IO, Literal

from selfattn_lm.data.lines import describe_damage, open_lines, without_newline
from selfattn_lm.data.rows import NoRowsError, Row, checked_row
from selfattn_lm.errors import UserError
from selfattn_lm.phrases import counted

QUOTE = '"'
DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "pipe"}
ResolvedQuoting = Literal["standard", "none"]
Record = tuple[list[str], str]  # its cells, and what is wrong with it

_LONE_RETURN = re.compile("\r(?!\n)")
# Replaces a lone carriage return, at which csv.reader stops; no decoded byte becomes it.
_RETURN = "\udc0d"


class PushbackLines:
    """Iterates over the lines of a file; lines can be pushed back, to be read again."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._pushed_back: list[str] = []
        self.number = 0  # of the last line, from 1

    def __iter__(self) -> Iterator[str]:
        yield from self._read_again()
        for line in self._lines:
            self.number += 1
            yield line
            if self._pushed_back:
                yield from self._read_again()

    def _read_again(self) -> Iterator[str]:
        while self._pushed_back:
            self.number += 1
            yield self._pushed_back.pop()

    def push_back(self, lines: list[str]) -> None:
        """Put lines back in front of those that are left."""
        self._pushed_back.extend(reversed(lines))
        self.number -= len(lines)


class QuotedRecords:
    """Reads records with quoted fields, which may continue over several lines."""

    def __init__(self, lines: PushbackLines, delimiter: str) -> None:
        # Texts may have many megabytes, but a quote that is never closed must end somewhere.
        csv.field_size_limit(1 << 26)
        self._lines = lines
        self._delimiter = delimiter
        self._first: str | None = None
        self._has_lone_return = False  # whether one was replaced in the record
        self.taken: list[str] = []  # the lines of the last record
        self._reader = self._new_reader()

    def read(self, first: str) -> Record:
        """Return the cells of the record that begins with the line `first`, or its problem.

        A broken record is its first line alone. The lines after it are pushed back, so that a stray
        quote costs one row.
        """
        self.taken = []
        self._first = first
        self._has_lone_return = False
        try:
            cells = next(self._reader)
        except csv.Error as error:
            self._lines.push_back(self.taken[1:])
            del self.taken[1:]
            self._reader = self._new_reader()  # the old one may have reached the end of the lines
            return [], _problem(str(error))
        if self._has_lone_return:
            cells = [cell.replace(_RETURN, "\r") for cell in cells]
        return cells, ""

    def _new_reader(self) -> Iterator[list[str]]:
        return csv.reader(self._feed(), delimiter=self._delimiter, strict=True)

    def _feed(self) -> Iterator[str]:
        """Yield the first line of a record, then the lines that csv.reader asks for."""
        following = iter(self._lines)
        while True:
            line = self._first
            self._first = None
            if line is None:
                line = next(following, None)
            if line is None:
                return
            self.taken.append(line)
            if "\r" in line:
                line, count = _LONE_RETURN.subn(_RETURN, line)
                if count > 0:
                    self._has_lone_return = True
            yield line


def _problem(reason: str) -> str:
    if reason == "unexpected end of data":
        reason = "a quote opens a field and is never closed"
    return f"broken line: {reason}"


def read_delimited(
    file: IO[bytes], where: str, delimiter: str, quoting: ResolvedQuoting
) -> Iterator[Row]:
    """Stream the rows below the header; a broken row, or one of another length, is a bad row.

    Raises:
        UserError: The header cannot be used.
        NoRowsError: The file has no rows.
    """
    number = 0
    with open_lines(file, where) as text:
        lines = PushbackLines(text)
        records = _read_records(lines, delimiter, quoting)
        header = _read_header(records, where)
        for cells, problem in records:
            if not cells and not problem:
                continue  # a blank line
            number += 1
            if not problem and len(cells) != len(header):
                problem = f"{counted(len(cells), 'field')} where the header has {len(header)}"
            if problem:
                yield Row(number, None, problem, lines.number)
                continue
            values = dict(zip(header, cells, strict=True))
            if "".join(cells).isascii():  # faster than a look at each cell
                yield Row(number, values, "", lines.number)
            else:
                yield checked_row(number, values, lines.number)
    if number == 0:
        raise NoRowsError(where, header)


def _read_records(
    lines: PushbackLines, delimiter: str, quoting: ResolvedQuoting
) -> Iterator[Record]:
    """Yield each record; a blank line is a record without cells."""
    quoted = QuotedRecords(lines, delimiter)
    for line in lines:
        if quoting == "standard" and QUOTE in line:
            yield quoted.read(line)
            continue
        content = without_newline(line)
        if content:
            yield content.split(delimiter), ""
        else:
            yield [], ""


def _read_header(records: Iterator[Record], where: str) -> list[str]:
    """Return the column names, which are the first record that is not blank."""
    header: list[str] = []
    for header, problem in records:
        if problem:
            raise UserError(f"{where}, line 1: {problem}; fix the header.")
        if header:
            break
    if not header:
        raise NoRowsError(where, [])
    names = "".join(header)
    problem = describe_damage(names)
    if problem:
        raise UserError(f"{where}, line 1: {problem}; save the file as UTF-8.")
    if "\r" in names:
        advice = "save the file with lines that end in \\n or \\r\\n"
        raise UserError(f"{where}, line 1: a carriage return in the header; {advice}.")
    if len(set(header)) < len(header):
        raise UserError(f"{where}, line 1: two columns have the same name; fix the header.")
    return header
