"""The rows of a folder: of label folders, of data files, or of files with a sequence each."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from selfattn_lm.data.hub import FileReader
from selfattn_lm.data.listing import Listing, is_hidden
from selfattn_lm.data.readers import read_rows
from selfattn_lm.data.rows import Row, row_of_texts
from selfattn_lm.errors import UserError


def rows_of(listing: Listing, read: FileReader) -> Iterator[Row]:
    """Stream the texts in label folders or, if there are none, the data files."""
    if listing.texts:
        return _rows_of_texts(listing.texts)
    return _rows_of_files(listing.files, read)


def _rows_of_texts(texts: dict[str, list[Path]]) -> Iterator[Row]:
    number = 0
    for label, files in texts.items():
        for file in files:
            number += 1
            if file.suffix.lower() == ".npy":
                yield from _row_of_vectors(number, file, label)
            else:
                yield row_of_texts(number, {"text": _read_text(file), "label": label})


def _row_of_vectors(number: int, file: Path, label: str) -> Iterator[Row]:
    """Yield the sequence of vectors in a file of a label folder."""
    for row in read_rows(file):
        values = {**(row.values or {}), "label": label}
        yield Row(number, values, file=f"{file.parent.name}/{file.name}")


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{file}: not UTF-8 at byte {error.start}; save the file as UTF-8."
        ) from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror or error}).") from None


def _rows_of_files(files: Sequence[Path], read: FileReader) -> Iterator[Row]:
    for file in files:
        for row in read(file):
            if len(files) > 1:
                row = replace(row, file=file.name)
            yield row


def rows_of_arrays(folder: Path) -> Iterator[Row]:
    """Stream the .npy files in a folder and its sub-folders, with their names, to predict them.

    Raises:
        UserError: There are none.
    """
    number = 0
    for file in sorted(folder.rglob("*.npy")):
        if is_hidden(file):
            continue
        number += 1
        name = file.relative_to(folder).as_posix()
        for row in read_rows(file):
            yield Row(number, {"file": name, **(row.values or {})}, file=name)
    if number == 0:
        raise UserError(f"{folder}: is a folder without .npy files; name a file in it.")
