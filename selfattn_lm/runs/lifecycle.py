"""The life cycle of a run folder, for training and for pretraining.

A run is made in `NAME.partial`, beside `NAME`, and moved to `NAME` when it is complete. Whatever
ends the process before, an older run in `NAME` is still whole.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from selfattn_lm.errors import Interrupted, UserError
from selfattn_lm.runs.commit import copy_of, move_run, remove_run, signals_deferred
from selfattn_lm.runs.files import CannotWrite
from selfattn_lm.runs.layout import (
    CHECKPOINT_FILES,
    CHECKPOINTS,
    CONFIG,
    FEATURES,
    FILES,
    LAST,
    TOKENIZER,
    WEIGHTS,
)


class RunFolder:
    """A run folder, and the folder beside it in which its next run is made.

    Attributes:
        name: The run folder as the user named it, for messages.
        target: The run folder, with symbolic links resolved.
        work: The folder beside it in which a run is made.
    """

    def __init__(self, name: Path) -> None:
        self.name = name
        advice = "name another with --out"
        try:
            self.target = name.resolve()
        except (OSError, RuntimeError):  # which of the two depends on the version of Python
            reason = "its symbolic links lead in a circle"
            raise UserError(f"{name}: cannot be a run folder ({reason}); {advice}.") from None
        if not self.target.name:
            reason = "it is the root of the disk"
            raise UserError(f"{name}: cannot be a run folder ({reason}); {advice}.")
        self.work = self.target.with_name(f"{self.target.name}.partial")

    def refuse_to_replace(self, overwrite: bool) -> None:
        """Refuse a folder that does not hold a run, and a run unless it may be overwritten.

        Raises:
            UserError: The folder is refused, or it cannot be read.
        """
        with _refusing_on_error(self.name):
            if self._is_occupied():
                self._require_run()
                if not overwrite:
                    advice = "--overwrite replaces it, --out names another folder"
                    raise UserError(f"{self.name}: exists; {advice}.")
            if self.can_resume() and not overwrite:
                reason = f"{self.name}: an unfinished run is in {self.work.name}"
                raise UserError(f"{reason}; --resume goes on with it, --overwrite replaces it.")

    def _is_occupied(self) -> bool:
        """Whether the target is a file, or a folder that is not empty."""
        if not self.target.exists():
            return False
        return not self.target.is_dir() or any(self.target.iterdir())

    def _require_run(self) -> None:
        has_featurizer = any((self.target / name).is_file() for name in (TOKENIZER, FEATURES))
        if not has_featurizer or not (self.target / CONFIG).is_file():
            reason = "exists and is not a run folder"
            raise UserError(f"{self.name}: {reason}; name another with --out.")

    def can_resume(self) -> bool:
        """Whether the work folder holds a checkpoint or a complete run, which `--resume` takes."""
        return (self.work / LAST).is_file() or (self.work / WEIGHTS).is_file()

    def how_to_resume(self) -> str:
        """Say what remains of a run that ended early, in words that end a sentence."""
        if (self.work / LAST).is_file():
            return f"`--resume` goes on from the last checkpoint, in {self.work}."
        if (self.work / WEIGHTS).is_file():
            return f"the run is complete, in {self.work}, and `--resume` moves it to its place."
        if (self.target / LAST).is_file():
            return f"`--resume` goes on from the last checkpoint, in {self.target}."
        return "nothing was saved; start a new run."

    @contextmanager
    def discard_on_error(self, is_first: bool) -> Iterator[None]:
        """Make a run within; if it ends early, delete what cannot be resumed.

        Errors of the operating system and a KeyboardInterrupt are raised again, as our own errors,
        with a sentence that says how to resume.

        Args:
            is_first: Whether this is the first process of the run, the only one that deletes.
        """
        try:
            yield
        except BaseException as error:
            if is_first and not self.can_resume():
                with suppress(OSError):  # the first error is the one to report
                    self.discard()
            self._explain(error)
            raise

    def _explain(self, error: BaseException) -> None:
        """Raise an error with advice in place of one without."""
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(f"{self.name}: interrupted; {self.how_to_resume()}") from None
        if isinstance(error, CannotWrite) and self.can_resume():
            raise UserError(f"{error.reason}; {self.how_to_resume()}") from None
        if isinstance(error, OSError):
            reason = f"the run cannot be written ({error.strerror or error})"
            raise UserError(f"{self.name}: {reason}; {self.how_to_resume()}") from None

    def begin(self) -> None:
        """Make the work folder, and delete what an unfinished run left in it.

        A complete run in it is first moved to the target.
        """
        if self.work.exists() and not self.work.is_dir():
            reason = "exists and is not a folder"
            raise UserError(f"{self.work}: {reason}; name another run folder with --out.")
        with _refusing_on_error(self.name):
            if self.interrupted_commit():
                self.commit()
            self.discard()
            (self.work / CHECKPOINTS).mkdir(parents=True, exist_ok=True)

    def unfinished(self, is_first: bool = True) -> Path:
        """Find the folder with the checkpoint of an interrupted run.

        A complete run that was not moved, or only in part, is moved to the target.

        Args:
            is_first: Whether this is the first process of the run, the only one that moves.

        Raises:
            UserError: There is no such checkpoint.
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
        advice = "so there is nothing to resume; train without --resume"
        raise UserError(f"{self.name}: {reason}, {advice}.")

    def reopen(self) -> None:
        """Prepare the work folder for resuming an interrupted run.

        A run in the target is copied, without its weights, and stays as it is until the next
        commit.
        """
        if self.unfinished() == self.work:
            return
        (self.work / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        checkpoints = [f"{CHECKPOINTS}/{name}" for name in CHECKPOINT_FILES]
        # The last checkpoint comes last: only with it is the copy complete and can be resumed.
        checkpoints.remove(LAST)
        for name in (*FILES, *checkpoints, LAST):
            source = self.target / name
            if name != WEIGHTS and source.is_file():
                copy = copy_of(self.work / name)
                shutil.copyfile(source, copy)
                copy.replace(self.work / name)

    def discard(self) -> None:
        """Delete what a run wrote in the work folder, and the folder if nothing else is in it."""
        if self.work.is_dir():
            remove_run(self.work)

    def commit(self, *, resumable: bool = False) -> None:
        """Move the complete run in the work folder to the target.

        A signal takes effect at the end. If the process is killed meanwhile, another call
        continues where the first one was.

        Args:
            resumable: Whether to keep the checkpoints.

        Raises:
            UserError: The operating system refuses.
            Interrupted: A signal arrived meanwhile.
        """
        with signals_deferred() as arrived:
            try:
                move_run(self.work, self.target, resumable=resumable)
            except OSError as error:
                reason = f"cannot be moved there ({error.strerror})"
                run = f"the complete run in {self.work}"
                advice = "when it can be, `--resume` moves it"
                raise UserError(f"{self.name}: {run} {reason}; {advice}.") from None
        if arrived:
            reason = "interrupted when the run was done"
            raise Interrupted(f"{self.name}: {reason}; it is in its place.")

    def interrupted_commit(self) -> bool:
        """Whether a complete run is still in the work folder, in full or in part.

        A commit deletes the last checkpoint or moves config.yaml first. Where both are beside the
        weights no commit has started, and the run can be resumed from the checkpoint.
        """
        if not (self.work / WEIGHTS).is_file():
            return False
        has_checkpoint = (self.work / LAST).is_file()
        has_config = (self.work / CONFIG).exists()
        return not has_checkpoint or not has_config


@contextmanager
def _refusing_on_error(name: Path) -> Iterator[None]:
    """Raise a UserError for an error of the operating system."""
    try:
        yield
    except OSError as error:
        reason = f"cannot be a run folder ({error.strerror})"
        raise UserError(f"{name}: {reason}; name another with --out.") from None
