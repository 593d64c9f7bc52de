"""Read the records of a csv or tsv file with quoting and without, and compare what they say."""

from dataclasses import dataclass, field

from selfattn_lm.data.delimited import QUOTE, PushbackLines, QuotedRecords
from selfattn_lm.data.lines import without_newline

_ENOUGH = 10_000  # rows that decide for one quoting if none decides for the other
_MAX_DISPUTED = 2000  # lines that are kept to be compared with the values of their columns


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
class Evidence:
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


def gather_evidence(lines: PushbackLines, delimiter: str) -> Evidence:
    """Read the records in both ways until the evidence is decisive."""
    evidence = Evidence()
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
