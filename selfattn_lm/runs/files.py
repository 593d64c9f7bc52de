"""Files that are written whole or not at all: under a temporary name, then renamed."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from selfattn_lm.errors import UserError


class CannotWrite(UserError):
    """A file cannot be written, because the disk is full or for another reason.

    Attributes:
        reason: What cannot be written and why, without advice.
    """

    def __init__(self, path: Path, error: OSError) -> None:
        self.reason = f"{path}: cannot be written ({error.strerror or error})"
        super().__init__(f"{self.reason}; name another place with --out.")


@contextmanager
def atomic(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, and rename it to `path` at the end.

    After an error the temporary file is removed and `path` is as it was.

    Args:
        path: The file to write.
        durable: Whether to wait until the file is on the disk, and not only in the memory of the
            operating system. This takes milliseconds to seconds.

    Raises:
        CannotWrite: The operating system refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        yield temporary
        if durable:
            sync(temporary)
        temporary.replace(path)
    except OSError as error:
        raise CannotWrite(path, error) from None
    finally:
        with suppress(OSError):  # such as a folder that cannot be written, which has been reported
            temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have the operating system write a file to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_names(folder: Path) -> None:
    """Have the operating system write the names in a folder to the disk.

    On Windows this does nothing, because folders cannot be opened there.
    """
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Have the operating system write all files in a folder, and their names, to the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            sync(path)
    sync_names(folder)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a whole UTF-8 file or nothing.

    What UTF-8 cannot express, such as a byte of a file name, is escaped as in JSON.
    """
    with atomic(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: Path, values: Any) -> None:
    """Write plain values as a whole JSON file or nothing.

    Raises:
        ValueError: A number is NaN or infinite, which JSON cannot express.
    """
    text = json.dumps(values, ensure_ascii=False, indent=1, allow_nan=False)
    write_text(path, f"{text}\n")


def digest(*files: Path) -> str:
    """Compute the SHA-256 of the contents of files, one after another, in hexadecimal."""
    sha256 = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            # A copy, so that each file continues where the one before it ended.
            sha256 = hashlib.file_digest(content, sha256.copy)
    return sha256.hexdigest()
