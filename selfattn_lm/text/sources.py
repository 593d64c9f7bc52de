"""One streaming reader per file format: rows with their number in the file and their columns as they were written.

CSV cells are strings: `None`, `NA`, `01` and `no` stay what they are.
"""

import csv
import gzip
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from selfattn_lm.errors import UserError

FORMATS = ("csv", "tsv", "json", "jsonl", "parquet", "arrow", "txt")
_ALIASES = {"ndjson": "jsonl", "feather": "arrow"}
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    Attributes:
        number: Its number among the file's rows, from 1, a header not counted.
        values: Its columns; None where the row could not be read.
        problem: Why it could not be read.
        line: The line of the file on which it ends, 0 for formats without lines.
    """

    number: int
    values: dict[str, Any] | None
    problem: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"row {self.number} (line {self.line})" if self.line not in (0, self.number) else f"row {self.number}"


def format_of(path: Path) -> str | None:
    """The format by the file's name, `.gz` aside; None where it is none of ours."""
    suffix = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lstrip(".").lower()
    suffix = _ALIASES.get(suffix, suffix)
    return suffix if suffix in FORMATS else None


def stem_of(path: Path) -> str:
    """The file's name without its format: `train` of `train.csv.gz`."""
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]


def read_rows(path: Path, format: str | None = None) -> Iterator[Row]:
    """Stream a file's rows; broken ones come with their problem and do not end the stream.

    Args:
        path: A file, or `-` for standard input (text formats alone).
        format: One of `FORMATS`; by the file's name if not given.

    Raises:
        UserError: If the file is missing, empty, not UTF-8, or of an unknown format.
    """
    format = format or format_of(path)
    if format is None:
        raise UserError(f"{path}: unknown format; name it .{', .'.join(FORMATS)} (text formats also .gz).")
    if str(path) != "-" and not path.is_file():
        raise UserError(f"{path}: no such file.")
    empty = True
    for row in _READERS[format](path):
        empty = False
        yield row
    if empty:
        raise UserError(f"{path}: the file has no rows.")


def schema_of(path: Path) -> Any | None:
    """The arrow schema of a parquet or arrow file, None for text formats, whose columns are strings."""
    if format_of(path) not in ("parquet", "arrow"):
        return None
    import pyarrow.parquet as pq

    with _seekable(path) as file:
        return pq.read_schema(file) if format_of(path) == "parquet" else _arrow_reader(file).schema


def _lines(path: Path) -> IO[str]:
    if str(path) == "-":
        return io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="")
    raw = gzip.open(path) if path.suffix == ".gz" else path.open("rb")
    return io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")


def _decoded(path: Path, rows: Iterator[Row]) -> Iterator[Row]:
    """The same rows; what cannot be decoded or unpacked becomes one clear sentence."""
    number = 0
    try:
        for row in rows:
            number = row.number
            yield row
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise UserError(f"{path}: not UTF-8 after row {number} (byte 0x{byte:02x}); save the file as UTF-8.") from None
    except (gzip.BadGzipFile, EOFError) as error:
        raise UserError(f"{path}: broken gzip after row {number}: {error}.") from None


def _read_csv(path: Path, delimiter: str = ",") -> Iterator[Row]:
    csv.field_size_limit(1 << 26)  # a text of many megabytes is a text; a quote never closed must end somewhere
    with _lines(path) as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            header = next(reader, None)
        except csv.Error as error:
            raise UserError(f"{path}, line 1: the header cannot be read: {error}.") from None
        if header is None:
            return
        if twice := {name for name in header if header.count(name) > 1}:
            raise UserError(f"{path}: the header names {', '.join(map(repr, sorted(twice)))} twice; rename one.")
        number = 0
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                number += 1
                yield Row(number, None, f"broken line: {error}", reader.line_num)
                continue
            if not cells:
                continue
            number += 1
            if len(cells) == len(header):
                yield Row(number, dict(zip(header, cells, strict=True)), line=reader.line_num)
            else:
                problem = f"{len(cells)} fields where the header has {len(header)}"
                yield Row(number, None, problem, reader.line_num)


def _read_tsv(path: Path) -> Iterator[Row]:
    return _read_csv(path, "\t")


def _read_jsonl(path: Path) -> Iterator[Row]:
    number = 0
    with _lines(path) as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            number += 1
            try:
                values = json.loads(text)
            except (json.JSONDecodeError, RecursionError) as error:
                yield Row(number, None, f"broken line: {error}", line)
                continue
            if isinstance(values, dict):
                yield Row(number, values, line=line)
            else:
                yield Row(number, None, f"broken line: {text.strip()[:40]} is not an object", line)


def _read_json(path: Path) -> Iterator[Row]:
    """An array of objects, or objects one after the other, read piece by piece."""
    decode = json.JSONDecoder().raw_decode
    number, buffer = 0, ""
    with _lines(path) as file:
        while True:
            buffer = buffer.lstrip(" \t\r\n,[]\ufeff")
            try:
                values, end = decode(buffer)
                complete = end < len(buffer)
            except (json.JSONDecodeError, RecursionError) as error:
                complete, message = False, str(error)
                # An object cut off by the end of the buffer fails there, or at the string that it opened last.
                cut = getattr(error, "pos", 0) >= len(buffer) - 8 or message.startswith("Unterminated")
                if not cut:
                    raise UserError(f"{path}: broken JSON after row {number}: {message}.") from None
            if not complete:
                piece = file.read(max(_CHUNK, len(buffer)))
                buffer += piece
                if piece:
                    continue
                if not buffer:
                    return
                try:
                    values, end = decode(buffer)
                except json.JSONDecodeError as error:
                    raise UserError(f"{path}: broken JSON after row {number}: {error}.") from None
            number += 1
            buffer = buffer[end:]
            if not isinstance(values, dict):
                raise UserError(f"{path}: row {number} is {str(values)[:40]!r}, not an object with named columns.")
            yield Row(number, values)


def _read_txt(path: Path) -> Iterator[Row]:
    with _lines(path) as file:
        for number, line in enumerate(file, 1):
            yield Row(number, {"text": line.rstrip("\r\n")}, line=number)


def _seekable(path: Path) -> IO[bytes]:
    """The file, unpacked to a temporary one if it is a .gz: these formats are read from their end."""
    if path.suffix != ".gz":
        return path.open("rb")
    unpacked = tempfile.TemporaryFile()
    with gzip.open(path) as packed:
        shutil.copyfileobj(packed, unpacked)
    unpacked.seek(0)
    return unpacked


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _seekable(path) as file:
        try:
            batches = pq.ParquetFile(file, pre_buffer=False).iter_batches(batch_size=1024)
            yield from _from_batches(batches)
        except pa.ArrowException as error:
            raise UserError(f"{path}: not a readable parquet file: {error}.") from None


def _arrow_reader(file: IO[bytes]) -> Any:
    import pyarrow as pa

    try:
        return pa.ipc.open_file(file)
    except pa.ArrowInvalid:
        file.seek(0)
        return pa.ipc.open_stream(file)


def _read_arrow(path: Path) -> Iterator[Row]:
    import pyarrow as pa

    with _seekable(path) as file:
        try:
            reader = _arrow_reader(file)
            count = getattr(reader, "num_record_batches", None)
            yield from _from_batches(reader if count is None else map(reader.get_batch, range(count)))
        except pa.ArrowException as error:
            raise UserError(f"{path}: not a readable arrow file: {error}.") from None


def _from_batches(batches: Any) -> Iterator[Row]:
    number = 0
    for batch in batches:
        for start in range(0, len(batch), 1024):
            for values in batch.slice(start, 1024).to_pylist():
                number += 1
                yield Row(number, values)


def _text_reader(read: Any) -> Any:
    return lambda path: _decoded(path, read(path))


_READERS = {
    "csv": _text_reader(_read_csv),
    "tsv": _text_reader(_read_tsv),
    "json": _text_reader(_read_json),
    "jsonl": _text_reader(_read_jsonl),
    "txt": _text_reader(_read_txt),
    "parquet": _read_parquet,
    "arrow": _read_arrow,
}
