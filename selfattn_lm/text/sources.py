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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from selfattn_lm.errors import UserError

_ALIASES = {"ndjson": "jsonl", "feather": "arrow"}
_PIECE = 1 << 20
_BETWEEN = re.compile(r"[\s,\[\]]*")  # what stands between the objects of a JSON array


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
    return suffix if suffix in READERS else None


def read_rows(path: Path, form: str | None = None) -> Iterator[Row]:
    """Stream a file's rows; broken ones come with their problem and do not end the stream.

    Args:
        path: A file, or `-` for standard input (text formats alone).
        form: One of `READERS`; by the file's name if not given.

    Raises:
        UserError: If the file is missing, empty, not UTF-8, or of an unknown format.
    """
    form = form or format_of(path)
    if str(path) != "-" and not path.is_file():
        raise UserError(f"{path}: no such file.")
    if form is None:
        raise UserError(f"{path}: unknown format; name it .{', .'.join(READERS)} (also .gz).")
    row = None
    with _readable(path):
        for row in READERS[form](path):
            yield row
    if row is None:
        raise UserError(f"{path}: the file has no rows.")


def schema_of(path: Path) -> Any | None:
    """The arrow schema of a parquet or arrow file, None for text formats, whose columns are strings."""
    form = format_of(path)
    if form not in ("parquet", "arrow") or not path.is_file():
        return None
    with _readable(path), _unpacked(path) as file:
        import pyarrow.parquet as pq

        return pq.read_schema(file) if form == "parquet" else _arrow_reader(file).schema


def _undecodable(path: Path) -> int:
    """The number of the first line that is not UTF-8: the decoder itself reads ahead and cannot tell."""
    with _bytes(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 0


def _bytes(path: Path) -> Any:
    return sys.stdin.buffer if str(path) == "-" else gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _lines(path: Path) -> IO[str]:
    return io.TextIOWrapper(_bytes(path), encoding="utf-8-sig", newline="")


def _read_csv(path: Path, delimiter: str = ",") -> Iterator[Row]:
    csv.field_size_limit(1 << 26)  # a text of many megabytes is a text; a quote never closed must end somewhere
    with _lines(path) as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        header: list[str] | None = None
        number = 0
        while True:
            try:
                cells = next(reader, None)
                problem = ""
            except csv.Error as error:
                cells, problem = [], f"broken line: {error}"
            if cells is None:
                return
            if header is None:
                header = cells
                if problem or len(set(header)) < len(header):
                    reason = problem or "two columns have the same name"
                    raise UserError(f"{path}, line 1: {reason}; mend the header.")
            elif cells or problem:
                number += 1
                if not problem and len(cells) != len(header):
                    problem = f"{len(cells)} fields where the header has {len(header)}"
                values = None if problem else dict(zip(header, cells, strict=True))
                yield Row(number, values, problem, reader.line_num)


def _read_jsonl(path: Path) -> Iterator[Row]:
    number = 0
    with _lines(path) as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            number += 1
            try:
                values = json.loads(text)
                problem = "" if isinstance(values, dict) else f"broken line: {text.strip()[:40]} is not an object"
            except (json.JSONDecodeError, RecursionError) as error:
                problem = f"broken line: {error}"
            yield Row(number, None if problem else values, problem, line)


def _read_json(path: Path) -> Iterator[Row]:
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
                except json.JSONDecodeError as error:
                    if more:  # perhaps only cut off by the end of this piece
                        break
                    raise UserError(f"{path}: broken JSON after row {number}: {error.msg}.") from None
                number += 1
                if not isinstance(values, dict):
                    raise UserError(f"{path}: row {number} is {str(values)[:40]}, not an object with named columns.")
                yield Row(number, values)
            buffer = buffer[start:]


def _read_txt(path: Path) -> Iterator[Row]:
    with _lines(path) as file:
        for number, line in enumerate(file, 1):
            yield Row(number, {"text": line.rstrip("\r\n")}, line=number)


def _unpacked(path: Path) -> IO[bytes]:
    """The file, unpacked to a temporary one if it is a .gz: parquet and arrow are read from their end."""
    if path.suffix != ".gz":
        return path.open("rb")
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    with gzip.open(path) as packed:
        shutil.copyfileobj(packed, unpacked)
    unpacked.seek(0)
    return unpacked


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what may be wrong with a file's bytes into a sentence."""
    try:
        yield
    except UnicodeDecodeError as error:
        where = f"{path}, line {_undecodable(path)}" if str(path) != "-" else "-"
        byte = error.object[error.start]
        raise UserError(f"{where}: not UTF-8 (byte 0x{byte:02x}); save the file as UTF-8.") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: broken gzip: {error}.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except ValueError as error:  # pyarrow's errors of format are ValueErrors
        raise UserError(f"{path}: not a readable {format_of(path)} file: {error}.") from None


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow.parquet as pq

    with _unpacked(path) as file:
        yield from _rows(pq.ParquetFile(file, pre_buffer=False).iter_batches(batch_size=1024))


def _arrow_reader(file: IO[bytes]) -> Any:
    import pyarrow as pa

    try:
        return pa.ipc.open_file(file)
    except pa.ArrowInvalid:
        file.seek(0)
        return pa.ipc.open_stream(file)


def _read_arrow(path: Path) -> Iterator[Row]:
    with _unpacked(path) as file:
        reader = _arrow_reader(file)
        count = getattr(reader, "num_record_batches", None)
        yield from _rows(reader if count is None else map(reader.get_batch, range(count)))


def _rows(batches: Any) -> Iterator[Row]:
    parts = (batch.slice(start, 1024).to_pylist() for batch in batches for start in range(0, len(batch), 1024))
    return (Row(number, values) for number, values in enumerate((values for part in parts for values in part), 1))


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "csv": _read_csv,
    "tsv": partial(_read_csv, delimiter="\t"),
    "json": _read_json,
    "jsonl": _read_jsonl,
    "parquet": _read_parquet,
    "arrow": _read_arrow,
    "txt": _read_txt,
}
