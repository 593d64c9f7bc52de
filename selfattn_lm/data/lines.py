"""Open files, gzip files, pipes and standard input, as bytes or as lines of text.

Bytes that are not UTF-8 are decoded to surrogates. So a bad byte spoils one cell, not the file.
"""

import gzip
import io
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from selfattn_lm.errors import UserError

GZIP = b"\x1f\x8b"  # the first bytes of a gzip file
_SURROGATE = re.compile("[\ud800-\udfff]")
_BYTE_ORDER_MARKS = {  # UTF-32 comes first, because its mark begins with that of UTF-16
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def is_stream(path: Path) -> bool:
    """Return whether the path is standard input (`-`), a pipe or another device.

    The name of a stream does not tell its format, and its bytes can be read only once.
    """
    if str(path) == "-" or str(path).startswith(("/dev/", "/proc/")):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


def is_readable(path: Path) -> bool:
    """Return whether the path is standard input (`-`), or exists and is not a folder."""
    return str(path) == "-" or path.is_file() or (path.exists() and not path.is_dir())


def is_packed(path: Path) -> bool:
    """Return whether the file name says that the file is compressed with gzip."""
    return path.suffix.lower() == ".gz"


@contextmanager
def open_bytes(path: Path) -> Iterator[Any]:
    """Open a file or a stream as a binary file with `peek`, and decompress gzip.

    A gzip file is recognized by its name, a gzip stream by its first bytes.
    """
    if is_stream(path):
        with closing(_open_stream(path)) as stream:
            if stream.peek(2)[:2] != GZIP:
                yield stream
                return
            with gzip.GzipFile(fileobj=stream) as decompressed:
                yield decompressed
    elif is_packed(path):
        with gzip.open(path) as decompressed:
            yield decompressed
    else:
        with path.open("rb") as file:
            yield file


def _open_stream(path: Path) -> Any:
    """Open standard input or another stream as a binary file with `peek`."""
    stream: Any = _open_standard_input() if str(path) == "-" else path.open("rb")
    if hasattr(stream, "peek"):
        return stream
    return io.BufferedReader(stream)


def _open_standard_input() -> IO[bytes]:
    """Open standard input with a buffer of its own.

    Python aborts at exit while a thread still waits in `sys.stdin.buffer`.
    """
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except OSError:  # it is not a file but, for example, a BytesIO
        return sys.stdin.buffer


def spooled(file: IO[bytes]) -> IO[bytes]:
    """Copy a file that can be read only once to a temporary file; return it at its beginning."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    try:
        shutil.copyfileobj(file, copy)
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return copy


def open_lines(file: IO[bytes], where: str) -> io.TextIOWrapper:
    r"""Decode a binary file to lines.

    A line ends in `\n` or `\r\n` and nowhere else. Bytes that are not UTF-8 become surrogates,
    see `replace_surrogates`.

    Raises:
        UserError: The file is encoded in UTF-16 or UTF-32.
    """
    refuse_other_encodings(file, where)
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="\n")


def refuse_other_encodings(file: Any, where: str) -> None:
    """Raise a `UserError` if the file is encoded in UTF-16 or UTF-32."""
    encoding = _other_encoding(file.peek(512)[:512])
    if encoding:
        raise UserError(f"{where}: the file is {encoding}; save it as UTF-8.")


def _other_encoding(head: bytes) -> str:
    """Return UTF-16 or UTF-32 if the first bytes show one of them, else an empty string."""
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return encoding
    if head.count(0) > len(head) // 4:  # UTF-8 texts have no zero bytes
        return "UTF-16 or UTF-32"
    return ""


def without_newline(line: str) -> str:
    r"""Return the line without the `\n` or `\r\n` at its end."""
    return line.removesuffix("\n").removesuffix("\r")


def is_valid(text: str) -> bool:
    """Return whether the text can be encoded as UTF-8, that is, holds no surrogates."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def describe_damage(text: str, *, decoded: bool = True) -> str:
    """Describe the first surrogate in a text; return an empty string if there is none.

    Args:
        text: The text to look at.
        decoded: Whether `open_lines` decoded the text, so that a surrogate may stand for a byte
            that was not UTF-8.
    """
    if is_valid(text):
        return ""
    found = _SURROGATE.search(text)
    assert found is not None, "only surrogates cannot be encoded"
    code = ord(found[0])
    if decoded and 0xDC80 <= code <= 0xDCFF:
        return f"not UTF-8 (byte 0x{code - 0xDC00:02x})"
    return f"a lone surrogate (\\u{code:04x})"


def replace_surrogates(value: Any) -> Any:
    """Replace each surrogate by U+FFFD in a text, and in all texts inside a list or an object."""
    if isinstance(value, str):
        if is_valid(value):
            return value
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [replace_surrogates(item) for item in value]
    if isinstance(value, Mapping):
        return {replace_surrogates(key): replace_surrogates(item) for key, item in value.items()}
    return value


def damaged_columns(values: Mapping[str, Any], *, decoded: bool = True) -> dict[str, str]:
    """Find the columns with surrogates in their name or value.

    Args:
        values: The columns of a row, by name.
        decoded: See `describe_damage`.

    Returns:
        A description of the damage, by the column's name without surrogates.
    """
    damaged = {}
    for name, value in values.items():
        problem = describe_damage(name, decoded=decoded)
        if not problem:
            problem = _damage_inside(value, decoded=decoded)
        if problem:
            damaged[replace_surrogates(name)] = problem
    return damaged


def _damage_inside(value: Any, *, decoded: bool) -> str:
    """Describe the first surrogate in a text, or in any text inside a list or an object."""
    if isinstance(value, str):
        return describe_damage(value, decoded=decoded)
    parts: list[Any] = []
    if isinstance(value, list):
        parts = value
    elif isinstance(value, Mapping):
        parts = [*value.keys(), *value.values()]
    for part in parts:
        problem = _damage_inside(part, decoded=decoded)
        if problem:
            return problem
    return ""
