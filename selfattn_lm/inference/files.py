"""Predict the rows of a file of any size: its columns plus added ones, in constant memory."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from selfattn_lm.config import DataConfig
from selfattn_lm.data.columnar import holds_texts
from selfattn_lm.data.pairs import NO_PAIRS, find_texts
from selfattn_lm.data.readers import schema_of
from selfattn_lm.data.rows import NoRowsError, Row
from selfattn_lm.errors import Interrupted, UserError
from selfattn_lm.features.vectors import Standardization
from selfattn_lm.inference.chunks import MAX_ROWS
from selfattn_lm.inference.classifier import TextClassifier, require_pairs
from selfattn_lm.inference.progress import ShowRows, show_nothing
from selfattn_lm.inference.row_source import RowSource
from selfattn_lm.inference.text_extractor import TextExtractor
from selfattn_lm.inference.writers import OutputSchema, Target, open_writer
from selfattn_lm.phrases import counted
from selfattn_lm.tasks import PredictionOptions

log = logging.getLogger(__name__)
_OPEN_FORMATS = ("json", "jsonl", None)  # later rows may have further columns


@dataclass(frozen=True)
class PredictionSummary:
    """The result of predicting a file.

    Attributes:
        rows: Number of rows.
        bad: Number of bad rows, which have an empty prediction.
        out: The file that was written, or None for standard output.
        columns: The names of the added columns.
    """

    rows: int
    bad: int
    out: Path | None
    columns: tuple[str, ...]

    def __str__(self) -> str:
        if self.out is None:
            return ""
        rows = counted(self.rows, "row")
        return f"{rows}, {self.bad:,} of them bad, written to {self.out}"


class FilePredictor:
    """Predicts the rows of a source and writes them to a target.

    The output has a row for each row of the input, with its columns, except one of sequences of
    vectors, and the added ones. A bad row
    is reported and gets an empty prediction. If the input has a column with the name of an added
    one, all added columns get the suffix `_new`, repeated until their names are free.
    """

    def __init__(
        self,
        classifier: TextClassifier,
        source: RowSource,
        target: Target,
        options: PredictionOptions,
        columns: DataConfig,
    ) -> None:
        """Take the classifier, the input, the output, what is written, and the columns to read."""
        self.classifier = classifier
        self.source = source
        self.target = target
        self.options = options
        self.columns = columns
        self.rows = 0  # predicted so far
        self._dropped: set[str] = set()  # columns reported as left out
        self._not_copied: frozenset[str] = frozenset()  # columns of vectors

    def run(self, progress: AbstractContextManager[ShowRows] | None = None) -> PredictionSummary:
        """Predict all rows.

        Args:
            progress: Shows the number of rows while they are predicted, such as `row_counter`.

        Raises:
            UserError: No row can be read, or writing the output would lose rows of the input.
        """
        if progress is None:
            progress = nullcontext(show_nothing)
        try:
            return self._run(progress)
        except KeyboardInterrupt:
            if self.target.path is not None or not self.rows:
                raise
            rows = counted(self.rows, "row")
            raise Interrupted(f"interrupted after {rows}.") from None

    def _run(self, progress: AbstractContextManager[ShowRows]) -> PredictionSummary:
        with closing(self.source.chunks()) as chunks:
            first_chunk, columns = self._first_chunk(chunks)
            names, pair_column = self._find_text_columns(columns)
            featurizer = self.classifier.run.featurizer
            standardization = None
            if isinstance(featurizer, Standardization):
                standardization = featurizer
                self._not_copied = frozenset(names)
                columns = [column for column in columns if column not in names]
            schema = self._output_schema(columns)
            extractor = TextExtractor(self.source.name, names, pair_column, standardization)
            with open_writer(self.target, schema) as writer, progress as show_rows:
                for chunk in chain([first_chunk], chunks):
                    results = self._predict(chunk, schema, extractor)
                    self.rows += len(results)
                    writer.write(results)
                    show_rows(self.rows)
                self._refuse_to_lose_rows(extractor.unreadable)
        extractor.report_total()
        return PredictionSummary(
            self.rows, extractor.bad, self.target.path, columns=tuple(schema.added)
        )

    def _first_chunk(self, chunks: Iterator[list[Row]]) -> tuple[list[Row], list[str]]:
        """Return the rows up to the first chunk with a readable one, and their column names.

        A file that has only a header gives its columns and no rows.
        """
        rows: list[Row] = []
        try:
            for chunk in chunks:
                rows.extend(chunk)
                if _column_names(chunk) or len(rows) >= MAX_ROWS:
                    break
        except NoRowsError as error:
            if not error.columns:
                raise
            return [], error.columns
        columns = _column_names(rows)
        if not columns:
            problem = rows[0].problem or "an object without columns"
            reason = f"{problem}; no row can be read"
            raise UserError(f"{self.source.name}, {rows[0].place}: {reason}.")
        return rows, columns

    def _output_schema(self, columns: list[str]) -> OutputSchema:
        """Return the columns of the input, and free names for the added ones."""
        added = self._free_names(columns)
        arrow = schema_of(Path(self.source.name))
        return OutputSchema(columns, added, arrow, is_open=self.source.form in _OPEN_FORMATS)

    def _free_names(self, columns: list[str]) -> dict[str, Any]:
        """Return the added columns under names that the input does not have."""
        added = self.classifier.task.columns(self.options)
        taken = [name for name in added if name in columns]
        if not taken:
            return added
        while not added.keys().isdisjoint(columns):
            added = {f"{name}_new": kind for name, kind in added.items()}
        names = ", ".join(list(added)[:2])
        if len(added) > 2:
            names += " and so on"
        message = "%s: has a column %r already, so the added ones are %s"
        log.warning(message, self.source.name, taken[0], names)
        return added

    def _find_text_columns(self, columns: Sequence[str]) -> tuple[tuple[str, ...], str]:
        """Return the text columns and the pair column, and log them where they are not obvious."""
        resolved = self.classifier.run.resolved
        trained_on = resolved.data
        if not resolved.has_pairs:
            trained_on = replace(trained_on, pair_column=NO_PAIRS)
        source = self.source.name
        names, pair_column = find_texts(columns, self.columns, trained_on, source)
        require_pairs(pair_column != NO_PAIRS, resolved)
        read = names
        if pair_column != NO_PAIRS:
            read = (*names, pair_column)
        arrow = schema_of(Path(source))
        if arrow is not None and not self.classifier.run.has_vectors:
            for name in read:
                kind = arrow.field(name).type
                if not holds_texts(kind):
                    reason = f"column {name!r} holds {kind}, not texts; write it as strings"
                    raise UserError(f"{source}: {reason}.")
        if names != ("text",) and len(columns) > 1:
            what = "text"
            if self.classifier.run.has_vectors:
                what = "sequence"
            log.info("%s: %s from %s", source, what, ", ".join(repr(name) for name in read))
        return names, pair_column

    def _predict(
        self, chunk: list[Row], schema: OutputSchema, extractor: TextExtractor
    ) -> list[dict[str, Any]]:
        """Return the output rows of a chunk."""
        texts = [extractor.text(row) for row in chunk]
        pairs = extractor.pairs([row for row, text in zip(chunk, texts, strict=True) if text])
        outputs = iter(self.classifier.outputs([text for text in texts if text], pairs))
        task = self.classifier.task
        results: list[dict[str, Any]] = []
        for row, text in zip(chunk, texts, strict=True):
            result = self._input_values(row, schema)
            if text:
                values = task.column_values(self.options, next(outputs))
                result.update(zip(schema.added, values, strict=True))
            else:
                result.update(dict.fromkeys(schema.added))
            results.append(result)
        return results

    def _input_values(self, row: Row, schema: OutputSchema) -> dict[str, Any]:
        """Return the values of the input columns, which are None for an unreadable row."""
        if row.values is None:
            return dict.fromkeys(schema.columns)
        if row.values.keys() <= schema.known:
            return dict(row.values)
        values: dict[str, Any] = {}
        for name, value in row.values.items():
            if name in self._not_copied:
                continue
            reason = self._reason_to_drop(name, schema)
            if reason:
                self._report_dropped(name, row, reason)
            else:
                values[name] = value
        return values

    def _reason_to_drop(self, name: str, schema: OutputSchema) -> str:
        """Return why the output has no place for a column of the input, or an empty string."""
        if name in schema.added:
            return "has the name of an added column, so its values are left out"
        has_fixed_header = self.target.path is None and self.target.form != "jsonl"
        if has_fixed_header and name not in schema.known:
            advice = "--out FILE or --output-format jsonl keeps them"
            return f"is not in the header, so its values are left out ({advice})"
        return ""

    def _report_dropped(self, name: str, row: Row, reason: str) -> None:
        """Log, once per column, that its values are left out."""
        if name not in self._dropped:
            self._dropped.add(name)
            log.warning("%s, %s: column %r %s", self.source.name, row.place, name, reason)

    def _refuse_to_lose_rows(self, unreadable: int) -> None:
        """Refuse to replace the input while the output lacks some of its rows."""
        if unreadable and self.target.is_file(self.source.name):
            reason = f"is the input, and its unreadable rows ({unreadable:,}) would be lost"
            raise UserError(f"{self.target.path}: {reason}; name another file with --out.")


def _column_names(rows: Sequence[Row]) -> list[str]:
    """Return the names of all columns in the order of their first appearance."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row.values or ()))
    return list(names)
