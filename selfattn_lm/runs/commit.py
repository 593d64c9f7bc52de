"""Moving a complete run to the folder where it belongs, in steps that can be interrupted.

Only files that a run writes are deleted or replaced. All others stay.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfattn_lm.runs.files import sync_folder, sync_names
from selfattn_lm.runs.layout import CHECKPOINT_FILES, CHECKPOINTS, CONFIG, FILES


def move_run(work: Path, target: Path, *, resumable: bool) -> None:
    """Move a complete run from `work` to `target`, in place of an older run.

    If the process is killed meanwhile, another call continues where the first one was.

    Args:
        work: The folder of the complete run, which is deleted unless something else is in it.
        target: The folder where the run belongs.
        resumable: Whether the checkpoints are moved too, and not deleted.
    """
    if not resumable:
        remove_checkpoints(work)
    remove_temporary_files(work)
    sync_folder(work)
    if not target.exists():
        work.rename(target)
        sync_names(target.parent)
        return
    _replace_run(work, target)
    sync_names(target)


def _replace_run(work: Path, target: Path) -> None:
    """Replace the files of an older run one by one, in the order that `FILES` explains."""
    new_files = [name for name in FILES if (work / name).exists()]
    if CONFIG in new_files:
        # Stale files go first: once config.yaml is moved, they look like files moved before.
        for name in FILES:
            if name not in new_files and (target / name).exists():
                _delete(target / name)
        _move(work / CONFIG, target / CONFIG)
        new_files.remove(CONFIG)
    _replace_checkpoints(work / CHECKPOINTS, target / CHECKPOINTS)
    for name in new_files:
        _move(work / name, target / name)
    for path in sorted(work.iterdir()):  # files of the user's
        if not (target / path.name).exists():
            _move(path, target / path.name)
    remove_if_empty(work)


def _replace_checkpoints(work: Path, target: Path) -> None:
    for name in CHECKPOINT_FILES:
        if (work / name).exists():
            _move(work / name, target / name)
        elif (target / name).exists():
            _delete(target / name)
    remove_if_empty(work)
    remove_if_empty(target)


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    os.replace(source, target)


def _delete(path: Path) -> None:
    path.unlink()


def remove_run(folder: Path) -> None:
    """Delete the files that a run wrote, and the folder if nothing else is in it."""
    remove_checkpoints(folder)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    remove_if_empty(folder)


def remove_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a run, and all that was written in part."""
    for name in CHECKPOINT_FILES:
        (folder / CHECKPOINTS / name).unlink(missing_ok=True)
    remove_temporary_files(folder)
    remove_if_empty(folder / CHECKPOINTS)


def remove_temporary_files(folder: Path) -> None:
    """Delete the temporary files of processes that were killed while they wrote."""
    files = [folder / name for name in FILES]
    files += [folder / CHECKPOINTS / name for name in CHECKPOINT_FILES]
    for file in files:
        copy_of(file).unlink(missing_ok=True)
        for temporary in file.parent.glob(f".{file.name}.*.tmp"):
            temporary.unlink(missing_ok=True)


def copy_of(file: Path) -> Path:
    """The temporary name of a file that is being copied."""
    return file.with_name(f"{file.name}.copy")


def remove_if_empty(folder: Path) -> None:
    """Delete a folder if it exists and nothing is in it."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


@contextmanager
def signals_deferred() -> Iterator[list[int]]:
    """Within, let SIGINT and SIGTERM end nothing, and give a list of those that have arrived.

    In a thread other than the main one, which receives no signals, this does nothing.
    """
    arrived: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield arrived
        return

    def defer(number: int, frame: Any) -> None:
        arrived.append(number)

    handlers = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        handlers[number] = signal.signal(number, defer)
    try:
        yield arrived
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
