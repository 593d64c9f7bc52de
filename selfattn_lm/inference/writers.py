"""Where rows are written to: a file of csv, tsv, jsonl or parquet, or standard output."""

import gzip
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfattn_lm.data.lines import is_packed
from selfattn_lm.data.readers import format_of
from selfattn_lm.errors import UserError
from selfattn_lm.inference.text_writers import Utf8File, Writer, standard_output, text_writer
from selfattn_lm.runs import atomic

if TYPE_CHECKING:
    from selfattn_lm.inference.spool import Spool

log = logging.getLogger(__name__)
_FORMATS = ("csv", "tsv", "jsonl", "parquet")


@dataclass(frozen=True)
class Target:
    """Where rows are written to, and in which format.

    Attributes:
        path: The file, or None for standard output.
        form: The format.
    """

    path: Path | None
    form: str

    @classmethod
    def of(cls, out: Path | str | None, output_format: str) -> "Target":
        """Return the file `out`, whose name gives the format, or standard output."""
        if out is None:
            return cls(None, output_format)
        path = Path(out)
        form = format_of(path)
        is_packed_parquet = form == "parquet" and is_packed(path)
        if form not in _FORMATS or is_packed_parquet:
            advice = "name it .csv, .tsv, .jsonl or .parquet"
            raise UserError(f"{path}: not a format that is written; {advice}.")
        if path.is_dir():
            raise UserError(f"{path}: is a folder; name a file with --out.")
        return cls(path, form)

    def is_file(self, source: str) -> bool:
        """Return whether the target is the file with this name."""
        if self.path is None or not self.path.exists() or not Path(source).exists():
            return False
        return self.path.samefile(source)


@dataclass(frozen=True)
class OutputSchema:
    """The columns of the output.

    Attributes:
        columns: The columns of the input.
        added: The added columns with the types of their values.
        arrow: The arrow schema of the input; None if its values are texts or JSON.
        is_open: Whether later rows may have further columns, with JSON values of any type.
    """

    columns: Sequence[str]
    added: Mapping[str, Any]
    arrow: Any = None
    is_open: bool = False

    @cached_property
    def known(self) -> frozenset[str]:
        """The columns of the input as a set."""
        return frozenset(self.columns)

    @property
    def names(self) -> list[str]:
        """All columns in order."""
        return [*self.columns, *self.added]


@contextmanager
def open_writer(target: Target, schema: OutputSchema) -> Iterator[Writer]:
    """Give a writer; a file appears only when it is complete.

    Later rows may widen an open schema. Formats with fixed columns then need all rows before the
    first can be written, so the rows are spooled.
    """
    if target.path is None:
        yield text_writer(standard_output(), target.form, schema.names)
        return
    with atomic(target.path) as temporary:
        if schema.is_open and target.form != "jsonl":
            opened = _spool_writer(temporary, target, schema)
        else:
            opened = _file_writer(temporary, target, schema)
        with opened as writer:
            yield writer


@contextmanager
def _spool_writer(temporary: Path, target: Target, schema: OutputSchema) -> Iterator[Writer]:
    """Give a writer to a spool, whose rows are copied to a temporary file in the end."""
    from selfattn_lm.inference.spool import Spool

    is_parquet = target.form == "parquet"
    with tempfile.TemporaryFile(dir=temporary.parent) as file:
        spool = Spool(file, schema.columns, schema.added, for_parquet=is_parquet)
        yield spool
        if is_parquet:
            _copy_to_parquet(spool, temporary, target)
            return
        complete_schema = OutputSchema(spool.types.names, schema.added)
        with _file_writer(temporary, target, complete_schema) as writer:
            spool.copy_to(writer)


def _copy_to_parquet(spool: "Spool", temporary: Path, target: Target) -> None:
    """Write the rows of a spool as parquet; columns that fit no single type become texts."""
    from selfattn_lm.inference.parquet import DoesNotFit, added_fields, parquet_writer

    is_written = False
    while not is_written:
        fields = [*spool.types.fields(), *added_fields(spool.added)]
        try:
            with parquet_writer(temporary, fields) as writer:
                spool.copy_to(writer)
            is_written = True
        except DoesNotFit as misfit:  # a column of floats has an integer that no float can hold
            spool.types.as_text.add(misfit.column)
    for name in spool.types.names:
        if name in spool.types.as_text:
            message = "%s: the values of column %r fit no single type, so they are written as texts"
            log.warning(message, target.path, name)


@contextmanager
def _file_writer(temporary: Path, target: Target, schema: OutputSchema) -> Iterator[Writer]:
    """Give a writer of exactly the columns of `schema` to a temporary file."""
    assert target.path is not None
    if target.form == "parquet":
        from selfattn_lm.inference.parquet import added_fields, input_fields, parquet_writer

        fields = [*input_fields(schema.columns, schema.arrow), *added_fields(schema.added)]
        metadata = None
        if schema.arrow is not None:
            metadata = schema.arrow.metadata
        with parquet_writer(temporary, fields, metadata) as writer:
            yield writer
        return
    with temporary.open("wb") as file:
        if not is_packed(target.path):
            yield text_writer(Utf8File(file), target.form, schema.names)
            return
        # Without a name and a time in its header, the same rows give the same bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
            yield text_writer(Utf8File(packed), target.form, schema.names)
