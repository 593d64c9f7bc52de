"""Rows of csv and tsv files.

A field that begins with a quote is a quoted one (`standard`), or a text that begins with a quote (`none`).
"""

import csv
import re
from collections.abc import Iterable, Iterator
from typing import IO, Literal

from selfattn_lm.data.lines import damaged_columns, open_lines, replace_surrogates, without_newline
from selfattn_lm.data.rows import NoRowsError, Row
from selfattn_lm.errors import UserError

QUOTE = '"'
DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "pipe"}
Reading = Literal["standard", "none"]

_LONE_RETURN = re.compile("\r(?!\n)")
_RETURN = "\udc0d"  # stands for a lone carriage return, at which csv.reader stops; no decoded byte becomes it


class Lines:
    """The lines of a file, of which some can be given back to be read again."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._given_back: list[str] = []
        self.number = 0  # of the line that came last, from 1

    def __iter__(self) -> Iterator[str]:
        yield from self._again()
        for line in self._lines:
            self.number += 1
            yield line
            yield from self._again()

    def _again(self) -> Iterator[str]:
        while self._given_back:
            self.number += 1
            yield self._given_back.pop()

    def give_back(self, lines: list[str]) -> None:
        """Put these back in front of what is left."""
        self._given_back.extend(reversed(lines))
        self.number -= len(lines)


class QuotedRecords:
    """Reads records of which a field may be quoted, and so go on over several lines."""

    def __init__(self, lines: Lines, delimiter: str) -> None:
        csv.field_size_limit(
            1 << 26
        )  # a text of many megabytes is a text; a quote never closed must end somewhere
        self._lines = lines
        self._delimiter = delimiter
        self._first: str | None = None
        self._lone_return = False  # whether one was replaced in the record
        self.taken: list[str] = []  # the lines of the last record
        self._reader = self._new_reader()

    def read(self, first: str) -> tuple[list[str], str]:
        """The cells of the record whose first line this is, or what is wrong with it.

        A wrong record is its first line alone: those after it are read again, so that a stray quote swallows nothing.
        """
        self.taken = []
        self._first = first
        try:
            cells = next(self._reader)
        except csv.Error as error:
            self._lines.give_back(self.taken[1:])
            del self.taken[1:]
            self._reader = self._new_reader()  # the old one may have come to the end of the lines
            return [], _problem(str(error))
        if self._lone_return:
            self._lone_return = False
            cells = [cell.replace(_RETURN, "\r") for cell in cells]
        return cells, ""

    def _new_reader(self) -> Iterator[list[str]]:
        return csv.reader(self._feed(), delimiter=self._delimiter, strict=True)

    def _feed(self) -> Iterator[str]:
        """The first line of a record, and those after it that csv.reader asks for."""
        more = iter(self._lines)
        while True:
            line = self._first
            self._first = None
            if line is None:
                line = next(more, None)
                if line is None:
                    return
            self.taken.append(line)
            if "\r" in line:
                line, count = _LONE_RETURN.subn(_RETURN, line)
                self._lone_return = self._lone_return or count > 0
            yield line


def _problem(reason: str) -> str:
    if reason == "unexpected end of data":
        reason = "a quote opens a field and is never closed"
    return f"broken line: {reason}"


def read_delimited(file: IO[bytes], where: str, delimiter: str, quoting: Reading) -> Iterator[Row]:
    """Stream the rows below the header; a row that is broken, or has too many fields or too few, is a bad row."""
    with open_lines(file, where) as text:
        lines = Lines(text)
        records = _records(lines, delimiter, quoting)
        header = _header(records, where)
        width = len(header)
        number = 0
        for cells, problem in records:
            if not cells and not problem:
                continue  # a blank line
            number += 1
            if not problem and len(cells) != width:
                problem = f"{len(cells)} fields where the header has {width}"
            if problem:
                yield Row(number, None, problem, lines.number)
                continue
            values = dict(zip(header, cells, strict=True))
            if "".join(cells).isascii():
                yield Row(number, values, "", lines.number)
                continue
            damaged = damaged_columns(values)
            yield Row(
                number, replace_surrogates(values) if damaged else values, "", lines.number, damaged
            )
    if number == 0:
        raise NoRowsError(where, header)


def _records(lines: Lines, delimiter: str, quoting: Reading) -> Iterator[tuple[list[str], str]]:
    """The cells of each record, none for a blank line, and what is wrong with it."""
    quoted = QuotedRecords(lines, delimiter)
    for line in lines:
        if quoting == "standard" and QUOTE in line:
            yield quoted.read(line)
        else:
            content = without_newline(line)
            yield (content.split(delimiter) if content else []), ""


def _header(records: Iterator[tuple[list[str], str]], where: str) -> list[str]:
    header: list[str] = []
    for header, problem in records:
        if problem:
            raise UserError(f"{where}, line 1: {problem}; fix the header.")
        if header:
            break
    if not header:
        raise NoRowsError(where, [])
    for problem in damaged_columns(dict.fromkeys(header)).values():
        raise UserError(f"{where}, line 1: {problem}; save the file as UTF-8.")
    if any("\r" in name for name in header):
        reason = "a carriage return in the header"
        raise UserError(
            f"{where}, line 1: {reason}; save the file with lines that end in \\n or \\r\\n."
        )
    if len(set(header)) < len(header):
        raise UserError(f"{where}, line 1: two columns have the same name; fix the header.")
    return header
