"""Bytes to lines of text: files, .gz, pipes and standard input, and what to do with bytes that are no text."""

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

GZIP = b"\x1f\x8b"  # how a file that is packed by gzip begins
_SURROGATE = re.compile("[\ud800-\udfff]")
_BYTE_ORDER_MARKS = {  # UTF-32's begins like UTF-16's, so it comes first
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def is_stream(path: Path) -> bool:
    """Whether the path is standard input, a pipe or another device, whose name tells no format."""
    if str(path) == "-" or str(path).startswith(("/dev/", "/proc/")):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


def is_readable(path: Path) -> bool:
    """Whether the path is a file, or a stream that is there."""
    return str(path) == "-" or path.is_file() or (path.exists() and not path.is_dir())


def is_packed(path: Path) -> bool:
    """Whether the name says that a file is packed by gzip."""
    return path.suffix.lower() == ".gz"


@contextmanager
def open_bytes(path: Path) -> Iterator[Any]:
    """The bytes of a file or of a stream, unpacked if they are gzip's: a file says so by its name."""
    if not is_stream(path):
        with gzip.open(path) if is_packed(path) else path.open("rb") as file:
            yield file
        return
    raw: Any = _standard_input() if str(path) == "-" else path.open("rb")
    with closing(raw if hasattr(raw, "peek") else io.BufferedReader(raw)) as stream:
        if stream.peek(2)[:2] != GZIP:
            yield stream
            return
        with gzip.GzipFile(fileobj=stream) as unpacked:
            yield unpacked


def _standard_input() -> IO[bytes]:
    """Standard input with a buffer of its own: Python aborts at its end while a thread waits in `sys.stdin.buffer`."""
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except OSError:  # it is no file but, say, a BytesIO
        return sys.stdin.buffer


def spooled(file: IO[bytes]) -> IO[bytes]:
    """A temporary file with the same bytes, which can be read more than once."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    try:
        shutil.copyfileobj(file, copy)
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return copy


def open_lines(file: IO[bytes], where: str) -> io.TextIOWrapper:
    r"""Lines that end in `\n` or `\r\n` and nowhere else; bytes that are not UTF-8 become surrogates, see `repair`."""
    refuse_other_encodings(file, where)
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="\n")


def refuse_other_encodings(file: Any, where: str) -> None:
    """Refuse UTF-16 and UTF-32, which are known by their byte order mark or by their many zero bytes."""
    head = file.peek(512)[:512]
    found = next((name for mark, name in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), "")
    if not found and head.count(0) > len(head) // 4:
        found = "UTF-16 or UTF-32"
    if found:
        raise UserError(f"{where}: the file is {found}; save it as UTF-8.")


def without_newline(line: str) -> str:
    r"""The line without the `\n` or `\r\n` at its end."""
    return line.removesuffix("\n").removesuffix("\r")


def is_valid(text: str) -> bool:
    """Whether the text can be written as UTF-8, which half of a surrogate pair cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def damage(text: str, *, decoded: bool = True) -> str:
    """What is wrong with a text, empty if nothing is.

    `decoded`: it was decoded by `open_lines`, so that a surrogate may stand for a byte that was not UTF-8.
    """
    if is_valid(text):
        return ""
    found = _SURROGATE.search(text)
    assert found is not None, "only surrogates cannot be written"
    code = ord(found[0])
    if decoded and 0xDC80 <= code <= 0xDCFF:
        return f"not UTF-8 (byte 0x{code - 0xDC00:02x})"
    return f"half a character (\\u{code:04x})"


def repair(value: Any) -> Any:
    """The value with U+FFFD for all surrogates in its texts, also in those inside lists and objects."""
    if isinstance(value, str):
        return value if is_valid(value) else _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [repair(item) for item in value]
    if isinstance(value, Mapping):
        return {repair(key): repair(item) for key, item in value.items()}
    return value


def damaged_columns(values: Mapping[str, Any], *, decoded: bool = True) -> dict[str, str]:
    """What is wrong with each column that holds surrogates, in its name or in its value, by its repaired name."""
    found = {}
    for name, value in values.items():
        problem = damage(name, decoded=decoded) or _damage_inside(value, decoded=decoded)
        if problem:
            found[repair(name)] = problem
    return found


def _damage_inside(value: Any, *, decoded: bool) -> str:
    if isinstance(value, str):
        return damage(value, decoded=decoded)
    parts: list[Any] = []
    if isinstance(value, list):
        parts = value
    elif isinstance(value, Mapping):
        parts = [*value.keys(), *value.values()]
    for part in parts:
        if problem := _damage_inside(part, decoded=decoded):
            return problem
    return ""
