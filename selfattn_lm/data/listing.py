"""Sorts the contents of a folder by their names: data files, label folders and splits."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from selfattn_lm.data.readers import format_of
from selfattn_lm.errors import UserError

# The split that a name means; names are compared in lower case.
SPLITS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "dev": "validation",
    "val": "validation",
    "test": "test",
}
# Sub-folders with one of these names hold texts that nobody has labelled.
_UNLABELLED = ("unsup", "unsupervised", "unlabeled", "unlabelled")
# Files that `save_to_disk` of the `datasets` library writes beside the data.
_METADATA = ("dataset_dict.json", "dataset_info.json", "state.json")
MAX_NAMES = 8  # that a message lists


@dataclass
class Listing:
    """What one folder holds, including one level of sub-folders.

    Attributes:
        folder: The folder.
        texts: The .txt and .npy files of each sub-folder, by the name of the sub-folder.
        files: The data files in the folder itself.
        skipped: Files and sub-folders that are not read.
    """

    folder: Path
    texts: dict[str, list[Path]] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)

    @property
    def where(self) -> str:
        """The file or folder that is read, for messages."""
        if len(self.files) == 1 and not self.texts:
            return str(self.files[0])
        return str(self.folder)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to read."""
        return not self.texts and not self.files

    @property
    def has_only_text_files(self) -> bool:
        """Whether all data files, if there are any, are .txt or .npy files."""
        return all(is_text(file) for file in self.files)

    def take_unlabelled(self) -> dict[str, list[Path]]:
        """Remove the sub-folders of unlabelled texts, such as `unsup`, and return them."""
        unlabelled: dict[str, list[Path]] = {}
        for name in list(self.texts):
            if name.lower() in _UNLABELLED:
                unlabelled[name] = self.texts.pop(name)
        return unlabelled


def entries_of(folder: Path) -> list[Path]:
    """Return everything in a folder, sorted by name.

    Raises:
        UserError: If the folder cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror or error}).") from None


def is_hidden(path: Path) -> bool:
    """Return whether a path is meant for programs, such as `.DS_Store`, `._1.txt` or `__MACOSX`."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def is_text(path: Path) -> bool:
    """Return whether a path is a visible .txt or .npy file, which may hold one example."""
    return path.suffix.lower() in (".txt", ".npy") and not is_hidden(path) and path.is_file()


def list_split(folder: Path) -> Listing:
    """List a folder that is one split: label folders or, if there are none, files of one format.

    Raises:
        UserError: If there are data files of several formats.
    """
    found = list_entries(folder, entries_of(folder))
    used: list[Path] = []
    if not found.texts:
        used = _files_of_one_format(folder, found.files)
    for file in found.files:
        if file not in used:
            found.skipped.append(file)
    found.files = used
    return found


def list_entries(folder: Path, entries: Sequence[Path]) -> Listing:
    """Sort the given entries of a folder into a listing.

    Sub-folders without .txt and .npy files are skipped.

    Raises:
        UserError: If a sub-folder cannot be read, or its name cannot be a label.
    """
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
    if not texts:
        found.skipped.append(folder)
        return
    if not _is_unicode(folder.name):
        raise UserError(f"{folder}: the name is a label, but not valid UTF-8; rename the folder.")
    found.texts[folder.name] = texts
    found.skipped.extend(others)


def _is_unicode(name: str) -> bool:
    """Return whether a file name is valid UTF-8; Python decodes any other byte to a surrogate."""
    return name.encode(errors="replace").decode() == name


def _files_of_one_format(folder: Path, files: list[Path]) -> list[Path]:
    """Return the data files; .txt files beside files of another format are taken for notes."""
    used = [file for file in files if format_of(file) != "txt"]
    if not used:
        used = files
    formats = sorted({str(format_of(file)) for file in used})
    if len(formats) > 1:
        raise UserError(
            f"{folder}: holds files of several formats ({', '.join(formats)}); keep one of them."
        )
    return used


@dataclass
class Layout:
    """The splits that a folder holds, judged by names alone.

    Attributes:
        folder: The folder.
        files: The data file of each split that has one.
        folders: The listing of the folder of each split that has one.
        others: Everything that is not named after a split.
    """

    folder: Path
    files: dict[str, Path]
    folders: dict[str, Listing]
    others: Listing

    @property
    def folder_names(self) -> list[str]:
        """The names of the split folders, such as `Train`."""
        return [listing.folder.name for listing in self.folders.values()]

    @property
    def holds_data(self) -> bool:
        """Whether the folder has splits or is one."""
        return bool(self.files or self.folders) or self.is_one_split

    @property
    def is_one_split(self) -> bool:
        """Whether the whole folder is a single split, whose name is unknown."""
        return self.is_of_label_folders or self.is_saved_dataset

    @property
    def is_saved_dataset(self) -> bool:
        """Whether `Dataset.save_to_disk` wrote the folder."""
        has_state = (self.folder / "state.json").is_file()
        return has_state and any(format_of(file) == "arrow" for file in self.others.files)

    @property
    def has_card(self) -> bool:
        """Whether there is a dataset card, which may tell the hub's loader how to read files."""
        return (self.folder / "README.md").is_file()

    @property
    def is_of_label_folders(self) -> bool:
        """Whether there are label folders and no splits.

        A single folder of .txt files beside data, or one called `data`, is not a label folder.
        """
        labels = list(self.others.texts)
        if self.files or self.folders or not labels:
            return False
        if len(labels) > 1:
            return True
        has_data = self.has_card or not self.others.has_only_text_files
        return not has_data and labels != ["data"]


def layout_of(folder: Path, given: Collection[str] = ()) -> Layout:
    """Sort the entries of a folder by their names.

    Args:
        folder: The folder.
        given: Splits that the user has named elsewhere; those in this folder are left out.

    Raises:
        UserError: If two files or two folders are the same split, or a folder cannot be listed.
    """
    files: dict[str, Path] = {}
    folders: dict[str, Listing] = {}
    others: list[Path] = []
    for entry in entries_of(folder):
        split = _split_named(entry)
        if split is None:
            others.append(entry)
        elif split in given:
            continue
        elif entry.is_file():
            if split in files:
                _refuse_two(folder, split, files[split], entry)
            files[split] = entry
        else:
            listing = list_split(entry)
            if listing.is_empty:
                others.append(entry)
                continue
            if split in folders:
                _refuse_two(folder, split, folders[split].folder, entry)
            folders[split] = listing
    return Layout(folder, files, folders, list_entries(folder, others))


def _split_named(entry: Path) -> str | None:
    """Return the split that a folder or a data file is named after."""
    if entry.is_dir():
        name = entry.name
    elif entry.is_file() and format_of(entry):
        name = entry.name.split(".")[0]
    else:
        return None
    return SPLITS.get(name.lower())


def _refuse_two(folder: Path, split: str, first: Path, second: Path) -> None:
    raise UserError(
        f"{folder}: {first.name} and {second.name} are both the {split} split; keep one."
    )


def names_of(paths: Iterable[Path]) -> list[str]:
    """Return the name of each path, without its folder."""
    return [path.name for path in paths]
