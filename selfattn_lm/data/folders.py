"""Folders to splits: files or folders named after splits, and folders of .txt files named after labels.

Splits are looked for first, so that a folder named like one is not taken for a label. The layouts:

    train.csv  test.csv                one file for each split
    train/a.csv  train/b.csv           a folder of files for each split
    train/pos/1.txt  train/neg/1.txt   a folder of label folders for each split; each .txt file is one text
    pos/1.txt  neg/1.txt               label folders alone, which are the train split

Names that begin with a dot, and `__MACOSX`, are skipped. What is not read is named in a sentence.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from selfattn_lm.data.hub import Reader, Sources, labels_are_withheld, read_named_rows
from selfattn_lm.data.lines import is_readable
from selfattn_lm.data.listing import Listing, entries_of, is_hidden, is_text, list_entries, list_split, some
from selfattn_lm.data.readers import format_of
from selfattn_lm.data.rows import Row
from selfattn_lm.errors import UserError

log = logging.getLogger(__name__)
SPLITS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "dev": "validation",
    "val": "validation",
    "test": "test",
}
UNLABELLED = ("unsup", "unsupervised", "unlabeled", "unlabelled")  # folders whose texts nobody has labelled


@dataclass
class _Layout:
    """What a folder holds, told apart by names."""

    folder: Path
    files: dict[str, Path]  # by split
    folders: dict[str, Listing]  # by split
    others: Listing  # what is not named after a split
    notes: list[str] = field(default_factory=list)  # what the user should know, a sentence each

    @property
    def is_one_split(self) -> bool:
        """Whether all that is here is one split, without saying which."""
        return self.is_of_label_folders or self.is_saved_dataset

    @property
    def is_saved_dataset(self) -> bool:
        """Whether `Dataset.save_to_disk` wrote the folder."""
        is_saved = (self.folder / "state.json").is_file()
        return is_saved and any(format_of(file) == "arrow" for file in self.others.files)

    @property
    def has_card(self) -> bool:
        """Whether a data set card may say how files are to be read, which the hub's loader knows."""
        return (self.folder / "README.md").is_file()

    @property
    def is_of_label_folders(self) -> bool:
        """Whether label folders stand here without splits; one folder of .txt files alone may be notes beside data."""
        if self.files or self.folders:
            return False
        if len(self.others.texts) == 1:
            has_data = self.has_card or not all(is_text(file) for file in self.others.files)
            return not has_data and "data" not in self.others.texts
        return len(self.others.texts) > 1


def find_in_folder(
    folder: Path, read: Reader = read_named_rows, *, labelled: bool = True, given: Collection[str] = ()
) -> Sources:
    """The splits in a folder; none if it is for the hub's loader to find them.

    Args:
        folder: Where to look.
        read: Reads a data file.
        labelled: Whether labels are needed; otherwise texts in folders such as `unsup` are read too.
        given: Splits that the user has named elsewhere; what is named after them here is not read.
    """
    layout = _layout_of(folder, given)
    found: Sources = {}
    if layout.files:
        found = _read_split_files(layout, read)
    elif layout.folders:
        found = _read_split_folders(layout, read, labelled)
    elif layout.is_one_split:
        found = {"train": _read_whole(layout, read, labelled)}
    for note in layout.notes:
        if labelled:
            log.warning("%s", note)
        else:
            _warn_once(note)
    return found


@cache
def _warn_once(note: str) -> None:
    """Texts without labels are read several times: to learn a vocabulary, to measure, to train."""
    log.warning("%s", note)


def is_one_split(path: Path) -> bool:
    """Whether a path is one split and does not say which: a file, or a folder such as one of label folders."""
    return _layout_of(path).is_one_split if path.is_dir() else is_readable(path)


def read_one_split(path: Path, read: Reader = read_named_rows) -> tuple[str, Iterator[Row]]:
    """A file, or a folder of label folders or of data files: where it is, and its rows."""
    if not path.is_dir():
        return str(path), read(path)
    layout = _layout_of(path)
    splits = [*layout.files, *layout.folders]
    if splits:
        raise UserError(f"{path}: holds splits itself ({', '.join(splits)}); name the file or folder of one.")
    found = _read_whole(layout, read, labelled=True)
    for note in layout.notes:
        log.warning("%s", note)
    return found


def refuse_without_data(folder: Path) -> None:
    """Refuse a folder in which the hub's loader would find nothing: no data file, and no data set card."""
    entries = [entry for entry in entries_of(folder) if not is_hidden(entry)]
    in_data = entries_of(folder / "data") if (folder / "data").is_dir() else []
    has_data = any(entry.is_file() and format_of(entry) for entry in entries + in_data)
    if has_data or (folder / "README.md").is_file():
        return
    there = ", ".join(entry.name for entry in entries[:10]) or "nothing"
    reason = f"no train file (such as train.csv), and no sub-folder of .txt files a label; found {there}"
    inner = [_layout_of(entry) for entry in entries if entry.is_dir()]
    meant = [layout.folder for layout in inner if layout.files or layout.folders or layout.is_one_split]
    question = f" Is it {meant[0]} that is meant?" if len(meant) == 1 else ""
    raise UserError(f"{folder}: {reason}.{question}")


def _layout_of(folder: Path, given: Collection[str] = ()) -> _Layout:
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
            if not listing.texts and not listing.files:
                others.append(entry)
                continue
            if split in folders:
                _refuse_two(folder, split, folders[split].folder, entry)
            folders[split] = listing
    return _Layout(folder, files, folders, list_entries(folder, others))


def _split_named(entry: Path) -> str | None:
    """The split that a folder or a data file is named after."""
    if entry.is_dir():
        return SPLITS.get(entry.name.lower())
    return SPLITS.get(entry.name.split(".")[0].lower()) if entry.is_file() and format_of(entry) else None


def _refuse_two(folder: Path, split: str, first: Path, second: Path) -> None:
    raise UserError(f"{folder}: {first.name} and {second.name} are both the {split} split; keep one.")


def _read_split_files(layout: _Layout, read: Reader) -> Sources:
    ignored = [file.name for file in layout.others.files] + list(layout.others.texts)
    if ignored:
        layout.notes.append(f"{layout.folder}: ignored {some(ignored)} (not named train, validation or test)")
    beside = [listing.folder.name for listing in layout.folders.values()]
    if beside:
        used = ", ".join(file.name for file in layout.files.values())
        layout.notes.append(f"{layout.folder}: ignored folders ({', '.join(beside)}), as files are read ({used})")
    found: Sources = {}
    for split, file in layout.files.items():
        if split != "train" and labels_are_withheld(file):
            layout.notes.append(f"{file}: its labels are withheld, so it is left out")
        else:
            found[split] = (str(file), read(file))
    return found


def _read_whole(layout: _Layout, read: Reader, labelled: bool) -> tuple[str, Iterator[Row]]:
    """All of a folder without splits: its label folders, or else its data files."""
    listing = layout.others if layout.is_of_label_folders else list_split(layout.folder)
    if not listing.texts and not listing.files:
        raise UserError(f"{layout.folder}: no data file, and no sub-folder of .txt files a label.")
    if labelled:
        layout.notes += _leave_out_unlabelled(listing)
    unread = listing.files if listing.texts else []
    layout.notes += _about_skipped(layout.folder, listing.skipped + unread)
    return listing.where, listing.rows(read)


def _read_split_folders(layout: _Layout, read: Reader, labelled: bool) -> Sources:
    folder, splits, others = layout.folder, layout.folders, layout.others
    if layout.has_card and not any(listing.texts for listing in splits.values()):
        return {}
    aside = {name: others.texts.pop(name) for name in list(others.texts) if name.lower() in UNLABELLED}
    _refuse_a_mixture(folder, splits, others)
    skipped = others.skipped + others.files
    for listing in splits.values():
        skipped += listing.skipped
    if labelled:
        for listing in [Listing(folder, aside), *splits.values()]:
            layout.notes += _leave_out_unlabelled(listing)
        layout.notes += _leave_out_splits_without_labels(folder, splits)
        layout.notes += _about_labels_only_in_train(folder, splits)
    elif "train" in splits and splits["train"].texts:
        splits["train"].texts.update(aside)
    layout.notes += _about_skipped(folder, skipped)
    return {split: (listing.where, listing.rows(read)) for split, listing in splits.items()}


def _refuse_a_mixture(folder: Path, splits: dict[str, Listing], others: Listing) -> None:
    """Folders named after splits beside others that hold texts: these may be labels, and `train` another label."""
    mixed = list(others.texts)
    for path in others.skipped:
        if path.is_dir() and not is_hidden(path) and list_entries(path, entries_of(path)).texts:
            mixed.append(path.name)
    if mixed:
        named = ", ".join(listing.folder.name for listing in splits.values())
        raise UserError(
            f"{folder}: folders named after splits ({named}) beside others that hold texts ({some(sorted(mixed))});"
            " leave only splits or only labels in the folder, name splits with --data.validation and --data.test, or"
            " name a file with all texts and their labels."
        )


def _leave_out_unlabelled(listing: Listing) -> Iterator[str]:
    """Drop the texts in folders such as `unsup`, which would become a class of their own, and say so."""
    for name in list(listing.texts):
        if name.lower() in UNLABELLED:
            listing.texts.pop(name)
            reason = f"the texts in {name} have no label, so they are left out"
            yield f"{listing.folder}: {reason} (if {name!r} is a label, rename its folder)"


def _leave_out_splits_without_labels(folder: Path, splits: dict[str, Listing]) -> Iterator[str]:
    """Drop splits whose texts have no label, and say so; refuses to train on such."""
    without = [split for split, listing in splits.items() if listing.only_unlabelled_texts]
    if "train" in without or len(without) == len(splits):
        names = [splits[split].folder.name for split in without]
        raise UserError(
            f"{folder}: texts without label folders in {' and '.join(names)}; put the texts of each label into a folder"
            f" of their own, such as {names[0]}/pos, and rename a folder that is a label itself."
        )
    for split in without:
        yield f"{splits.pop(split).folder}: its texts have no labels, so it is left out"


def _about_labels_only_in_train(folder: Path, splits: dict[str, Listing]) -> Iterator[str]:
    elsewhere = {name for split, listing in splits.items() if split != "train" for name in listing.texts}
    if "train" in splits and elsewhere:
        alone = [name for name in splits["train"].texts if name not in elsewhere]
        if alone:
            yield f"{folder}: label folders that only train has, so nothing tests them: {some(alone)}"


def _about_skipped(folder: Path, skipped: Sequence[Path]) -> Iterator[str]:
    if skipped:
        names = sorted(path.relative_to(folder).as_posix() for path in skipped)
        yield f"{folder}: skipped {some(names)}"
