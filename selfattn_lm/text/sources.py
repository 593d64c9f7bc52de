"""One streaming reader per file format: rows with their number in the file and their columns as they were written.

CSV cells are strings: `None`, `NA`, `01` and `no` stay what they are.
"""

import csv
import gzip
import io
import json
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from selfattn_lm.errors import UserError

_PIECE = 1 << 20
_BETWEEN = re.compile(r"[\s,\[\]]*")  # what stands between the objects of a JSON array
_Found = Iterator[tuple[dict[str, Any] | str, int]]  # a row's columns or its problem, and its line (0: none)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file, or what is wrong with it."""

    number: int  # among the file's rows, from 1, a header not counted
    values: dict[str, Any] | None  # its columns; None where it could not be read
    problem: str = ""  # why it could not be read
    line: int = 0  # the line of the file on which it ends, 0 for formats without lines
    file: str = ""  # which file, where one source has several

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        row = f"row {self.number} (line {self.line})" if self.line not in (0, self.number) else f"row {self.number}"
        return f"{self.file}, {row}" if self.file else row


def format_of(path: Path) -> str | None:
    """The format by the file's name, `.gz` aside; None where it is none of ours."""
    suffix = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lstrip(".").lower()
    suffix = {"ndjson": "jsonl", "feather": "arrow"}.get(suffix, suffix)
    return suffix if suffix in READERS else None


def read_rows(path: Path, form: str | None = None) -> Iterator[Row]:
    """Stream the rows of a file, or of standard input (`-`, text formats); a broken row comes with its problem."""
    form = form or format_of(path)
    if str(path) != "-" and not path.is_file():
        raise UserError(f"{path}: no such file.")
    if form is None:
        raise UserError(f"{path}: unknown format; name it .{', .'.join(READERS)} (also .gz).")
    number = 0
    with _readable(path):
        for number, (found, line) in enumerate(READERS[form](path), 1):
            yield Row(number, None, found, line) if isinstance(found, str) else Row(number, found, "", line)
    if number == 0:
        raise UserError(f"{path}: the file has no rows.")


def schema_of(path: Path) -> Any | None:
    """The arrow schema of a parquet or arrow file, None for text formats, whose columns are strings."""
    form = format_of(path)
    if form not in ("parquet", "arrow") or not path.is_file():
        return None
    with _readable(path), _unpacked(path) as file:
        return _schema_and_batches(file, form)[0]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what may be wrong with a file's bytes into a sentence."""
    try:
        yield
    except UnicodeDecodeError as error:
        where, byte = str(path), error.object[error.start]
        if where != "-":  # the decoder reads ahead and does not know the line
            with _bytes(path) as file:
                broken = (line.decode(errors="ignore").encode() != line for line in file)
                where += f", line {next((number for number, bad in enumerate(broken, 1) if bad), 0)}"
        raise UserError(f"{where}: not UTF-8 (byte 0x{byte:02x}); save the file as UTF-8.") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: broken gzip: {error}.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except ValueError as error:  # pyarrow's errors of format are ValueErrors
        raise UserError(f"{path}: not a readable {format_of(path)} file: {error}.") from None


def _bytes(path: Path) -> Any:
    return _standard_input() if str(path) == "-" else gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _standard_input() -> IO[bytes]:
    """Standard input with a buffer of its own: Python aborts at its end while a thread waits in `sys.stdin.buffer`."""
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except OSError:  # it is no file but, say, a BytesIO
        return sys.stdin.buffer


def _lines(path: Path) -> IO[str]:
    return io.TextIOWrapper(_bytes(path), encoding="utf-8-sig", newline="")


def _read_csv(path: Path, delimiter: str = ",") -> _Found:
    csv.field_size_limit(1 << 26)  # a text of many megabytes is a text; a quote never closed must end somewhere
    with _lines(path) as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        header: list[str] | None = None
        while True:
            try:
                cells, problem = next(reader, None), ""
            except csv.Error as error:
                cells, problem = [], f"broken line: {error}"
            if cells is None:
                return
            if header is None:
                header = cells
                if problem or len(set(header)) < len(header):
                    raise UserError(f"{path}, line 1: {problem or 'two columns have the same name'}; mend the header.")
            elif problem or len(cells) not in (0, len(header)):
                yield problem or f"{len(cells)} fields where the header has {len(header)}", reader.line_num
            elif cells:
                yield dict(zip(header, cells, strict=True)), reader.line_num


def _read_jsonl(path: Path) -> _Found:
    with _lines(path) as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                values = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield f"broken line: {error}", line
            else:
                yield values if isinstance(values, dict) else f"broken line: {text.strip()[:40]} is not an object", line


def _read_json(path: Path) -> _Found:
    """An array of objects, or objects one after the other, read piece by piece."""
    decode = json.JSONDecoder().raw_decode
    number, buffer, more = 0, "", True
    with _lines(path) as file:
        while more:
            more = bool(piece := file.read(_PIECE))
            buffer, start = buffer + piece, 0
            while (start := _BETWEEN.match(buffer, start).end()) < len(buffer):  # type: ignore[union-attr]
                try:
                    values, start = decode(buffer, start)
                except (ValueError, RecursionError) as error:
                    if more:  # perhaps only cut off by the end of this piece
                        break
                    reason = getattr(error, "msg", error)
                    raise UserError(f"{path}: broken JSON after row {number}: {reason}.") from None
                number += 1
                if not isinstance(values, dict):
                    raise UserError(f"{path}: row {number} is {str(values)[:40]}, not an object with named columns.")
                yield values, 0
            buffer = buffer[start:]


def _read_txt(path: Path) -> _Found:
    with _lines(path) as file:
        yield from (({"text": text.rstrip("\r\n")}, line) for line, text in enumerate(file, 1))


def _read_columnar(path: Path, form: str) -> _Found:
    with _unpacked(path) as file:
        for batch in _schema_and_batches(file, form)[1]:
            for start in range(0, len(batch), 1024):
                yield from ((values, 0) for values in batch.slice(start, 1024).to_pylist())


def _schema_and_batches(file: IO[bytes], form: str) -> tuple[Any, Iterable[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if form == "parquet":
        parquet = pq.ParquetFile(file, pre_buffer=False)
        return parquet.schema_arrow, parquet.iter_batches(batch_size=1024)
    try:
        reader = pa.ipc.open_file(file)
    except pa.ArrowInvalid:
        file.seek(0)
        stream = pa.ipc.open_stream(file)
        return stream.schema, stream
    return reader.schema, map(reader.get_batch, range(reader.num_record_batches))


def _unpacked(path: Path) -> IO[bytes]:
    """The file, unpacked to a temporary one if it is a .gz: parquet and arrow are read from their end."""
    if path.suffix != ".gz":
        return path.open("rb")
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    with gzip.open(path) as packed:
        shutil.copyfileobj(packed, unpacked)
    unpacked.seek(0)
    return unpacked


READERS: dict[str, Callable[[Path], _Found]] = {
    "csv": _read_csv,
    "tsv": partial(_read_csv, delimiter="\t"),
    "json": _read_json,
    "jsonl": _read_jsonl,
    "parquet": partial(_read_columnar, form="parquet"),
    "arrow": partial(_read_columnar, form="arrow"),
    "txt": _read_txt,
}
