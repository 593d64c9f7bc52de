"""Find how a csv or tsv file is written: its delimiter, and whether fields are quoted."""

import csv
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import islice
from typing import IO

from selfattn_lm.config import Quoting
from selfattn_lm.data.columns import is_known_name
from selfattn_lm.data.delimited import DELIMITERS, QUOTE, PushbackLines, QuotedRecords, ResolvedQuoting
from selfattn_lm.data.lines import open_lines, without_newline
from selfattn_lm.errors import UserError

log = logging.getLogger(__name__)
_SAMPLE = 100  # lines by which the delimiter is found
_ENOUGH = 10_000  # rows that decide for one quoting if none decides for the other
_MAX_LABELS = 1000  # a column with more distinct values does not hold labels
_MAX_DISPUTED = 2000  # lines that are compared with the values of their columns


def find_dialect(
    file: IO[bytes], where: str, delimiter: str, quoting: Quoting
) -> tuple[str, ResolvedQuoting]:
    """Return the delimiter and the quoting of a file, and leave it at its beginning.

    Args:
        file: A file that can be read twice.
        where: Its name in messages.
        delimiter: The delimiter that the file name tells.
        quoting: The quoting; `auto` finds it.

    Raises:
        UserError: The delimiter is another than the name tells, or the quoting is ambiguous.
    """
    found = _find_delimiter(file, where, delimiter, quoting)
    if quoting != "auto":
        return found, quoting
    return found, _find_quoting(file, where, found, is_tsv=delimiter == "\t")


@contextmanager
def _lines_of(file: IO[bytes], where: str) -> Iterator[TextIOWrapper]:
    """Give the lines of a file, then leave it open and at its beginning."""
    text = open_lines(file, where)
    yield text
    text.detach()
    file.seek(0)


def _find_delimiter(file: IO[bytes], where: str, usual: str, quoting: Quoting) -> str:
    """Return the usual delimiter, or the only other one by which all first rows are equally long."""
    with _lines_of(file, where) as text:
        first_lines = list(islice(text, _SAMPLE))
    truncated = len(first_lines) == _SAMPLE
    sample = [line for line in first_lines if without_newline(line)]
    if not sample or _field_count(sample, usual, quoting, truncated=truncated) > 1:
        return usual
    fitting = []
    for other in DELIMITERS:
        if other == usual or other not in sample[0]:
            continue
        if _field_count(sample, other, quoting, truncated=truncated) > 1:
            fitting.append(other)
    if len(fitting) == 1 and len(sample) > 1:
        found = fitting[0]
        message = "%s: its columns are separated by %ss, not by %ss"
        log.info(message, where, DELIMITERS[found], DELIMITERS[usual])
        return found
    refuse_one_column(sample[0], where, usual)
    return usual


def refuse_one_column(header: str, where: str, usual: str) -> None:
    """Refuse a header without the usual delimiter that another delimiter seems to separate."""
    header = without_newline(header)
    if usual in header:
        return
    for other, name in DELIMITERS.items():
        if other not in header:
            continue
        if other == "," and not has_known_column(header, other):
            continue  # a column name may well contain a comma
        reason = f"the header has no {DELIMITERS[usual]} but a {name}"
        advice = f"separate the columns by {DELIMITERS[usual]}s"
        raise UserError(f"{where}, line 1: {reason}; {advice}.")


def has_known_column(header: str, delimiter: str) -> bool:
    """Return whether the delimiter separates several names, one of which is well known."""
    if delimiter not in header:
        return False
    return any(is_known_name(name.strip(' "\r')) for name in header.split(delimiter))


def _field_count(sample: list[str], delimiter: str, quoting: Quoting, *, truncated: bool) -> int:
    """Return how many fields each row of the sample has; 0 if the rows differ in it.

    `truncated` says that the last row of the sample may be incomplete.
    """
    if quoting == "none":
        return _common_length([line.split(delimiter) for line in sample])
    count = _csv_field_count(sample, delimiter, csv.QUOTE_MINIMAL, truncated=truncated)
    if quoting == "auto":
        unquoted = _csv_field_count(sample, delimiter, csv.QUOTE_NONE, truncated=truncated)
        count = max(count, unquoted)
    return count


def _csv_field_count(sample: list[str], delimiter: str, style: int, *, truncated: bool) -> int:
    try:
        rows = list(csv.reader(sample, delimiter=delimiter, quoting=style))
    except csv.Error:
        return 0
    records = [cells for cells in rows if cells]
    if truncated and len(records) > 1:
        records.pop()
    return _common_length(records)


def _common_length(records: list[list[str]]) -> int:
    lengths = {len(cells) for cells in records}
    if len(lengths) != 1:
        return 0
    return lengths.pop()


@dataclass
class _Record:
    """A record read in both ways: with quoting and without."""

    line: int  # the number of its first line
    source: str  # its lines
    problem: str  # why it cannot be read with quoting
    quoted: list[str]  # its cells with quoting
    plain: list[list[str]]  # the cells of each of its lines without quoting

    def quoted_columns(self) -> set[int]:
        """Return the columns that begin with a quote in its first line."""
        return {i for i, cell in enumerate(self.plain[0]) if cell.startswith(QUOTE)}

    def has_escapes(self) -> bool:
        """Return whether a quoted field is empty, or holds quotes doubled as csv requires it."""
        for cell in self.quoted:
            if cell and QUOTE not in cell:
                continue
            doubled = cell.replace(QUOTE, QUOTE * 2)
            if f"{QUOTE}{doubled}{QUOTE}" in self.source:
                return True
        return False


@dataclass
class _Evidence:
    """What the records with a field that begins with a quote say about the quoting of a file."""

    standard: int = 0  # records that fit the header only with quoting
    none: int = 0  # records that fit the header only without quoting
    wrapped: int = 0  # records of one line that fit both ways
    first_line: int = 0  # of the first record that fits both ways; 0 if there is none
    disputed: list[list[str]] = field(default_factory=list)  # lines that are one row or two
    has_long_record: bool = False  # whether three lines or more are one row or as many
    quoted_width: int = 0  # columns of the header with quoting
    width: int = 0  # columns of the header without quoting
    header_quoted: bool = False
    always_quoted: set[int] | None = None  # columns that begin with a quote in every row

    def add_header(self, record: _Record) -> None:
        """Add the header, whose names never hold quotes."""
        self.quoted_width = len(record.quoted)
        self.width = len(record.plain[0])
        self.header_quoted = len(record.quoted_columns()) > 0
        if record.quoted == record.plain[0]:
            return
        if not record.problem:
            self.standard += 1
        elif self._fits_plain(record):
            self.none += 1

    def add_quoted_columns(self, columns: set[int]) -> None:
        """Add the columns of a row that begin with a quote."""
        if self.always_quoted is None:
            self.always_quoted = columns
        else:
            self.always_quoted = self.always_quoted & columns

    def add_row(self, record: _Record) -> None:
        """Add a row that differs with and without quoting."""
        fits_quoted = not record.problem and len(record.quoted) == self.quoted_width
        fits_plain = self._fits_plain(record)
        if fits_quoted and (not fits_plain or record.has_escapes()):
            self.standard += 1
        elif fits_plain and not fits_quoted:
            self.none += 1
        elif fits_plain and fits_quoted:
            self._add_ambiguous(record)

    def _fits_plain(self, record: _Record) -> bool:
        return all(len(cells) == self.width for cells in record.plain)

    def _add_ambiguous(self, record: _Record) -> None:
        if self.first_line == 0:
            self.first_line = record.line
        if len(record.plain) == 1:
            self.wrapped += 1
        elif len(record.plain) > 2:
            self.has_long_record = True
        elif len(self.disputed) < _MAX_DISPUTED:
            self.disputed.extend(record.plain)

    def all_is_quoted(self) -> bool:
        """Return whether the program that wrote the file quotes all texts, save broken lines."""
        if not self.always_quoted or self.wrapped < self.none:
            return False
        return self.header_quoted or len(self.always_quoted) > 1 or self.wrapped >= 10

    def is_decisive(self) -> bool:
        """Return whether the rest of the file need not be read."""
        if self.none == 0:
            return self.standard >= _ENOUGH
        return self.standard == 0 and self.none >= _ENOUGH and not self.always_quoted


def _find_quoting(file: IO[bytes], where: str, delimiter: str, *, is_tsv: bool) -> ResolvedQuoting:
    """Return the quoting with which the rows have as many fields as the header.

    If both fit but give other rows, a csv file is quoted, unless its quoted lines look like rows;
    a tsv file is ambiguous.
    """
    with _lines_of(file, where) as text:
        evidence = _gather_evidence(PushbackLines(text), delimiter)
    if evidence.all_is_quoted():
        return "standard"
    if evidence.none > evidence.standard:
        if not is_tsv:  # tsv files are often written without quoting
            reason = "quotes are read as letters, as only so do its rows fit the header"
            log.info("%s: %s; --data.quoting standard reads them as quotes", where, reason)
        return "none"
    if evidence.standard > 0 or evidence.first_line == 0:
        return "standard"
    if not is_tsv and (evidence.width == 1 or not _are_rows(evidence, file, where, delimiter)):
        return "standard"
    reason = "a field begins with a quote, and the file can be read with and without quoting"
    advice = "give --data.quoting standard, or --data.quoting none if quotes are part of the texts"
    raise UserError(f"{where}, line {evidence.first_line}: {reason}; {advice}.")


def _gather_evidence(lines: PushbackLines, delimiter: str) -> _Evidence:
    """Read the records in both ways until the evidence is decisive."""
    evidence = _Evidence()
    records = QuotedRecords(lines, delimiter)
    for line in lines:
        if not without_newline(line):
            continue
        is_header = evidence.width == 0
        if QUOTE not in line and not is_header:
            evidence.always_quoted = set()
            continue
        record = _read_both_ways(records, line, lines.number, delimiter)
        if is_header:
            evidence.add_header(record)
            continue
        evidence.add_quoted_columns(record.quoted_columns())
        if record.quoted == record.plain[0]:
            continue  # no field begins with a quote
        evidence.add_row(record)
        if evidence.is_decisive():
            break
    return evidence


def _read_both_ways(records: QuotedRecords, line: str, number: int, delimiter: str) -> _Record:
    cells, problem = records.read(line)
    plain = [without_newline(taken).split(delimiter) for taken in records.taken]
    return _Record(number, "".join(records.taken), problem, cells, plain)


def _are_rows(evidence: _Evidence, file: IO[bytes], where: str, delimiter: str) -> bool:
    """Return whether the lines inside one quoted field look like rows of their own.

    They do if there are more than two, or if in one column all their values also occur in other
    lines, as labels do.
    """
    if evidence.has_long_record:
        return True
    if not evidence.disputed:
        return False
    counters = _count_values(file, where, delimiter, evidence.width)
    for column, counter in enumerate(counters):
        if len(counter) > _MAX_LABELS:
            continue
        if all(counter[cells[column]] > 1 for cells in evidence.disputed):
            return True
    return False


def _count_values(file: IO[bytes], where: str, delimiter: str, width: int) -> list[Counter[str]]:
    """Count the values of each column without quoting, up to one more than `_MAX_LABELS`."""
    counters: list[Counter[str]] = [Counter() for _ in range(width)]
    with _lines_of(file, where) as text:
        for line in text:
            cells = without_newline(line).split(delimiter)
            for counter, cell in zip(counters, cells, strict=False):
                if len(counter) <= _MAX_LABELS:
                    counter[cell] += 1
    return counters
