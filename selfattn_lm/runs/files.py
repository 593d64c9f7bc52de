"""Files that are whole or not there: written under a temporary name, then renamed."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from selfattn_lm.errors import UserError


class CannotWrite(UserError):
    """A file cannot be written, since the disk is full or for another `reason`, a sentence without advice."""

    def __init__(self, path: Path, error: OSError) -> None:
        self.reason = f"{path}: cannot be written ({error.strerror or error})"
        super().__init__(f"{self.reason}; name another place with --out.")


@contextmanager
def atomic(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Gives a temporary path beside `path`, which becomes `path` at the end and is removed on an error.

    `durable`: it is on the disk then, and not only in the system's memory, which takes milliseconds to seconds.
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
    """Have the system write a file to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a whole UTF-8 file or nothing; what UTF-8 has not, such as a byte of a file name, is escaped as in JSON."""
    with atomic(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: Path, values: Any) -> None:
    """Write plain values as a whole JSON file or nothing; NaN and infinity, which JSON has not, are a ValueError."""
    write_text(path, json.dumps(values, ensure_ascii=False, indent=1, allow_nan=False) + "\n")
