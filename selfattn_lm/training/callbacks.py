"""What Lightning calls while it trains: signals that stop a run, averaged weights, checkpoints."""

import io
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
_LAST_CHECKPOINTS = 20  # that a run writes at least, if it has so many validations


class Interrupted(Exception):
    """The user asked to stop."""


class StopOnRequest(Callback):
    """Ctrl-C or SIGTERM ends the run after the step at hand; a Ctrl-C after that ends it at once."""

    asked = False
    by = "Ctrl-C"

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = True
        if number == signal.SIGTERM:
            self.by = "SIGTERM"
        signal.signal(signal.SIGINT, signal.default_int_handler)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals while training, if this is the thread that gets them."""
        here = threading.current_thread() is threading.main_thread()
        before = {number: signal.signal(number, self._ask) for number in _SIGNALS} if here else {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take SIGTERM back from Lightning, whose own handler has the processes of a run wait for each other."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._ask)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Stop with nothing validated or saved: `--resume` repeats from the last checkpoint.

        The processes of a run agree, since one that stopped alone would leave the others waiting.
        """
        asked = self.asked
        if trainer.world_size > 1:
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked:
            raise Interrupted


class MovingAverage(WeightAveraging):
    """Keeps an exponential moving average of the weights, which is what is validated and kept.

    Lightning's EMAWeightAveraging, but over all tensors at once, and only at every fourth step: both are faster.
    Buffers are copied and not averaged: among them are the ids of a token's character n-grams, whole numbers of which
    an average is another n-gram's.
    """

    every = 4

    def __init__(self, decay: float) -> None:
        average = get_ema_multi_avg_fn(decay**self.every)  # type: ignore[no-untyped-call]
        super().__init__(use_buffers=False, multi_avg_fn=average)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return step_idx is not None and step_idx % self.every == 0


class StopWhereNotFinite(Callback):
    """Ends a run whose validation loss is NaN or infinite, before anything is logged or kept of that validation.

    The score of such weights, whatever they answer, may be the best.
    """

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not math.isfinite(float(trainer.callback_metrics["validation/loss"])):
            raise NotFinite(f"the validation loss was not a finite number after step {trainer.global_step}")


class BestCheckpoint(ModelCheckpoint):
    """Keeps the checkpoint with the best validation score and the last one, with all scores of its validation.

    Args:
        folder: Where they are written.
        monitor: The name of the score.
        validations: How many validations the run has at most. With more than twenty, a last checkpoint is written
            only at every few, since one may take longer than an epoch over few texts.
    """

    def __init__(self, folder: Path, monitor: str, validations: int) -> None:
        super().__init__(
            folder,
            "best",
            monitor=monitor,
            mode="max",
            save_last=True,
            enable_version_counter=False,
            save_on_train_epoch_end=False,  # Lightning takes an interval of one batch for an epoch
        )
        self.save_last_every = math.ceil(validations / _LAST_CHECKPOINTS)
        self.since_last = 0  # validations

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last checkpoint also if it is not the best, where Lightning would not."""
        super().on_validation_end(trainer, pl_module)
        self.since_last += 1
        if self._last_global_step_saved == trainer.global_step:
            self.since_last = 0
        elif self.since_last >= self.save_last_every:
            self.since_last = 0
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["scores"] = {name: float(value) for name, value in trainer.callback_metrics.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's state, also where the run folder has been moved since."""
        here = Path(str(self.dirpath))
        moved = dict(state_dict, dirpath=str(here))
        for name in ("best_model_path", "last_model_path", "kth_best_model_path"):
            moved[name] = str(here / Path(state_dict[name]).name) if state_dict[name] else ""
        moved["best_k_models"] = {str(here / Path(path).name): v for path, v in state_dict["best_k_models"].items()}
        super().load_state_dict(moved)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint as a whole or not at all, so that a full disk or a kill leaves the one before it.

    Lightning's own way moves it from the folder for temporary files, and on to another disk half of it may come.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with atomic(Path(path), durable=False) as temporary:  # a kill leaves it whole; `RunFolder.commit` syncs it
            temporary.write_bytes(content.getbuffer())
