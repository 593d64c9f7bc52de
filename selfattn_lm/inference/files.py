"""Predict over files of any size: the input's columns plus the prediction's, row for row, in constant memory."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from selfattn_lm.config import Quoting
from selfattn_lm.data.columnar import holds_texts
from selfattn_lm.data.columns import find_text, not_a_text, text_of
from selfattn_lm.data.lines import is_stream
from selfattn_lm.data.readers import read_rows, schema_of
from selfattn_lm.data.rows import NoRowsError, Row, row_of_texts
from selfattn_lm.errors import UserError
from selfattn_lm.inference.chunks import MAX_ROWS, chunks_at_hand, chunks_of
from selfattn_lm.inference.classifier import TextClassifier
from selfattn_lm.inference.writers import OutputSchema, Target, open_writer

log = logging.getLogger(__name__)
_SHOWN = 20  # bad rows named one by one; the rest is counted
_JSON = ("json", "jsonl")


@dataclass(frozen=True)
class OutputColumns:
    """The added columns: the `top_k` most probable labels, and with `probabilities` each label's probability.

    They are called prediction, probability, prediction_2, probability_2, … and probability:LABEL, so that no two are
    called alike whatever the labels are. A label less probable than `min_probability` is left out, not its probability.
    """

    top_k: int = 1
    probabilities: bool = False
    min_probability: float = 0.0

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise UserError(f"--top-k: {self.top_k} is not 1 or more.")
        if not 0 <= self.min_probability <= 1:
            raise UserError(f"--min-probability: {self.min_probability:g} is not from 0 to 1.")

    def types(self, labels: Sequence[str]) -> dict[str, type]:
        """The names of the added columns in order, with the type of their values."""
        found: dict[str, type] = {}
        for rank in range(1, min(self.top_k, len(labels)) + 1):
            suffix = "" if rank == 1 else f"_{rank}"
            found[f"prediction{suffix}"] = str
            found[f"probability{suffix}"] = float
        if self.probabilities:
            for label in labels:
                found[f"probability:{label}"] = float
        return found

    def values(self, probabilities: np.ndarray, labels: Sequence[str]) -> list[str | float | None]:
        """The values of the added columns for one text, whose `probabilities` are (L,)."""
        rounded = [round(float(probability), 6) for probability in probabilities]
        values: list[str | float | None] = []
        for i in np.argsort(-probabilities, kind="stable")[: self.top_k]:
            is_probable = rounded[i] >= self.min_probability
            values.append(labels[i] if is_probable else None)
            values.append(rounded[i])
        if self.probabilities:
            values += rounded
        return values


@dataclass(frozen=True)
class RowSource:
    """Rows to predict: what they are called in messages, their format, and whether they may be slow to arrive."""

    name: str
    rows: Iterator[Row]
    form: str | None
    is_live: bool = False

    @classmethod
    def of_file(cls, path: str, form: str | None, quoting: Quoting) -> "RowSource":
        """The rows of a file, a pipe or standard input (`-`), whose `form` is guessed by its beginning if not known."""
        place = Path(path)
        rows = read_rows(place, form, quoting, stream_form="txt")
        if path == "-" and form is None:
            form = "txt"
        return cls(path, rows, form, is_live=is_stream(place))

    @classmethod
    def of_texts(cls, texts: Sequence[str]) -> "RowSource":
        """A row for each text."""
        rows = (row_of_texts(number, {"text": text}) for number, text in enumerate(texts, 1))
        return cls("--text", rows, "txt")

    def chunks(self) -> Iterator[list[Row]]:
        """The rows, many at once."""
        return chunks_at_hand(self.rows) if self.is_live else chunks_of(self.rows)


@dataclass(frozen=True)
class PredictionSummary:
    """How it went: rows in all, those without a prediction because they are bad, the file, and the added columns."""

    rows: int
    bad: int
    out: Path | None
    columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.rows:,} rows, {self.bad:,} of them bad, written to {self.out}" if self.out else ""


class FilePredictor:
    """Predicts the rows of a source and writes them to a target; a bad row gets an empty prediction and ends nothing.

    An added column never takes the place of one of the input: where a name is taken, all added columns get `_new` at
    their end, as often as it needs.
    """

    def __init__(
        self,
        classifier: TextClassifier,
        source: RowSource,
        target: Target,
        wanted: OutputColumns,
        text_columns: Sequence[str],
    ) -> None:
        """Take where rows come from and go to; `text_columns` are those asked for."""
        self.classifier = classifier
        self.source = source
        self.target = target
        self.wanted = wanted
        self.asked = text_columns
        self.altered = False  # whether it was said that a cell that is copied had to be altered
        self.rows = 0
        self.bad = 0
        self.unreadable = 0
        self.dropped: set[str] = set()

    def run(self) -> PredictionSummary:
        """Predict all rows."""
        try:
            schema = self._run()
        except KeyboardInterrupt:
            if self.target.path is not None or not self.rows:
                raise
            raise KeyboardInterrupt(f"interrupted after {self.rows:,} rows.") from None
        if self.bad > _SHOWN:
            log.warning("%s: %d bad rows in all got an empty prediction", self.source.name, self.bad)
        return PredictionSummary(self.rows, self.bad, self.target.path, tuple(schema.added))

    def _run(self) -> OutputSchema:
        with closing(self.source.chunks()) as chunks:  # type: ignore[type-var]
            first, columns = self._first_chunk(chunks)
            schema = self._schema(columns)
            text_columns = self._text_columns(schema)
            with open_writer(self.target, schema) as writer, _progress(self.target) as show:
                for chunk in chain([first], chunks):
                    results = self._predict(chunk, schema, text_columns)
                    self.rows += len(results)
                    writer.write(results)
                    show(self.rows)
                if self.unreadable and self.target.is_file(self.source.name):
                    reason = f"is the input, of which {self.unreadable:,} rows could not be read and would be lost"
                    raise UserError(f"{self.target.path}: {reason}; name another file with --out.")
        return schema

    def _first_chunk(self, chunks: Iterator[list[Row]]) -> tuple[list[Row], list[str]]:
        """The rows up to the first chunk with one that can be read, and the columns that they have.

        Of a header alone there are the columns and no rows.
        """
        first: list[Row] = []
        try:
            for chunk in chunks:
                first += chunk
                if len(first) >= MAX_ROWS or any(row.values for row in chunk):
                    break
        except NoRowsError as error:
            if not error.columns:
                raise
            return [], error.columns
        if not any(row.values for row in first):
            raise UserError(f"{self.source.name}, {first[0].place}: {first[0].problem}; no row can be read.")
        return first, list(dict.fromkeys(name for row in first for name in row.values or ()))

    def _text_columns(self, schema: OutputSchema) -> tuple[str, ...]:
        """The columns of the text, which are logged where they are not the obvious ones."""
        trained_on = self.classifier.run.resolved.data.text_column
        names = find_text(schema.columns, self.asked, self.source.name, trained_on)
        if schema.arrow is not None:
            for name in names:
                kind = schema.arrow.field(name).type
                if not holds_texts(kind):
                    reason = f"column {name!r} holds {kind}, not texts; write it as strings"
                    raise UserError(f"{self.source.name}: {reason}.")
        if names != ("text",) and len(schema.columns) > 1:
            log.info("%s: text from %s", self.source.name, ", ".join(repr(name) for name in names))
        return names

    def _schema(self, columns: list[str]) -> OutputSchema:
        """The columns of the input, and free names for the added ones."""
        added = self.wanted.types(self.classifier.run.labels)
        taken = [name for name in added if name in columns]
        while any(name in columns for name in added):
            added = {f"{name}_new": kind for name, kind in added.items()}
        if taken:
            names = ", ".join(list(added)[:2]) + (" and so on" if len(added) > 2 else "")
            log.warning("%s: has a column %r already, so the added ones are %s", self.source.name, taken[0], names)
        arrow = schema_of(Path(self.source.name))
        return OutputSchema(columns, added, arrow, is_open=self.source.form in (*_JSON, None))

    def _predict(self, chunk: list[Row], schema: OutputSchema, text_columns: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of the output."""
        texts = [self._text(row, text_columns) for row in chunk]
        probabilities = iter(self.classifier.predict_proba([text for text in texts if text]))
        results: list[dict[str, Any]] = []
        for row, text in zip(chunk, texts, strict=True):
            values: Sequence[Any] = [None] * len(schema.added)
            if text:
                values = self.wanted.values(next(probabilities), self.classifier.run.labels)
            result = self._input_values(row, schema)
            result.update(zip(schema.added, values, strict=True))
            results.append(result)
        return results

    def _input_values(self, row: Row, schema: OutputSchema) -> dict[str, Any]:
        """The row's own columns; empty ones for a row that could not be read."""
        if row.values is None:
            return dict.fromkeys(schema.columns)
        if row.values.keys() <= schema.known:
            return dict(row.values)
        return {name: value for name, value in row.values.items() if self._is_kept(name, row, schema)}

    def _is_kept(self, name: str, row: Row, schema: OutputSchema) -> bool:
        """Whether the output has a place for a column of the row; if not, that is said once."""
        has_header = self.target.path is None and self.target.form != "jsonl"
        if name in schema.added:
            reason, advice = "has the name of an added column", ""
        elif name not in schema.known and has_header:
            reason, advice = "is not in the header", " (--out FILE or --output-format jsonl keeps them)"
        else:
            return True
        if name not in self.dropped:
            self.dropped.add(name)
            place = f"{self.source.name}, {row.place}"
            log.warning("%s: column %r %s, so its values are left out%s", place, name, reason, advice)
        return False

    def _text(self, row: Row, names: Sequence[str]) -> str:
        """The row's text; an empty one, and a report, where there is none."""
        text, problem = _text_or_problem(row, names)
        if text and row.damaged and not self.altered:
            self.altered = True
            name, damage = next(iter(row.damaged.items()))
            log.warning("%s, %s: %s in column %r, written as U+FFFD", self.source.name, row.place, damage, name)
        if row.values is None:
            self.unreadable += 1
        if not text:
            self.bad += 1
            if self.bad <= _SHOWN:
                log.warning("%s, %s: %s, so no prediction", self.source.name, row.place, problem)
        return text


def _text_or_problem(row: Row, names: Sequence[str]) -> tuple[str, str]:
    """The row's text, or an empty one and why there is none."""
    if row.values is None:
        return "", row.problem
    for name in names:
        if name not in row.values:
            return "", f"no column {name!r}"
        if name in row.damaged:
            return "", f"{row.damaged[name]} in column {name!r}"
    text = text_of(row.values, names)
    if text is None:
        return "", not_a_text(row.values, names)
    return text, "" if text else "an empty text"


@contextmanager
def _progress(target: Target) -> Iterator[Callable[[int], None]]:
    """A count of rows on a terminal where nothing else is written; nothing in a pipe."""
    rows_are_shown = target.path is None and sys.stdout.isatty()
    if rows_are_shown or not sys.stderr.isatty() or not log.isEnabledFor(logging.INFO):
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,} rows"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rows", total=None)
        yield lambda rows: progress.update(task, completed=rows)
