"""Callbacks: signals that stop a run, averaged weights, checkpoints."""

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch.optim.swa_utils import get_ema_multi_avg_fn

from selfattn_lm.runs import atomic
from selfattn_lm.training.modules import NotFinite

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LAST_CHECKPOINTS = 20  # a run with at least as many validations writes about this many of them


class StopRequested(Exception):
    """The user asked to stop."""


class StopOnRequest(Callback):
    """Ends the run after the current step on Ctrl-C or SIGTERM; a second Ctrl-C ends it at once."""

    def __init__(self) -> None:
        self.requested = False
        self.by = "Ctrl-C"

    def _request(self, number: int, frame: Any) -> None:
        self.requested = True
        if number == signal.SIGTERM:
            self.by = "SIGTERM"
        signal.signal(signal.SIGINT, signal.default_int_handler)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals while training, if this is the main thread, which gets them."""
        previous = {}
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                previous[number] = signal.signal(number, self._request)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take SIGTERM back from Lightning, whose handler makes processes wait for each other."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._request)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Stop without a validation or a checkpoint: a resumed run repeats from the last one.

        The processes of a run agree to stop: one that stopped alone would leave the others waiting.
        """
        requested = self.requested
        if trainer.world_size > 1:
            requested = trainer.strategy.reduce_boolean_decision(requested, all=False)
        if requested:
            raise StopRequested


class MovingAverage(WeightAveraging):
    """Keeps an exponential moving average of the weights, which is validated and saved.

    Lightning's EMAWeightAveraging, but over all tensors at once, and at every fourth step only:
    both are faster. Buffers are copied, not averaged: among them are the numbers of the character
    n-grams of each token, whose mean would be the number of another n-gram.
    """

    every = 4

    def __init__(self, decay: float) -> None:
        average = get_ema_multi_avg_fn(decay**self.every)  # type: ignore[no-untyped-call]
        super().__init__(use_buffers=False, multi_avg_fn=average)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return step_idx is not None and step_idx % self.every == 0


class StopWhereNotFinite(Callback):
    """Ends a run whose validation loss is NaN or infinite, before its scores are logged or saved.

    The score of such weights, whatever they predict, may be the best.
    """

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loss = float(trainer.callback_metrics["validation/loss"])
        if not math.isfinite(loss):
            step = trainer.global_step
            raise NotFinite(f"the validation loss was not a finite number after step {step}")


class BestCheckpoint(ModelCheckpoint):
    """Saves the checkpoint with the best validation score and the last one, with their scores.

    Args:
        folder: Where they are written.
        monitor: The name of the score.
        validations: How many validations the run has at most. With more than twenty, the last
            checkpoint is not written at each one, since writing it may take longer than an epoch.
    """

    def __init__(self, folder: Path, monitor: str, validations: int) -> None:
        super().__init__(
            folder,
            "best",
            monitor=monitor,
            mode="max",
            save_last=True,
            enable_version_counter=False,
            save_on_train_epoch_end=False,  # Lightning mistakes an interval of one batch for it
        )
        self.save_last_every = math.ceil(validations / _LAST_CHECKPOINTS)
        self.validations_since_last = 0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last checkpoint also if it is not the best, where Lightning would not."""
        super().on_validation_end(trainer, pl_module)
        self.validations_since_last += 1
        if self._last_global_step_saved == trainer.global_step:
            self.validations_since_last = 0
        elif self.validations_since_last >= self.save_last_every:
            self.validations_since_last = 0
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
        checkpoint["scores"] = scores

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint's state, also if the run folder has been moved since."""
        folder = Path(str(self.dirpath))
        moved = dict(state_dict, dirpath=str(folder))
        for name in ("best_model_path", "last_model_path", "kth_best_model_path"):
            if state_dict[name]:
                moved[name] = str(folder / Path(state_dict[name]).name)
        best = {}
        for path, score in state_dict["best_k_models"].items():
            best[str(folder / Path(path).name)] = score
        moved["best_k_models"] = best
        super().load_state_dict(moved)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint completely or not at all: a full disk or a kill leaves the previous one.

    Lightning's own way moves it from the folder of temporary files, and half of it may arrive if
    that is on another disk.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        # A kill leaves it complete; `RunFolder.commit` has the system write it to the disk.
        with atomic(Path(path), durable=False) as temporary:
            _save(checkpoint, temporary)


def _save(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint without a copy in memory; raises OSError where the disk is full."""
    with path.open("wb") as file:
        try:
            torch.save(checkpoint, file)
        except RuntimeError as error:  # torch's own, about the file that it could not end
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
