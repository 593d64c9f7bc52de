"""What a csv or tsv file is written like: which character separates its columns, and whether fields are quoted."""

import csv
import logging
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import IO

from selfattn_lm.config import Quoting
from selfattn_lm.data.columns import is_known_name
from selfattn_lm.data.delimited import DELIMITERS, QUOTE, PushbackLines, QuotedRecords, ResolvedQuoting
from selfattn_lm.data.lines import open_lines, without_newline
from selfattn_lm.errors import UserError

log = logging.getLogger(__name__)
_SAMPLE = 100  # lines that tell the delimiter
_ENOUGH = 10_000  # rows that speak for one reading, if none speaks for the other
_MOST_VALUES = 1000  # a column with more of them is not one of labels


def find_dialect(
    file: IO[bytes], where: str, delimiter: str, quoting: Quoting
) -> tuple[str, ResolvedQuoting]:
    """The delimiter and the quoting of a file, which is left at its beginning; `delimiter` is what its name says."""
    found = _find_delimiter(file, where, delimiter, quoting)
    if quoting != "auto":
        return found, quoting
    return found, _find_quoting(file, where, found, is_tsv=delimiter == "\t")


def _find_delimiter(file: IO[bytes], where: str, usual: str, quoting: Quoting) -> str:
    """The usual delimiter, or the only other one that parts the header and all of the first lines alike."""
    text = open_lines(file, where)
    first_lines = list(islice(text, _SAMPLE))
    text.detach()
    file.seek(0)
    cut = len(first_lines) == _SAMPLE
    sample = [line for line in first_lines if without_newline(line)]
    if not sample or _fields(sample, usual, quoting, cut=cut) > 1:
        return usual
    others = [one for one in DELIMITERS if one != usual and one in sample[0]]
    fitting = [one for one in others if _fields(sample, one, quoting, cut=cut) > 1]
    if len(fitting) == 1 and len(sample) > 1:
        names = DELIMITERS[fitting[0]], DELIMITERS[usual]
        log.info("%s: its columns are separated by %ss, not by %ss", where, *names)
        return fitting[0]
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
    for name in header.split(delimiter):
        if is_known_name(name.strip(' "\r')):
            return True
    return False


def _fields(sample: list[str], delimiter: str, quoting: Quoting, *, cut: bool) -> int:
    """How many fields all rows of the sample have, 0 if not all have as many; `cut`: its last row may be incomplete."""
    if quoting == "none":
        counts = {line.count(delimiter) + 1 for line in sample}
        return counts.pop() if len(counts) == 1 else 0
    best = 0
    for style in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE) if quoting == "auto" else (csv.QUOTE_MINIMAL,):
        try:
            records = [
                cells for cells in csv.reader(sample, delimiter=delimiter, quoting=style) if cells
            ]
        except csv.Error:
            continue
        complete = records[:-1] if cut and len(records) > 1 else records
        counts = {len(cells) for cells in complete}
        if len(counts) == 1:
            best = max(best, counts.pop())
    return best


@dataclass
class _Evidence:
    """What speaks for either reading of a file: records that begin a field with a quote."""

    standard: int = 0  # records that only fit the header if quotes are quotes; a header with quoted names is one
    none: int = 0  # lines that only fit the header if quotes are letters
    first_line: int = 0  # of the first record that fits both ways and differs
    two_lines: list[list[list[str]]] = field(
        default_factory=list
    )  # records that fit as one row and as two: as two
    more_lines: bool = False  # whether a record fits as one row and as more than two
    width: int = 0  # columns of the header if quotes are letters
    wrapped: int = 0  # lines that fit both ways and differ by the quotes around their fields
    header_quoted: bool = False
    always_quoted: set[int] | None = (
        None  # columns that begin with a quote on every line below the header
    )

    def all_is_quoted(self) -> bool:
        """Whether the file was written by a program that quotes all texts, if with a few broken lines."""
        if not self.always_quoted or self.wrapped < self.none:
            return False
        return self.header_quoted or len(self.always_quoted) > 1 or self.wrapped >= 10

    def is_decisive(self) -> bool:
        """Whether so many rows speak for one reading and none for the other that the rest need not be looked at."""
        if self.none == 0:
            return self.standard >= _ENOUGH
        return self.standard == 0 and self.none >= _ENOUGH and not self.always_quoted


def _find_quoting(file: IO[bytes], where: str, delimiter: str, *, is_tsv: bool) -> ResolvedQuoting:
    """The reading in which the rows have as many fields as the header.

    Lines without a quote are the same either way, and lines with one rarely differ, so that this is quickly done.
    Both readings may fit and differ: then a csv file is quoted, as csv is, if it has the same rows either way;
    else nobody can tell but the user.
    """
    text = open_lines(file, where)
    evidence = _gather(PushbackLines(text), delimiter)
    text.detach()
    file.seek(0)
    if evidence.all_is_quoted() or not (evidence.standard or evidence.none or evidence.first_line):
        return "standard"
    if evidence.standard or evidence.none:
        if evidence.standard >= evidence.none:
            return "standard"
        if not is_tsv:  # where it is as usual as quoting
            reason = "quotes are read as letters, as only so do its rows fit the header"
            log.info("%s: %s; --data.quoting standard reads them as quotes", where, reason)
        return "none"
    if not is_tsv and (evidence.width == 1 or not _are_rows(evidence, file, where, delimiter)):
        return "standard"
    reason = "a field begins with a quote, and the file can be read with and without quoting"
    advice = "give --data.quoting standard, or --data.quoting none if quotes are part of the texts"
    raise UserError(f"{where}, line {evidence.first_line}: {reason}; {advice}.")


def _gather(lines: PushbackLines, delimiter: str) -> _Evidence:
    evidence = _Evidence()
    quoted = QuotedRecords(lines, delimiter)
    width_standard = width_none = 0
    for line in lines:
        if not without_newline(line):
            continue
        if QUOTE not in line and width_none:
            evidence.always_quoted = set()
            continue
        number = lines.number
        cells, problem = quoted.read(line)
        plain = [without_newline(taken).split(delimiter) for taken in quoted.taken]
        begun = {i for i, cell in enumerate(plain[0]) if cell.startswith(QUOTE)}
        is_header = width_none == 0
        if is_header:
            width_standard, width_none = len(cells), len(plain[0])
            evidence.width = width_none
            evidence.header_quoted = bool(begun)
        else:
            before = evidence.always_quoted
            evidence.always_quoted = begun if before is None else before & begun
        if cells == plain[0]:
            continue  # no field begins with a quote
        fits_standard = not problem and len(cells) == width_standard
        fits_none = all(len(parts) == width_none for parts in plain)
        if fits_standard and (
            is_header or not fits_none or _has_escapes("".join(quoted.taken), cells)
        ):
            evidence.standard += 1
        elif fits_none and not fits_standard:
            evidence.none += 1
        elif fits_none and fits_standard:
            evidence.first_line = evidence.first_line or number
            if len(plain) == 1:
                evidence.wrapped += 1
            elif len(plain) > 2:
                evidence.more_lines = True
            elif len(evidence.two_lines) < _MOST_VALUES:
                evidence.two_lines.append(plain)
        if evidence.is_decisive():
            break
    return evidence


def _has_escapes(record: str, cells: list[str]) -> bool:
    """Whether a field of the record is empty between its quotes, or holds quotes that are doubled as csv wants it."""
    for cell in cells:
        inner = cell.replace(QUOTE, QUOTE * 2)
        if (not cell or QUOTE in cell) and f"{QUOTE}{inner}{QUOTE}" in record:
            return True
    return False


def _are_rows(evidence: _Evidence, file: IO[bytes], where: str, delimiter: str) -> bool:
    """Whether lines inside one quoted field look like rows of their own.

    They do if there are more than two of them, or if one of their columns holds what it holds elsewhere, as a label.
    """
    disputed = [cells for record in evidence.two_lines for cells in record]
    if evidence.more_lines or not disputed:
        return evidence.more_lines
    counters: list[Counter[str]] = [Counter() for _ in range(evidence.width)]
    text = open_lines(file, where)
    for line in text:
        for counter, cell in zip(counters, without_newline(line).split(delimiter), strict=False):
            if len(counter) <= _MOST_VALUES:
                counter[cell] += 1
    text.detach()
    file.seek(0)
    for i, counter in enumerate(counters):
        if len(counter) <= _MOST_VALUES and all(counter[cells[i]] > 1 for cells in disputed):
            return True
    return False
