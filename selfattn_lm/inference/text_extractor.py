"""The text or the sequence of vectors of each row, and a report of the rows that have none."""

import logging
from collections.abc import Sequence
from typing import Any

from selfattn_lm.data.columns import not_a_text, text_of
from selfattn_lm.data.pairs import NO_PAIRS, pair_of
from selfattn_lm.data.rows import Row
from selfattn_lm.data.vectors import Vectors, is_matrix, read_vectors
from selfattn_lm.errors import UserError
from selfattn_lm.features.vectors import Standardization

log = logging.getLogger(__name__)
_MAX_REPORTED = 20  # bad rows reported one by one; the others are only counted


class TextExtractor:
    """Extracts the text of each row; reports and counts the bad rows.

    Attributes:
        bad: Number of rows without a text so far.
        unreadable: Number of those that the reader could not read.
    """

    def __init__(
        self,
        source: str,
        columns: Sequence[str],
        pair_column: str = NO_PAIRS,
        standardization: Standardization | None = None,
    ) -> None:
        """Take what the rows are and hold.

        Args:
            source: The name of the source, for messages.
            columns: The columns of the texts.
            pair_column: The column of the second text of a pair.
            standardization: That of a run on sequences of vectors; such a run reads no texts.
        """
        self.source = source
        self.columns = columns
        self.pair_column = pair_column
        self.standardization = standardization
        self.bad = 0
        self.unreadable = 0
        self._has_reported_damage = False

    def text(self, row: Row) -> str | Vectors:
        """Return what is predicted of a row; report a bad row and return an empty text for it."""
        text, problem = self._text_or_problem(row, self.columns)
        if text and self.pair_column != NO_PAIRS:
            pair, problem = self._text_or_problem(row, (self.pair_column,))
            if not pair:
                text = ""
        if text and row.damaged:
            self._report_damage(row)
        if row.values is None:
            self.unreadable += 1
        if not text:
            self.bad += 1
            if self.bad <= _MAX_REPORTED:
                log.warning("%s, %s: %s, so no prediction", self.source, row.place, problem)
        return text

    def pairs(self, rows: Sequence[Row]) -> list[str] | None:
        """Return the second text of each row, which has one; None for single texts."""
        if self.pair_column == NO_PAIRS:
            return None
        return [pair_of(row.values or {}, self.pair_column, row.place) for row in rows]

    def report_total(self) -> None:
        """Log the number of bad rows if not all of them were reported."""
        if self.bad > _MAX_REPORTED:
            message = "%s: %d bad rows in all got an empty prediction"
            log.warning(message, self.source, self.bad)

    def _text_or_problem(self, row: Row, columns: Sequence[str]) -> tuple[str | Vectors, str]:
        """Return the text of a row in some columns, or an empty text and the reason."""
        if row.values is None:
            return "", row.problem
        for name in columns:
            if name not in row.values:
                return "", f"no column {name!r}"
            if name in row.damaged:
                return "", f"{row.damaged[name]} in column {name!r}"
        if self.standardization is not None:
            return _sequence_or_problem(row.values[columns[0]], self.standardization)
        text = text_of(row.values, columns)
        if text is None:
            return "", not_a_text(row.values, columns)
        if not text:
            problem = "an empty text"
            if self.pair_column != NO_PAIRS:
                problem = f"an empty text in column {columns[0]!r}"
            return "", problem
        return text, ""

    def _report_damage(self, row: Row) -> None:
        """Log the first damaged cell beside a good text: it is copied to the output repaired."""
        if self._has_reported_damage:
            return
        self._has_reported_damage = True
        name, damage = next(iter(row.damaged.items()))
        message = "%s, %s: %s in column %r, written as U+FFFD"
        log.warning(message, self.source, row.place, damage, name)


def _sequence_or_problem(cell: Any, standardization: Standardization) -> tuple[str | Vectors, str]:
    """Return the sequence of vectors in a cell, or an empty text and the reason."""
    found = cell
    if is_matrix(cell):
        try:
            found = read_vectors(cell, "")
        except UserError as error:
            problem = str(error).removeprefix(": ").split(";")[0]
            return "", problem
    problem = standardization.problem(found)
    if problem:
        return "", problem
    return found, ""
