"""Finds splits in a folder: files or folders named after splits, or label folders.

Splits are looked for first, so that a folder named after a split is not taken for a label folder.
These are the layouts:

    train.csv  test.csv                a file per split
    train/a.csv  train/b.csv           a folder of files per split
    train/pos/1.txt  train/neg/1.txt   a folder of label folders per split; each .txt file is a text
    pos/1.txt  neg/1.txt               label folders alone, which are the train split

In label folders a .npy file holds a sequence of vectors, as a .txt file holds a text.

Names that begin with a dot, and `__MACOSX`, are skipped. Warnings name what is not read.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path

from selfattn_lm.data.folder_rows import rows_of
from selfattn_lm.data.hub import FileReader, Sources, labels_are_withheld, read_named_rows
from selfattn_lm.data.lines import is_readable
from selfattn_lm.data.listing import (
    MAX_NAMES,
    Layout,
    Listing,
    entries_of,
    is_hidden,
    layout_of,
    list_entries,
    list_split,
    names_of,
)
from selfattn_lm.data.rows import Row
from selfattn_lm.errors import UserError
from selfattn_lm.phrases import listed

log = logging.getLogger(__name__)


def find_in_folder(
    folder: Path,
    read: FileReader = read_named_rows,
    *,
    labelled: bool = True,
    given: Collection[str] = (),
) -> Sources:
    """Find the splits in a folder and stream their rows.

    Args:
        folder: Where to look.
        read: Reads a data file.
        labelled: Whether labels are needed; if not, unlabelled texts are read as well.
        given: Splits that the user has named elsewhere; those in this folder are not read.

    Returns:
        The rows of each split; empty if only the hub's loader can find them.

    Raises:
        UserError: If it is unclear what the splits or the labels are.
    """
    reader = _FolderReader(layout_of(folder, given), read, labelled)
    found: Sources = {}
    if reader.layout.files:
        found = reader.read_split_files()
    elif reader.layout.folders:
        found = reader.read_split_folders()
    elif reader.layout.is_one_split:
        found = {"train": reader.read_whole()}
    reader.log_notes()
    return found


def is_one_split(path: Path) -> bool:
    """Return whether a path is a single split: a file, label folders, or one saved dataset."""
    if path.is_dir():
        return layout_of(path).is_one_split
    return is_readable(path)


def read_one_split(path: Path, read: FileReader = read_named_rows) -> tuple[str, Iterator[Row]]:
    """Stream the rows of a file, of a folder of data files or of a folder of label folders.

    Returns:
        The place of the split, for messages, and its rows.

    Raises:
        UserError: If the folder holds several splits, or no data.
    """
    if not path.is_dir():
        return str(path), read(path)
    layout = layout_of(path)
    splits = [*layout.files, *layout.folders]
    if splits:
        raise UserError(
            f"{path}: holds splits itself ({', '.join(splits)}); name the file or folder of one."
        )
    reader = _FolderReader(layout, read, labelled=True)
    found = reader.read_whole()
    reader.log_notes()
    return found


class _FolderReader:
    """Reads the splits of one folder, and notes what it leaves out.

    Args:
        layout: The folder.
        read: Reads a data file.
        labelled: Whether labels are needed; if not, unlabelled texts are read as well.
    """

    def __init__(self, layout: Layout, read: FileReader, labelled: bool) -> None:
        self.layout = layout
        self.read = read
        self.labelled = labelled
        self.notes: list[str] = []

    def log_notes(self) -> None:
        """Log what was left out; only once for texts without labels, which are read repeatedly."""
        for note in self.notes:
            if self.labelled:
                log.warning("%s", note)
            else:
                _warn_once(note)

    def read_split_files(self) -> Sources:
        """Stream the data files that are named after splits."""
        layout = self.layout
        ignored = names_of(layout.others.files) + list(layout.others.texts)
        if ignored:
            names = listed(ignored, MAX_NAMES)
            self.notes.append(
                f"{layout.folder}: ignored {names} (not named train, validation or test)"
            )
        if layout.folders:
            folders = ", ".join(layout.folder_names)
            files = ", ".join(names_of(layout.files.values()))
            self.notes.append(
                f"{layout.folder}: ignored folders ({folders}) in favour of files ({files})"
            )
        found: Sources = {}
        for split, file in layout.files.items():
            if split != "train" and labels_are_withheld(file):
                self.notes.append(f"{file}: its labels are withheld, so it is left out")
            else:
                found[split] = (str(file), self.read(file))
        return found

    def read_whole(self) -> tuple[str, Iterator[Row]]:
        """Stream a folder without splits: its label folders or, if it has none, its data files."""
        folder = self.layout.folder
        listing = self.layout.others
        if not self.layout.is_of_label_folders:
            listing = list_split(folder)
        if listing.is_empty:
            raise UserError(f"{folder}: no data file and no label folders of .txt files.")
        if self.labelled:
            self._leave_out_unlabelled(listing)
        skipped = list(listing.skipped)
        if listing.texts:
            skipped.extend(listing.files)
        self._note_skipped(skipped)
        return listing.where, rows_of(listing, self.read)

    def read_split_folders(self) -> Sources:
        """Stream the folders that are named after splits; none if the hub's loader must do so."""
        splits = self.layout.folders
        others = self.layout.others
        has_label_folders = any(listing.texts for listing in splits.values())
        if self.layout.has_card and not has_label_folders:
            return {}
        unlabelled = others.take_unlabelled()
        self._refuse_a_mixture()
        skipped = others.skipped + others.files
        for listing in splits.values():
            skipped.extend(listing.skipped)
        if self.labelled:
            self._note_unlabelled(self.layout.folder, unlabelled)
            for listing in splits.values():
                self._leave_out_unlabelled(listing)
            self._leave_out_splits_without_labels()
            self._note_untested_labels()
        elif "train" in splits and splits["train"].texts:
            splits["train"].texts.update(unlabelled)
        self._note_skipped(skipped)
        found: Sources = {}
        for split, listing in splits.items():
            found[split] = (listing.where, rows_of(listing, self.read))
        return found

    def _refuse_a_mixture(self) -> None:
        """Refuse split folders beside other folders of texts.

        If the others are labels, a folder such as `train` may be a label as well.
        """
        others = list(self.layout.others.texts)
        for path in self.layout.others.skipped:
            if path.is_dir() and not is_hidden(path) and list_entries(path, entries_of(path)).texts:
                others.append(path.name)
        if others:
            splits = ", ".join(self.layout.folder_names)
            names = listed(sorted(others), MAX_NAMES)
            raise UserError(
                f"{self.layout.folder}: folders named after splits ({splits}) beside others that"
                f" hold texts ({names}); keep only splits or only labels in the folder, name splits"
                " with --data.validation and --data.test, or name a file with all texts and their"
                " labels."
            )

    def _leave_out_unlabelled(self, listing: Listing) -> None:
        """Drop sub-folders such as `unsup`, which would otherwise become a class of their own."""
        self._note_unlabelled(listing.folder, listing.take_unlabelled())

    def _leave_out_splits_without_labels(self) -> None:
        """Drop splits whose texts are not in label folders; refuse to train on such texts."""
        splits = self.layout.folders
        without_labels: dict[str, Path] = {}  # the folder of each such split
        for split, listing in splits.items():
            if not listing.texts and listing.has_only_text_files:
                without_labels[split] = listing.folder
        if "train" in without_labels or len(without_labels) == len(splits):
            names = names_of(without_labels.values())
            raise UserError(
                f"{self.layout.folder}: texts without label folders in {' and '.join(names)}; put"
                f" the texts of each label into a folder of their own, such as {names[0]}/pos, and"
                " rename a folder that is itself a label."
            )
        for split, folder in without_labels.items():
            del splits[split]
            self.notes.append(f"{folder}: its texts have no labels, so it is left out")

    def _note_unlabelled(self, folder: Path, names: Collection[str]) -> None:
        for name in names:
            self.notes.append(
                f"{folder}: the texts in {name} have no label, so they are left out (if {name!r} is"
                " a label, rename its folder)"
            )

    def _note_untested_labels(self) -> None:
        tested: set[str] = set()
        for split, listing in self.layout.folders.items():
            if split != "train":
                tested.update(listing.texts)
        if "train" not in self.layout.folders or not tested:
            return
        untested = [name for name in self.layout.folders["train"].texts if name not in tested]
        if untested:
            self.notes.append(
                f"{self.layout.folder}: label folders only in train, so nothing tests them:"
                f" {listed(untested, MAX_NAMES)}"
            )

    def _note_skipped(self, skipped: Sequence[Path]) -> None:
        if skipped:
            folder = self.layout.folder
            names = sorted(path.relative_to(folder).as_posix() for path in skipped)
            self.notes.append(f"{folder}: skipped {listed(names, MAX_NAMES)}")


@cache
def _warn_once(note: str) -> None:
    log.warning("%s", note)
