"""Predict over files of any size: the input's columns plus the prediction's, row for row, in constant memory."""

import csv
import gzip
import io
import json
import logging
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from selfattn_lm.config import Precision
from selfattn_lm.errors import UserError
from selfattn_lm.inference.classifier import TextClassifier
from selfattn_lm.runs import atomic
from selfattn_lm.text.columns import find_text, text_of
from selfattn_lm.text.sources import Row, format_of, schema_of

log = logging.getLogger(__name__)
_ROWS, _CHARACTERS = 4096, 16_000_000  # most of each in memory at once
_SHOWN = 20  # bad rows named one by one; the rest is counted


@dataclass(frozen=True)
class Columns:
    """Which columns are added: `top_k` labels, each label's probability; no prediction below `min_probability`."""

    top_k: int = 1
    probabilities: bool = False
    min_probability: float = 0.0

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise UserError(f"--top-k: {self.top_k} is not 1 or more.")
        if not 0 <= self.min_probability <= 1:
            raise UserError(f"--min-probability: {self.min_probability:g} is not from 0 to 1.")

    def names(self, labels: Sequence[str]) -> list[str]:
        """The names of the added columns."""
        ranks = ["", *(f"_{rank}" for rank in range(2, min(self.top_k, len(labels)) + 1))]
        each = [f"probability_{label}" for label in labels] if self.probabilities else []
        return [name + rank for rank in ranks for name in ("prediction", "probability")] + each

    def cells(self, probabilities: np.ndarray, labels: Sequence[str]) -> list[Any]:
        """The added cells of one text; `probabilities` is (L,)."""
        shown = [round(float(p), 6) for p in probabilities]
        best = np.argsort(-probabilities, kind="stable")[: self.top_k]
        cells = [cell for i in best for cell in (labels[i], shown[i])]
        if probabilities[best[0]] < self.min_probability:
            cells[0] = ""
        return cells + (shown if self.probabilities else [])


@dataclass
class Predicted:
    """How it went: rows in all, those without a prediction because they are bad, and where they were written."""

    rows: int = 0
    bad: int = 0
    out: Path | None = None

    def __str__(self) -> str:
        return f"{self.rows:,} rows, {self.bad:,} of them bad, written to {self.out}" if self.out else ""


class Job:
    """Predicts the rows of `source` and writes them to the file `out`, or in the format `form` to standard output."""

    def __init__(
        self, source: str, rows: Iterator[Row], wanted: Columns, out: Path | str | None, form: str, text_column: str
    ) -> None:
        self.source, self.rows, self.wanted, self.text_column = source, rows, wanted, text_column
        self.done, self.left_out = Predicted(out=None if out is None else Path(out)), set[str]()
        self.form = form if self.done.out is None else output_format(self.done.out)

    def run(self, folder: Path | str, precision: Precision = "auto") -> Predicted:
        """Do it; a bad row is reported, gets an empty prediction, and ends nothing."""
        schema = schema_of(Path(self.source))
        self.classifier = TextClassifier.load(folder, precision)
        with ExitStack() as stack:
            count = stack.enter_context(_counting())
            write: Callable[..., None] | None = None
            for chunk in _chunks(self.rows):
                if write is None:
                    self._choose_columns(chunk)
                    write = stack.enter_context(open_writer(self.done.out, self.form, self.columns, self.added, schema))
                for row, cells in zip(chunk, self._predict(chunk), strict=True):
                    values = row.values or {}
                    write([values.get(name) for name in self.columns], cells)
                self.done.rows += len(chunk)
                count(self.done.rows)
        if self.done.bad > _SHOWN:
            log.warning("%s: %d bad rows in all got an empty prediction", self.source, self.done.bad)
        return self.done

    def _choose_columns(self, first: list[Row]) -> None:
        self.columns = list(dict.fromkeys(name for row in first for name in row.values or ()))
        if not self.columns:
            raise UserError(f"{self.source}, {first[0].place}: {first[0].problem}; no row can be read.")
        trained = self.classifier.run.in_effect.data.text_column
        self.text_columns = find_text(self.columns, self.text_column, self.source, trained)
        self.added: list[str] = []
        for name in self.wanted.names(self.classifier.run.labels):
            free = name
            while free in self.columns or free in self.added:
                free += "_new"
            if free != name:
                log.warning("%s: has a column %r already, so the new one is %r", self.source, name, free)
            self.added.append(free)

    def _predict(self, chunk: list[Row]) -> list[list[Any]]:
        """The added cells of each row."""
        texts = [self._text(row) for row in chunk]
        probabilities = iter(self.classifier.predict_proba([text for text in texts if text]))
        bad = [None] * len(self.added)
        labels = self.classifier.run.labels
        return [self.wanted.cells(next(probabilities), labels) if text else bad for text in texts]

    def _text(self, row: Row) -> str:
        """The row's text; an empty one, and a report, where there is none."""
        text, problem = None, row.problem
        if row.values is not None:
            missing = [name for name in self.text_columns if name not in row.values]
            text = None if missing else text_of(row.values, self.text_columns)
            problem = f"no column {missing[0]!r}" if missing else "not a text" if text is None else "an empty text"
            if extra := row.values.keys() - self.left_out - set(self.columns):
                self.left_out |= extra
                names = ", ".join(extra)
                log.warning("%s, %s: column %s comes too late and is left out", self.source, row.place, names)
        if not text:
            self.done.bad += 1
            if self.done.bad <= _SHOWN:
                log.warning("%s, %s: %s, so no prediction", self.source, row.place, problem)
        return text or ""


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += sum(len(cell) for cell in (row.values or {}).values() if isinstance(cell, str))
        if len(chunk) >= _ROWS or size >= _CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


@contextmanager
def _counting() -> Iterator[Callable[[int], None]]:
    """A count of rows on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty() or not log.isEnabledFor(logging.INFO):
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,} rows"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rows", total=None)
        yield lambda rows: progress.update(task, completed=rows)


Writer = Callable[[Sequence[Any], Sequence[Any]], Any]  # takes the input's cells and the added ones


def output_format(path: Path) -> str:
    """The format by the file's name; refuses one that is not written."""
    form = format_of(path)
    if form not in ("csv", "tsv", "jsonl", "parquet") or (form == "parquet" and path.suffix == ".gz"):
        raise UserError(f"{path}: not a format that is written; name it .csv, .tsv, .jsonl or .parquet.")
    return form


@contextmanager
def open_writer(path: Path | None, form: str, columns: list[str], added: list[str], schema: Any) -> Iterator[Writer]:
    """Gives a function that writes a row; parquet has the types of the input's arrow `schema`, else texts."""
    if path is None:
        yield _text_writer(sys.stdout, form, columns + added)
        sys.stdout.flush()
        return
    with atomic(path) as temporary:
        if form == "parquet":
            with _parquet_writer(temporary, columns, added, schema) as write:
                yield write
            return
        with (
            gzip.open(temporary, "wb") if path.suffix == ".gz" else temporary.open("wb") as raw,
            io.TextIOWrapper(raw, encoding="utf-8", newline="") as file,
        ):
            yield _text_writer(file, form, columns + added)


_json = partial(json.dumps, ensure_ascii=False, default=str)


def _json_line(values: dict[str, Any]) -> str:
    """A row as a line of JSON, which has no NaN and no infinity; null stands for them."""
    try:
        return _json(values, allow_nan=False) + "\n"
    except ValueError:
        return _json(_with_nulls(values), allow_nan=False) + "\n"


def _with_nulls(value: Any) -> Any:
    """The same plain values, nested or not, with None for what is not a finite number."""
    if isinstance(value, dict):
        return {key: _with_nulls(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_with_nulls(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text_writer(file: IO[str], form: str, names: list[str]) -> Writer:
    if form == "jsonl":
        return lambda old, new: file.write(_json_line(dict(zip(names, [*old, *new], strict=True))))
    writer = csv.writer(file, delimiter="\t" if form == "tsv" else ",", lineterminator="\n")
    writer.writerow(names)
    return lambda old, new: writer.writerow([_text(cell) for cell in (*old, *new)])


def _text(cell: Any) -> str:
    return cell if isinstance(cell, str) else "" if cell is None else _json(cell)


@contextmanager
def _parquet_writer(path: Path, columns: list[str], added: list[str], schema: Any) -> Iterator[Writer]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [schema.field(name) if schema is not None else pa.field(name, pa.string()) for name in columns]
    fields += [pa.field(name, pa.string() if name.startswith("prediction") else pa.float64()) for name in added]
    table = pa.schema(fields)
    rows: list[list[Any]] = []
    with pq.ParquetWriter(path, table) as file:

        def write(old: Sequence[Any], new: Sequence[Any]) -> None:
            plain = old if schema is not None else [None if cell is None else _text(cell) for cell in old]
            rows.append([*plain, *new])
            if len(rows) == 4096:
                flush()

        def flush() -> None:
            arrays = [pa.array(cells, field.type) for cells, field in zip(zip(*rows, strict=True), table, strict=True)]
            file.write_table(pa.Table.from_arrays(arrays, schema=table))
            rows.clear()

        yield write
        if rows:
            flush()
