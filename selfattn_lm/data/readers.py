"""Read a file, a pipe or standard input of any known format, row by row.

The cells of csv and tsv files are strings: `None`, `NA`, `01` and `no` are not converted.
"""

import gzip
import logging
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from selfattn_lm.config import Quoting
from selfattn_lm.data.columnar import read_columnar, schema_and_batches
from selfattn_lm.data.delimited import read_delimited
from selfattn_lm.data.dialect import find_dialect, has_known_column, refuse_one_column
from selfattn_lm.data.json_rows import read_json, read_jsonl
from selfattn_lm.data.lines import (
    GZIP,
    is_packed,
    is_readable,
    is_stream,
    open_bytes,
    open_lines,
    refuse_other_encodings,
    spooled,
    without_newline,
)
from selfattn_lm.data.rows import NoRowsError, Row, checked_row
from selfattn_lm.data.vectors import read_arrays
from selfattn_lm.errors import UserError

log = logging.getLogger(__name__)
FORMATS = ("csv", "tsv", "json", "jsonl", "parquet", "arrow", "txt", "npy", "npz")
_COLUMNAR = ("parquet", "arrow")
_ARRAYS = ("npy", "npz")  # of sequences of vectors
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_ALIASES = {"ndjson": "jsonl", "feather": "arrow"}
_MAGIC = {b"PAR1": "parquet", b"ARROW1": "arrow"}  # the first bytes of a columnar file
_ZIP = b"PK\x03\x04"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def format_of(path: Path) -> str | None:
    """Return the format that the file name implies, `.gz` aside; None if it is not a known one."""
    if is_packed(path):
        path = path.with_suffix("")
    suffix = path.suffix.lstrip(".").lower()
    form = _ALIASES.get(suffix, suffix)
    if form not in FORMATS:
        return None
    return form


def read_rows(
    path: Path, form: str | None = None, quoting: Quoting = "auto", *, stream_form: str = "csv"
) -> Iterator[Row]:
    """Stream the rows of a file, a pipe, or standard input (`-`); a broken row has a `problem`.

    Args:
        path: The file or stream.
        form: Its format; None: by the file's name or the stream's first bytes.
        quoting: Whether fields of csv and tsv files may be quoted; `auto`: by the file's rows.
        stream_form: The format of a stream whose first bytes do not tell it.

    Raises:
        UserError: The file cannot be read.
        NoRowsError: The file has no rows.
    """
    form = form or format_of(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file in it.")
    if not is_readable(path):
        raise UserError(f"{path}: no such file.")
    if form is None and not is_stream(path):
        raise UserError(f"{path}: unknown format; name it .{', .'.join(FORMATS)} (also .gz).")
    with _user_errors(path, form), open_bytes(path) as opened:
        if form is None:
            form = _stream_format(opened, path, stream_form)
        file: Any = opened
        if _must_spool(path, form, quoting):
            file = spooled(opened)
        with closing(file):
            if form not in (*_COLUMNAR, *_ARRAYS):
                _refuse_other_contents(file, path, form)
            rows = _read_format(file, path, form, quoting)
            first = next(rows, None)
            if first is None:
                raise NoRowsError(str(path), [])
            yield first
            yield from rows


def schema_of(path: Path) -> Any | None:
    """Return the arrow schema of a parquet or arrow file; None for other files and formats."""
    form = format_of(path)
    if form is None or form not in _COLUMNAR or not path.is_file():
        return None
    with _user_errors(path, form), open_bytes(path) as opened:
        file: Any = opened
        if is_packed(path):
            file = spooled(opened)
        with closing(file):
            schema, _ = schema_and_batches(file, form)
            return schema


def _must_spool(path: Path, form: str, quoting: Quoting) -> bool:
    """Return whether the bytes must be copied to a temporary file before they can be read."""
    if form in (*_COLUMNAR, *_ARRAYS):  # read from the end
        return is_stream(path) or is_packed(path)
    is_read_twice = form in _DELIMITERS and quoting == "auto"
    if is_read_twice and str(path) == "-":
        advice = "--data.quoting standard or none predicts rows as they arrive"
        log.info("-: read to its end first, to see whether its fields are quoted; %s", advice)
    return is_read_twice and is_stream(path)


def _read_format(file: Any, path: Path, form: str, quoting: Quoting) -> Iterator[Row]:
    """Read an open file with the reader of its format."""
    where = str(path)
    if form in _COLUMNAR:
        return read_columnar(file, where, form)
    if form in _ARRAYS:
        return _read_arrays(file, where, form)
    if form in _DELIMITERS:
        return _read_separated(file, where, quoting, _DELIMITERS[form])
    if form == "json":
        return read_json(file, where)
    if form == "jsonl":
        return read_jsonl(file, where)
    assert form == "txt", f"unknown format {form}"
    return _read_txt(file, where)


def _read_separated(file: Any, where: str, quoting: Quoting, delimiter: str) -> Iterator[Row]:
    """Read a csv or tsv file, whose name implies the `delimiter`."""
    if file.seekable():
        found, resolved = find_dialect(file, where, delimiter, quoting)
        return read_delimited(file, where, found, resolved)
    assert quoting != "auto", "the quoting is found only in a file that can be read twice"
    header = file.peek(512).partition(b"\n")[0].decode("utf-8-sig", errors="ignore")
    refuse_one_column(header, where, delimiter)
    return read_delimited(file, where, delimiter, quoting)


def _read_arrays(file: Any, where: str, form: str) -> Iterator[Row]:
    """Yield each sequence of vectors as a row."""
    try:
        for number, values in enumerate(read_arrays(file, where, form), 1):
            yield Row(number, values)
    except (EOFError, zipfile.BadZipFile, zlib.error):
        raise UserError(f"{where}: the {form} file is empty or damaged; write it again.") from None


def _read_txt(file: IO[bytes], where: str) -> Iterator[Row]:
    """Yield each line as a row with one column, `text`."""
    with open_lines(file, where) as lines:
        for number, line in enumerate(lines, 1):
            yield checked_row(number, {"text": without_newline(line)}, number)


def _stream_format(file: Any, path: Path, usual: str) -> str:
    """Return the format that a stream's first bytes tell, else the `usual` one.

    Standard input (`-`) always has the usual format; a warning says if it looks like another.
    """
    found = _detect_format(file)
    if found is None or found == usual:
        return usual
    if str(path) != "-":
        log.info("%s: read as %s, by its beginning", path, found)
        return found
    if usual == "txt" and found not in _COLUMNAR:
        advice = f"it begins like {found}; --input-format says what it is"
        log.warning("-: read as one text per line, but %s", advice)
    return usual


def _detect_format(file: Any) -> str | None:
    """Detect the format of a stream by its first bytes, or by a column name in its header."""
    head: bytes = file.peek(512)
    form = _detect_columnar(head) or _detect_json(head)
    if form is not None:
        return form
    text = head.decode("utf-8-sig", errors="ignore").lstrip()
    header = text.partition("\n")[0]
    for delimiter, form in (("\t", "tsv"), (",", "csv"), (";", "csv")):
        if has_known_column(header, delimiter):
            return form
    return None


def _detect_columnar(head: bytes) -> str | None:
    for magic, form in _MAGIC.items():
        if head.startswith(magic):
            return form
    return None


def _detect_json(head: bytes) -> str | None:
    text = head.decode("utf-8-sig", errors="ignore").lstrip()
    if re.match(r'\{\s*"', text):
        return "jsonl"
    if re.match(r"\[\s*\{", text):
        return "json"
    return None


def _refuse_other_contents(file: Any, path: Path, form: str) -> None:
    """Refuse a file in a text format that is empty or whose first bytes show another format."""
    head: bytes = file.peek(512)
    if head.startswith(GZIP):
        raise UserError(f"{path}: is compressed with gzip; rename it to end in .gz.")
    if head.startswith(_ZIP):
        raise UserError(f"{path}: is a zip archive, as workbooks of Excel are; save it as csv.")
    found = _detect_columnar(head)
    if found is None and form in ("csv", "tsv", "jsonl"):
        found = _detect_json(head)
    if found is not None and found != form:
        raise UserError(f"{path}: is {found}, not {form}; {_advice(path, found)}.")
    refuse_other_encodings(file, str(path))
    if not file.peek(4)[:4].removeprefix(_BYTE_ORDER_MARK):
        raise UserError(f"{path}: the file is empty; it has no rows.")


def _advice(path: Path, found: str) -> str:
    """Return what to do with a file that is `found` to be of another format."""
    if not is_stream(path):
        return f"rename it to end in .{found}"
    if found in _COLUMNAR:
        return "give the name of a file, or /dev/stdin"
    return f"--input-format {found}"


@contextmanager
def _user_errors(path: Path, form: str | None) -> Iterator[None]:
    """Turn the errors of reading a file into `UserError`s."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: broken gzip: {error}.") from None
    except UnicodeDecodeError as error:
        problem = f"a text that is not UTF-8 (byte 0x{error.object[error.start]:02x})"
        raise UserError(f"{path}: holds {problem}; save the file as UTF-8.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except ValueError as error:  # pyarrow's errors of format are ValueErrors
        reason = str(error).rstrip(".")
        form = form or format_of(path)
        raise UserError(f"{path}: not a readable {form} file: {reason}.") from None
