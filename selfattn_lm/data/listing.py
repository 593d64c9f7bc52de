"""What one folder holds: the texts of its sub-folders, data files, and what is neither."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from selfattn_lm.data.hub import Reader
from selfattn_lm.data.readers import format_of
from selfattn_lm.data.rows import Row, row_of_texts
from selfattn_lm.errors import UserError

_SHOWN = 8  # so many names are given where there may be thousands; the rest is counted
_METADATA = ("dataset_dict.json", "dataset_info.json", "state.json")  # what `save_to_disk` of `datasets` adds to data


@dataclass
class Listing:
    """What one folder holds, one level of sub-folders included."""

    folder: Path
    texts: dict[str, list[Path]] = field(default_factory=dict)  # .txt files, by the sub-folder that they are in
    files: list[Path] = field(default_factory=list)  # data files in the folder itself
    skipped: list[Path] = field(default_factory=list)

    @property
    def where(self) -> str:
        """What is read, for messages."""
        return str(self.files[0]) if len(self.files) == 1 and not self.texts else str(self.folder)

    @property
    def only_unlabelled_texts(self) -> bool:
        """Whether there are texts here, but no sub-folder to name their label."""
        return not self.texts and all(is_text(file) for file in self.files)

    def rows(self, read: Reader) -> Iterator[Row]:
        """The texts, labelled by their sub-folders; without any, the rows that `read` finds in the files."""
        return _rows_of_texts(self.texts) if self.texts else _rows_of_files(self.files, read)


def entries_of(folder: Path) -> list[Path]:
    """Everything in a folder, by name."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror or error}).") from None


def is_hidden(path: Path) -> bool:
    """Whether a name is for programs rather than users: `.DS_Store`, `.ipynb_checkpoints`, `._1.txt`, `__MACOSX`."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def is_text(path: Path) -> bool:
    """Whether a path is a visible .txt file."""
    return path.suffix.lower() == ".txt" and not is_hidden(path) and path.is_file()


def list_entries(folder: Path, entries: Sequence[Path]) -> Listing:
    """Sort out entries of a folder; a sub-folder without texts of its own is skipped."""
    found = Listing(folder)
    for entry in entries:
        if entry.name in _METADATA:
            continue
        if is_hidden(entry):
            found.skipped.append(entry)
        elif entry.is_dir():
            _list_sub_folder(found, entry)
        elif entry.is_file() and format_of(entry):
            found.files.append(entry)
        else:
            found.skipped.append(entry)
    return found


def _list_sub_folder(found: Listing, folder: Path) -> None:
    texts: list[Path] = []
    others: list[Path] = []
    for entry in entries_of(folder):
        if is_text(entry):
            texts.append(entry)
        else:
            others.append(entry)
    if texts:
        if not _is_unicode(folder.name):
            raise UserError(f"{folder}: the name is a label, but not valid UTF-8; rename the folder.")
        found.texts[folder.name] = texts
        found.skipped += others
    else:
        found.skipped.append(folder)


def _is_unicode(name: str) -> bool:
    """Whether a name can be written to a file; the bytes of one that is not UTF-8 come as half characters."""
    return name.encode(errors="replace").decode() == name


def list_split(folder: Path) -> Listing:
    """What a folder holds that is one split: label folders, or else files of one format."""
    found = list_entries(folder, entries_of(folder))
    used = [] if found.texts else _files_of_one_format(folder, found.files)
    found.skipped += [file for file in found.files if file not in used]
    found.files = used
    return found


def _files_of_one_format(folder: Path, files: list[Path]) -> list[Path]:
    """The data files; beside files of another format, .txt files are notes."""
    used = [file for file in files if format_of(file) != "txt"] or files
    formats = sorted({str(format_of(file)) for file in used})
    if len(formats) > 1:
        raise UserError(f"{folder}: holds files of several formats ({', '.join(formats)}); keep one of them.")
    return used


def _rows_of_texts(texts: dict[str, list[Path]]) -> Iterator[Row]:
    number = 0
    for label, files in texts.items():
        for file in files:
            number += 1
            yield row_of_texts(number, {"text": _read_text(file), "label": label})


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 at byte {error.start}; save the file as UTF-8.") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror or error}).") from None


def _rows_of_files(files: Sequence[Path], read: Reader) -> Iterator[Row]:
    for file in files:
        for row in read(file):
            yield replace(row, file=file.name) if len(files) > 1 else row


def some(names: Sequence[str]) -> str:
    """The names, or the first of many and a count of the rest."""
    shown = ", ".join(names[:_SHOWN])
    rest = len(names) - _SHOWN
    return f"{shown} and {rest:,} more" if rest > 0 else shown
