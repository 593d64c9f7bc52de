"""A file, a pipe or standard input of any known format to rows, one by one.

CSV cells are strings: `None`, `NA`, `01` and `no` stay what they are.
"""

import gzip
import logging
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from selfattn_lm.config import Quoting
from selfattn_lm.data.columnar import read_columnar, schema_and_batches
from selfattn_lm.data.columns import is_known_name
from selfattn_lm.data.delimited import read_delimited
from selfattn_lm.data.dialect import find_dialect, refuse_one_column
from selfattn_lm.data.json_rows import read_json, read_jsonl
from selfattn_lm.data.lines import (
    GZIP,
    describe_damage,
    is_packed,
    is_readable,
    is_stream,
    open_bytes,
    open_lines,
    refuse_other_encodings,
    replace_surrogates,
    spooled,
    without_newline,
)
from selfattn_lm.data.rows import NoRowsError, Row
from selfattn_lm.errors import UserError

log = logging.getLogger(__name__)
_MAGIC = {b"PAR1": "parquet", b"ARROW1": "arrow"}  # how a columnar file begins
_ZIP = b"PK\x03\x04"


def format_of(path: Path) -> str | None:
    """The format by the file's name, `.gz` aside; None where it is none of ours."""
    suffix = (path.with_suffix("") if is_packed(path) else path).suffix.lstrip(".").lower()
    suffix = {"ndjson": "jsonl", "feather": "arrow"}.get(suffix, suffix)
    return suffix if suffix in READERS else None


def read_rows(
    path: Path, form: str | None = None, quoting: Quoting = "auto", *, stream_form: str = "csv"
) -> Iterator[Row]:
    """Stream the rows of a file, a pipe, or standard input (`-`); a broken row comes with its problem.

    `form` is the format where the name does not tell; a pipe's is otherwise guessed by how it begins, and is
    `stream_form` where that does not tell.
    """
    form = form or format_of(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file in it.")
    if not is_readable(path):
        raise UserError(f"{path}: no such file.")
    if form is None and not is_stream(path):
        raise UserError(f"{path}: unknown format; name it .{', .'.join(READERS)} (also .gz).")
    with _readable(path, form), open_bytes(path) as opened:
        form = form or _stream_format(opened, path, stream_form)
        columnar = form in ("parquet", "arrow")  # read from their end
        read_twice = form in ("csv", "tsv") and quoting == "auto"
        packed_or_stream = is_stream(path) or is_packed(path)
        if read_twice and str(path) == "-":
            advice = "--data.quoting standard or none predicts rows as they arrive"
            log.info("-: read to its end first, to see whether its fields are quoted; %s", advice)
        must_seek = (columnar and packed_or_stream) or (read_twice and is_stream(path))
        file: Any = spooled(opened) if must_seek else opened
        with closing(file):
            if not columnar:
                _refuse_another_format(file, path, form)
                refuse_other_encodings(file, str(path))
                if not file.peek(4)[:4].removeprefix(b"\xef\xbb\xbf"):
                    raise UserError(f"{path}: the file is empty; it has no rows.")
            rows = READERS[form](file, str(path), quoting)
            row = None
            for row in rows:
                yield row
            if row is None:
                raise NoRowsError(str(path), [])


def schema_of(path: Path) -> Any | None:
    """The arrow schema of a parquet or arrow file, None for text formats, whose columns are strings."""
    form = format_of(path)
    if form not in ("parquet", "arrow") or not path.is_file():
        return None
    with _readable(path, form), open_bytes(path) as opened:
        file = spooled(opened) if is_packed(path) else opened
        with closing(file):
            return schema_and_batches(file, form)[0]


def _stream_format(file: Any, path: Path, usual: str) -> str:
    """The format of a stream by its beginning, else the `usual` one; standard input (`-`) always has that."""
    found = _guess_format(file)
    if found is None or found == usual:
        return usual
    if str(path) != "-":
        log.info("%s: read as %s, by its beginning", path, found)
        return found
    if usual == "txt" and found not in _MAGIC.values():
        log.warning(
            "-: read as one text a line, but it begins like %s; --input-format says what it is",
            found,
        )
    return usual


def _guess_format(file: Any) -> str | None:
    """The format of a stream by its beginning: a header is known by the names of its columns."""
    head: bytes = file.peek(512)
    for magic, form in _MAGIC.items():
        if head.startswith(magic):
            return form
    if as_json := _guess_json(head):
        return as_json
    text = head.decode("utf-8-sig", errors="ignore").lstrip()
    first = text.partition("\n")[0]
    for delimiter, form in (("\t", "tsv"), (",", "csv"), (";", "csv")):
        names = [name.strip(' "\r') for name in first.split(delimiter)]
        if len(names) > 1 and any(is_known_name(name) for name in names):
            return form
    return None


def _guess_json(head: bytes) -> str | None:
    text = head.decode("utf-8-sig", errors="ignore").lstrip()
    if re.match(r'\{\s*"', text):
        return "jsonl"
    return "json" if re.match(r"\[\s*\{", text) else None


def _refuse_another_format(file: Any, path: Path, form: str) -> None:
    """Refuse what is named as one format of texts and begins as another, which would be read as nonsense."""
    head: bytes = file.peek(512)
    if head.startswith(GZIP):
        raise UserError(f"{path}: is packed by gzip; let its name end in .gz.")
    if head.startswith(_ZIP):
        raise UserError(f"{path}: is a zip archive, as workbooks of Excel are; save it as csv.")
    found = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    if found is None and form in ("csv", "tsv", "jsonl"):
        found = _guess_json(head)
    if found is None or found == form:
        return
    advice = f"let its name end in .{found}"
    if is_stream(path):
        advice = (
            "give the name of a file, or /dev/stdin"
            if found in _MAGIC.values()
            else f"--input-format {found}"
        )
    raise UserError(f"{path}: is {found}, not {form}; {advice}.")


@contextmanager
def _readable(path: Path, form: str | None) -> Iterator[None]:
    """Turns what may be wrong with a file's bytes into a sentence."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: broken gzip: {error}.") from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise UserError(
            f"{path}: holds a text that is not UTF-8 (byte 0x{byte:02x}); write it anew."
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except ValueError as error:  # pyarrow's errors of format are ValueErrors
        reason = str(error).rstrip(".")
        raise UserError(
            f"{path}: not a readable {form or format_of(path)} file: {reason}."
        ) from None


def _read_separated(file: Any, where: str, quoting: Quoting, delimiter: str) -> Iterator[Row]:
    if file.seekable():
        return read_delimited(file, where, *find_dialect(file, where, delimiter, quoting))
    assert quoting != "auto", "only a file that can be read twice tells its quoting"
    header = file.peek(512).partition(b"\n")[0].decode("utf-8-sig", errors="ignore")
    refuse_one_column(header, where, delimiter)
    return read_delimited(file, where, delimiter, quoting)


def _read_txt(file: IO[bytes], where: str) -> Iterator[Row]:
    with open_lines(file, where) as lines:
        for number, line in enumerate(lines, 1):
            text = without_newline(line)
            problem = describe_damage(text)
            yield Row(
                number,
                {"text": replace_surrogates(text)},
                "",
                number,
                {"text": problem} if problem else {},
            )


Reader = Callable[
    [Any, str, Quoting], Iterator[Row]
]  # of an open file, its name for messages, and its quoting
READERS: dict[str, Reader] = {
    "csv": partial(_read_separated, delimiter=","),
    "tsv": partial(_read_separated, delimiter="\t"),
    "json": lambda file, where, quoting: read_json(file, where),
    "jsonl": lambda file, where, quoting: read_jsonl(file, where),
    "parquet": lambda file, where, quoting: read_columnar(file, where, "parquet"),
    "arrow": lambda file, where, quoting: read_columnar(file, where, "arrow"),
    "txt": lambda file, where, quoting: _read_txt(file, where),
}
