"""Rows to csv, tsv, jsonl or parquet, in UTF-8 whatever the locale says, in constant memory."""

import csv
import gzip
import itertools
import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Protocol

from selfattn_lm.data.lines import is_packed
from selfattn_lm.data.readers import format_of
from selfattn_lm.errors import UserError
from selfattn_lm.inference.cells import cell_text, json_text, without_surrogates
from selfattn_lm.runs import atomic

log = logging.getLogger(__name__)
_FORMATS = ("csv", "tsv", "jsonl", "parquet")

RowDict = Mapping[str, Any]


class Writer(Protocol):
    """Takes rows, a mapping from column to value each."""

    def write(self, rows: Sequence[RowDict]) -> None:
        """Write some rows; what was written to standard output is there at once."""


@dataclass(frozen=True)
class Target:
    """Where rows are written to, and in which format; without a path to standard output."""

    path: Path | None
    form: str

    @classmethod
    def of(cls, out: Path | str | None, output_format: str) -> "Target":
        """The file `out` in the format of its name, or standard output in `output_format`."""
        if out is None:
            return cls(None, output_format)
        path = Path(out)
        form = format_of(path)
        if form not in _FORMATS or (form == "parquet" and is_packed(path)):
            raise UserError(f"{path}: not a format that is written; name it .csv, .tsv, .jsonl or .parquet.")
        if path.is_dir():
            raise UserError(f"{path}: is a folder; name a file with --out.")
        return cls(path, form)

    def is_file(self, source: str) -> bool:
        """Whether this is the file that is read."""
        return self.path is not None and self.path.exists() and Path(source).exists() and self.path.samefile(source)


@dataclass(frozen=True)
class OutputSchema:
    """The columns of the output: those of the input, with their arrow types if it has them, and the added ones."""

    columns: Sequence[str]
    added: Mapping[str, type]
    arrow: Any = None  # the input's arrow schema; None where its values are texts or JSON
    is_open: bool = False  # rows to come may have further columns, and JSON values of any type

    @cached_property
    def known(self) -> frozenset[str]:
        """The columns of the input, to look one up."""
        return frozenset(self.columns)

    @property
    def names(self) -> list[str]:
        """All columns in order."""
        return [*self.columns, *self.added]


@contextmanager
def open_writer(target: Target, schema: OutputSchema) -> Iterator[Writer]:
    """Gives a writer; a file is there at the end as a whole, or not at all."""
    if target.path is None:
        yield _text_writer(_standard_output(), target.form, schema.names)
        return
    with atomic(target.path) as temporary, ExitStack() as stack:
        if schema.is_open and target.form != "jsonl":
            file = stack.enter_context(tempfile.TemporaryFile(dir=temporary.parent))
            spool = _Spool(file, target, schema)
            yield spool
            spool.write_to(temporary)
        else:
            yield stack.enter_context(_file_writer(temporary, target, schema))


@contextmanager
def _file_writer(temporary: Path, target: Target, schema: OutputSchema) -> Iterator[Writer]:
    """A writer to a temporary file, whose columns are those of `schema`."""
    assert target.path is not None
    if target.form == "parquet":
        from selfattn_lm.inference.parquet import parquet_writer

        fields = [*_input_fields(schema), *_added_fields(schema.added)]
        metadata = None if schema.arrow is None else schema.arrow.metadata
        with parquet_writer(temporary, fields, metadata) as writer:
            yield writer
        return
    with ExitStack() as stack:
        raw: Any = stack.enter_context(temporary.open("wb"))
        if is_packed(target.path):  # without a name and a time in it: the same rows give the same bytes
            raw = stack.enter_context(gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0))
        yield _text_writer(_Utf8File(raw), target.form, schema.names)


class _TextFile(Protocol):
    def write(self, text: str, /) -> int: ...

    def flush(self) -> None: ...


class _Utf8File:
    """A binary file as one for text; half a surrogate pair, which UTF-8 has not, is escaped as in JSON."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def write(self, text: str, /) -> int:
        return self.file.write(text.encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        self.file.flush()


def _standard_output() -> _TextFile:
    """Standard output in UTF-8 with newlines as they are written, whatever Python makes of the locale."""
    sys.stdout.flush()
    binary = getattr(sys.stdout, "buffer", None)
    return sys.stdout if binary is None else _Utf8File(binary)  # a notebook's has texts only


def _text_writer(file: _TextFile, form: str, names: Sequence[str]) -> Writer:
    if form == "jsonl":
        return _JsonLines(file)
    return _Delimited(file, "\t" if form == "tsv" else ",", names)


class _JsonLines:
    """A JSON object a line, with the columns that the row has."""

    def __init__(self, file: _TextFile) -> None:
        self.file = file

    def write(self, rows: Sequence[RowDict]) -> None:
        for row in rows:
            self.file.write(json_text(row) + "\n")
        self.file.flush()


class _Delimited:
    """csv or tsv; a column that the row has not is empty."""

    def __init__(self, file: _TextFile, delimiter: str, names: Sequence[str]) -> None:
        self.file = file
        self.names = names
        self.plain = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        self.quoted = csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
        self._write_cells(names)

    def write(self, rows: Sequence[RowDict]) -> None:
        for row in rows:
            self._write_cells([cell_text(row.get(name)) for name in self.names])
        self.file.flush()

    def _write_cells(self, cells: Sequence[str]) -> None:
        has_return = any("\r" in cell for cell in cells)  # which csv leaves unquoted if lines end otherwise
        (self.quoted if has_return else self.plain).writerow(cells)


def _input_fields(schema: OutputSchema) -> list[Any]:
    """The input's columns with their arrow types, which are texts if the input has no types."""
    import pyarrow as pa

    if schema.arrow is None:
        return [pa.field(name, pa.string()) for name in schema.columns]
    return [schema.arrow.field(name) for name in schema.columns]


def _added_fields(added: Mapping[str, type]) -> list[Any]:
    import pyarrow as pa

    return [pa.field(name, pa.string() if kind is str else pa.float64()) for name, kind in added.items()]


class _Spool:
    """Rows of JSON values in a temporary file, until all their columns and types are known."""

    def __init__(self, file: IO[bytes], target: Target, schema: OutputSchema) -> None:
        from selfattn_lm.inference.json_types import ColumnTypes

        self.file = file
        self.target = target
        self.added = schema.added
        self.types = ColumnTypes()
        self.is_parquet = target.form == "parquet"
        for name in schema.columns:
            self.types.add_column(without_surrogates(name) if self.is_parquet else name)

    def write(self, rows: Sequence[RowDict]) -> None:
        for row in rows:
            line = json.dumps(row)
            if self.is_parquet and r"\ud" in line:  # a surrogate, perhaps without the other one of its pair
                row = without_surrogates(row)
                line = json.dumps(row)
            self.file.write(line.encode("ascii") + b"\n")
            for name, value in row.items():
                if name not in self.added:
                    self.types.add_column(name)
                    if self.is_parquet:
                        self.types.add_value(name, value)

    def write_to(self, temporary: Path) -> None:
        """Write all rows in the format of the target; a parquet column that has no single type becomes text."""
        if not self.is_parquet:
            with _file_writer(temporary, self.target, OutputSchema(self.types.names, self.added)) as writer:
                self._copy_to(writer)
            return
        while not self._write_parquet(temporary):
            pass
        for name in self.types.names:
            if name in self.types.as_text:
                log.warning("%s: the values of column %r fit no single type, so it holds texts", self.target.path, name)

    def _write_parquet(self, temporary: Path) -> bool:
        """Write all rows with the types that were found; False if a column must become text first."""
        from selfattn_lm.inference.parquet import DoesNotFit, parquet_writer

        fields = [self.types.field(name) for name in self.types.names]
        try:
            with parquet_writer(temporary, [*fields, *_added_fields(self.added)]) as writer:
                self._copy_to(writer)
        except DoesNotFit as misfit:  # beside fractions there is a whole number that no float can hold
            self.types.as_text.add(misfit.column)
            return False
        return True

    def _copy_to(self, writer: Writer) -> None:
        self.file.seek(0)
        while lines := list(itertools.islice(self.file, 1000)):
            writer.write([json.loads(line) for line in lines])
