"""The life of a run folder, from its first file to its last: written once, for training and for pretraining.

A run is made in `NAME.partial`, beside `NAME`, and moved there when it is complete: whatever ends the process before,
an older run in `NAME` is still whole. Only files that a run writes are ever deleted or replaced.
"""

import hashlib
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from selfattn_lm.errors import Interrupted, UserError
from selfattn_lm.runs.files import CannotWrite, sync

CHECKPOINTS = "checkpoints"
LAST = f"{CHECKPOINTS}/last.ckpt"  # what an interrupted run goes on from
WEIGHTS = "model.safetensors"
CHECKED = ("labels.json", "tokenizer.json", "bert.json", WEIGHTS)  # by the digests in config.yaml, when a run is read
# All that a run writes, in the order in which a new run's files replace an older's. From the first step, in which
# config.yaml comes, to the last, in which the weights do, its digests do not fit the files, and the folder is refused.
FILES = ("config.yaml", "metrics.json", "README.md", "log.csv", "data.json", *CHECKED)
CHECKPOINT_FILES = ("best.ckpt", "last.ckpt", "tokens.int32")


def digest(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """The digests of those files of a run that belong together."""
    return {name: digest(folder / name) for name in CHECKED if (folder / name).is_file()}


class RunFolder:
    """Where a run is made and where it belongs.

    Attributes:
        name: The run folder as it was named, for messages.
        target: The run folder, symbolic links resolved.
        work: The folder beside it in which the run is made.
    """

    def __init__(self, name: Path) -> None:
        self.name = name
        try:
            self.target = name.resolve()
        except (OSError, RuntimeError):  # of a loop Python raises either, by its version
            reason = "its symbolic links lead in a circle"
            raise UserError(f"{name}: cannot be a run folder ({reason}); name another with --out.") from None
        if not self.target.name:
            raise UserError(f"{name}: cannot be a run folder (it is the root of the disk); name another with --out.")
        self.work = self.target.with_name(f"{self.target.name}.partial")

    def refuse_to_replace(self, overwrite: bool) -> None:
        """Refuse a folder that holds something else than a run, and a run unless it may be overwritten."""
        with _told(self.name):
            self._refuse_to_replace(overwrite)

    def _refuse_to_replace(self, overwrite: bool) -> None:
        if self.target.exists() and (not self.target.is_dir() or any(self.target.iterdir())):
            if not (self.target / "config.yaml").is_file() or not (self.target / "tokenizer.json").is_file():
                raise UserError(f"{self.name}: exists and is not a run folder; name another with --out.")
            if not overwrite:
                raise UserError(f"{self.name}: exists; --overwrite replaces it, --out names another folder.")
        if self.can_go_on() and not overwrite:
            reason = f"{self.name}: an unfinished run is in {self.work.name}"
            raise UserError(f"{reason}; --resume goes on with it, --overwrite replaces it.")

    def can_go_on(self) -> bool:
        """Whether the work folder holds what a later command can go on with: a checkpoint or a complete run."""
        return (self.work / LAST).is_file() or (self.work / WEIGHTS).is_file()

    def what_is_left(self) -> str:
        """What is left of a run that has ended early, in words that end a sentence."""
        if (self.work / LAST).is_file():
            return f"`--resume` goes on from the last checkpoint, in {self.work}."
        if (self.work / WEIGHTS).is_file():
            return f"the run is complete, in {self.work}, and `--resume` moves it to its place."
        if (self.target / LAST).is_file():
            return f"`--resume` goes on from the last checkpoint, in {self.target}."
        return "nothing is kept; train anew."

    @contextmanager
    def made_by(self, is_first: bool) -> Iterator[None]:
        """Within, a run is made; if it ends early, what no command can go on with is deleted, and the rest is said.

        Only the first process of a run deletes.
        """
        try:
            yield
        except BaseException as error:
            if is_first and not self.can_go_on():
                with suppress(OSError):  # the first error is the one to report
                    self.discard()
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted(f"{self.name}: interrupted; {self.what_is_left()}") from None
            if isinstance(error, CannotWrite) and self.can_go_on():
                raise UserError(f"{error.reason}; {self.what_is_left()}") from None
            if isinstance(error, OSError):
                reason = f"{self.name}: the run cannot be written ({error.strerror or error})"
                raise UserError(f"{reason}; {self.what_is_left()}") from None
            raise

    def begin(self) -> None:
        """Make the work folder, without what an earlier, unfinished run left there."""
        if self.work.exists() and not self.work.is_dir():
            raise UserError(f"{self.work}: exists and is not a folder; name another run folder with --out.")
        with _told(self.name):
            if self.interrupted_commit():
                self.commit()
            self.discard()
            (self.work / CHECKPOINTS).mkdir(parents=True, exist_ok=True)

    def unfinished(self, is_first: bool = True) -> Path:
        """The folder with the checkpoint of an interrupted run; raises UserError if there is none.

        A complete run that is not in its place is moved there, by the first process of a run.
        """
        reason = "no checkpoint of an interrupted run"
        if (self.target / WEIGHTS).is_file():
            reason = "the run is finished"
        if self.interrupted_commit():
            if is_first:
                self.commit(resumable=True)
            reason = "the run was finished but only half in its place, and is complete now"
        for folder in (self.work, self.target):
            if (folder / LAST).is_file():
                return folder
        raise UserError(f"{self.name}: {reason}, so there is nothing to resume; train without --resume.")

    def reopen(self) -> None:
        """Go on in the work folder with an interrupted run; one that was committed stays as it is until the next."""
        if self.unfinished() == self.work:
            return
        (self.work / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        checkpoints = [f"{CHECKPOINTS}/{name}" for name in CHECKPOINT_FILES]
        checkpoints.sort(key=LAST.__eq__)  # without it the copy is not begun
        for name in (*FILES, *checkpoints):
            if name != WEIGHTS and (self.target / name).is_file():
                copy = self.work / f"{name}.copy"
                shutil.copyfile(self.target / name, copy)
                copy.replace(self.work / name)

    def discard(self) -> None:
        """Delete what a run wrote in the work folder, and the folder if nothing else is in it."""
        if not self.work.is_dir():
            return
        _remove_checkpoints(self.work)
        for name in FILES:
            (self.work / name).unlink(missing_ok=True)
        _remove_if_empty(self.work)

    def commit(self, *, resumable: bool = False) -> None:
        """Move a complete run to where it belongs; `resumable`: with its checkpoints.

        Called again after a crash it goes on where it was. A signal has to wait for its end.
        """
        with _signals_held_back() as held:
            try:
                self._commit(resumable)
            except OSError as error:
                reason = f"{self.name}: the complete run in {self.work} cannot be moved there ({error.strerror})"
                raise UserError(f"{reason}; when it can be, `--resume` moves it.") from None
        if held:
            raise Interrupted(f"{self.name}: interrupted when the run was done; it is in its place.")

    def _commit(self, resumable: bool) -> None:
        if not resumable:
            _remove_checkpoints(self.work)
        _remove_half_written(self.work)
        _sync(self.work)
        if not self.target.exists():
            self.work.rename(self.target)
            _sync_folder(self.target.parent)
            return
        for step in self._moves():
            step()
        _sync_folder(self.target)

    def _moves(self) -> Iterator["_Step"]:
        """Replace the files of an older run one by one, stale ones first; everything else in the folder stays."""
        new = [name for name in FILES if (self.work / name).exists()]
        if "config.yaml" in new:
            yield _Step(self.work / "config.yaml", self.target / "config.yaml")
            new.remove("config.yaml")
            for name in FILES[1:]:
                if name not in new and (self.target / name).exists():
                    yield _Step(None, self.target / name)
        for name in CHECKPOINT_FILES:
            source, goal = self.work / CHECKPOINTS / name, self.target / CHECKPOINTS / name
            if source.exists():
                yield _Step(source, goal)
            elif goal.exists():
                yield _Step(None, goal)
        _remove_if_empty(self.work / CHECKPOINTS)
        _remove_if_empty(self.target / CHECKPOINTS)
        for name in new:
            yield _Step(self.work / name, self.target / name)
        for rest in sorted(self.work.iterdir()):  # what others put there is theirs
            if not (self.target / rest.name).exists():
                yield _Step(rest, self.target / rest.name)
        _remove_if_empty(self.work)

    def interrupted_commit(self) -> bool:
        """Whether a complete run is in the work folder: its checkpoint is gone or config.yaml is moved, no weights."""
        if not (self.work / WEIGHTS).is_file():
            return False
        return not (self.work / LAST).is_file() or not (self.work / "config.yaml").exists()


class _Step:
    """One step of a commit: a file is moved to its place, or a stale one deleted."""

    def __init__(self, source: Path | None, goal: Path) -> None:
        self.source, self.goal = source, goal

    def __call__(self) -> None:
        if self.source is None:
            self.goal.unlink()
        else:
            self.goal.parent.mkdir(exist_ok=True)
            os.replace(self.source, self.goal)


@contextmanager
def _signals_held_back() -> Iterator[list[int]]:
    """Gives a list of the signals that came meanwhile and ended nothing, if this is the thread that gets them."""
    held: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield held
        return

    def hold(number: int, frame: Any) -> None:
        held.append(number)

    before = {number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield held
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _told(name: Path) -> Iterator[None]:
    """Turns what the system says of a folder into a sentence."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{name}: cannot be a run folder ({error.strerror}); name another with --out.") from None


def _remove_checkpoints(folder: Path) -> None:
    for name in CHECKPOINT_FILES:
        (folder / CHECKPOINTS / name).unlink(missing_ok=True)
    _remove_half_written(folder)
    _remove_if_empty(folder / CHECKPOINTS)


def _remove_half_written(folder: Path) -> None:
    """Delete the temporary files of a process that was killed while it wrote."""
    for name in (*FILES, *(f"{CHECKPOINTS}/{name}" for name in CHECKPOINT_FILES)):
        place = folder / name
        (folder / f"{name}.copy").unlink(missing_ok=True)
        for temporary in place.parent.glob(f".{place.name}.*.tmp"):
            temporary.unlink(missing_ok=True)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _sync(folder: Path) -> None:
    """Have the system write all files of a folder to the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            sync(path)
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    """Have the system write the names in a folder to the disk, where folders can be opened (not on Windows)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
