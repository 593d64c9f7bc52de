"""Writes predictions row by row as csv, tsv, jsonl or parquet; a file gets its name once it is whole."""

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from selfattn_lm.errors import UserError
from selfattn_lm.runs.files import atomic
from selfattn_lm.text.sources import format_of

Writer = Callable[[Sequence[Any], Sequence[Any]], Any]  # takes the input's cells and the added ones


def output_format(path: Path) -> str:
    """The format by the file's name; refuses one that is not written."""
    form = format_of(path)
    if form not in ("csv", "tsv", "jsonl", "parquet") or (form == "parquet" and path.suffix == ".gz"):
        raise UserError(f"{path}: not a format that is written; name it .csv, .tsv, .jsonl or .parquet.")
    return form


@contextmanager
def open_writer(
    path: Path | None, form: str, columns: list[str], added: list[str], schema: Any | None
) -> Iterator[Writer]:
    """Gives a function that writes a row to a file, or to standard output if `path` is None.

    `columns` are the input's, `added` the new ones: predictions (texts) and probabilities (numbers). Parquet keeps the
    types of the input's arrow `schema`; without one, its cells become texts.
    """
    if path is None:
        yield _text_writer(sys.stdout, form, columns + added)
        sys.stdout.flush()
        return
    with atomic(path) as temporary:
        if form == "parquet":
            with _parquet_writer(temporary, columns, added, schema) as write:
                yield write
            return
        raw: Any = gzip.open(temporary, "wb") if path.suffix == ".gz" else temporary.open("wb")
        with raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as file:
            yield _text_writer(file, form, columns + added)


def _text_writer(file: IO[str], form: str, names: list[str]) -> Writer:
    if form == "jsonl":
        return lambda old, new: file.write(_json(dict(zip(names, [*old, *new], strict=True))) + "\n")
    writer = csv.writer(file, delimiter="\t" if form == "tsv" else ",", lineterminator="\n")
    writer.writerow(names)
    return lambda old, new: writer.writerow([_text(cell) for cell in (*old, *new)])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _text(cell: Any) -> str:
    return cell if isinstance(cell, str) else "" if cell is None else _json(cell)


@contextmanager
def _parquet_writer(path: Path, columns: list[str], added: list[str], schema: Any | None) -> Iterator[Writer]:
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
