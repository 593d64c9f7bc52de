"""Find how a csv or tsv file is written: its delimiter, and whether fields are quoted."""

import csv
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import islice
from typing import IO, Literal

from selfattn_lm.config import Quoting
from selfattn_lm.data.columns import is_known_name
from selfattn_lm.data.delimited import DELIMITERS, PushbackLines, ResolvedQuoting
from selfattn_lm.data.lines import open_lines, without_newline
from selfattn_lm.data.quoting import Evidence, gather_evidence
from selfattn_lm.errors import UserError

log = logging.getLogger(__name__)
_SAMPLE = 100  # lines by which the delimiter is found
_MAX_LABELS = 1000  # a column with more distinct values does not hold labels


def find_dialect(
    file: IO[bytes], where: str, delimiter: str, quoting: Quoting
) -> tuple[str, ResolvedQuoting]:
    """Return the delimiter and the quoting of a file, and leave it at its beginning.

    Args:
        file: A file that can be read twice.
        where: Its name in messages.
        delimiter: The delimiter that the file name implies.
        quoting: The quoting; `auto` finds it.

    Raises:
        UserError: The delimiter is another than the name implies, or the quoting is ambiguous.
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
    """Return the usual delimiter, or the only other one that gives rows of equal length."""
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
    count = _csv_field_count(sample, delimiter, quoted=True, truncated=truncated)
    if quoting == "auto":
        unquoted = _csv_field_count(sample, delimiter, quoted=False, truncated=truncated)
        count = max(count, unquoted)
    return count


def _csv_field_count(sample: list[str], delimiter: str, *, quoted: bool, truncated: bool) -> int:
    style: Literal[0, 3] = csv.QUOTE_MINIMAL
    if not quoted:
        style = csv.QUOTE_NONE
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


def _find_quoting(file: IO[bytes], where: str, delimiter: str, *, is_tsv: bool) -> ResolvedQuoting:
    """Return the quoting with which the rows have as many fields as the header.

    If both fit but give other rows, a csv file is quoted, unless its quoted lines look like rows;
    a tsv file is ambiguous.
    """
    with _lines_of(file, where) as text:
        evidence = gather_evidence(PushbackLines(text), delimiter)
    if evidence.all_is_quoted():
        return "standard"
    if evidence.none > evidence.standard:
        if not is_tsv:  # tsv files are often written without quoting
            reason = "quotes are read as plain characters: only then do its rows fit the header"
            log.info("%s: %s; --data.quoting standard reads them as quotes", where, reason)
        return "none"
    if evidence.standard > 0 or evidence.first_line == 0:
        return "standard"
    if not is_tsv and (evidence.width == 1 or not _are_rows(evidence, file, where, delimiter)):
        return "standard"
    reason = "a field begins with a quote, and the file can be read with and without quoting"
    advice = "give --data.quoting standard, or --data.quoting none if quotes are part of the texts"
    raise UserError(f"{where}, line {evidence.first_line}: {reason}; {advice}.")


def _are_rows(evidence: Evidence, file: IO[bytes], where: str, delimiter: str) -> bool:
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
