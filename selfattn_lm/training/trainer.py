"""Lightning's trainer around one run: callbacks, checkpoints, Ctrl-C."""

import importlib.util
import logging
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, loggers
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from selfattn_lm.config import Settings, TrainingConfig
from selfattn_lm.errors import UserError
from selfattn_lm.training.data import Examples, train_loader, validation_loader
from selfattn_lm.training.journal import Journal
from selfattn_lm.training.module import Module

_LOGGERS = {"wandb": "WandbLogger", "mlflow": "MLFlowLogger"}
# The journal has a bar for the whole run, the length buckets divide the batches among devices themselves.
_OURS: Any = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "use_distributed_sampler"), False)


class Interrupted(Exception):
    """The user asked to stop."""


class StopOnRequest(Callback):
    """Ctrl-C ends the run after the step at hand; a second one ends it at once."""

    asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C while training, if this is the thread that gets it."""

        def ask(number: int, frame: Any) -> None:
            self.asked = True
            signal.signal(signal.SIGINT, signal.default_int_handler)

        here = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, ask) if here else None
        try:
            yield
        finally:
            if here:
                signal.signal(signal.SIGINT, before)

    def on_train_batch_end(self, *args: Any) -> None:
        if self.asked:
            raise Interrupted  # with nothing validated or saved: `--resume` repeats from the last checkpoint


class MovingAverage(WeightAveraging):
    """Keeps an exponential moving average of the weights, which is what is validated and kept.

    Lightning's EMAWeightAveraging, but over all tensors at once, and only at every fourth step: both are faster.
    """

    every = 4

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=get_ema_multi_avg_fn(decay**self.every))  # type: ignore[no-untyped-call]

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return step_idx is not None and step_idx % self.every == 0


class Training:
    """Trains the model in `module` and leaves its best weights in it; `settings` are resolved."""

    def __init__(self, settings: Settings, folder: Path, module: Module, train: Examples, validation: Examples) -> None:
        self.settings, self.folder, self.module, self.train, self.validation = (
            settings,
            folder,
            module,
            train,
            validation,
        )
        config, score = settings.training, f"validation/{settings.training.monitor}"
        assert config.ema != "auto", "resolve the settings first"
        assert config.epochs != "auto", "resolve the settings first"
        assert config.patience != "auto", "resolve the settings first"
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        tokens = train.tokens.total + validation.tokens.total / 3  # without the backward pass it is a third
        self.stop, self.journal = StopOnRequest(), Journal(folder / "log.csv", config.epochs * tokens)
        self.early = EarlyStopping(score, mode="max", patience=config.patience)
        self.best = ModelCheckpoint(
            folder / "checkpoints", "best", monitor=score, mode="max", save_last=True, enable_version_counter=False
        )
        callbacks: list[Callback] = [self.journal, self.stop, self.early, self.best]
        if config.ema:
            callbacks.insert(2, MovingAverage(config.ema))
        self.trainer = self._trainer(config, callbacks)
        self.first, self.interrupted = self.trainer.is_global_zero, False

    def _trainer(self, config: TrainingConfig, callbacks: list[Callback]) -> Trainer:
        assert config.epochs != "auto", "resolve the settings first"
        try:
            return Trainer(
                accelerator=config.accelerator,
                devices=config.devices,
                num_nodes=config.num_nodes,
                strategy=config.strategy,
                precision="bf16-mixed" if config.precision == "bf16" else "32-true",
                max_epochs=config.epochs,
                max_time=timedelta(minutes=config.max_minutes) if config.max_minutes else None,
                accumulate_grad_batches=config.accumulate,
                callbacks=callbacks,
                logger=self._logger(config.logger),
                default_root_dir=self.folder,
                num_sanity_val_steps=0,
                **_OURS,
            )
        except (ValueError, RuntimeError, ImportError) as error:  # Lightning's own checks of these settings
            reason = " ".join(str(error).split())
            raise UserError(f"training.accelerator, devices, strategy or precision: {reason}") from None

    def _logger(self, name: str) -> Any:
        """The logger asked for; TensorBoard's where it is installed and nothing is asked for."""
        if importlib.util.find_spec("tensorboard" if name == "none" else name) is None:
            if name == "none":
                return False
            raise UserError(f"training.logger: {name} is not installed; pip install {name}.")
        return getattr(loggers, _LOGGERS.get(name, "TensorBoardLogger"))(save_dir=self.folder)

    def run(self, *, resume: bool) -> str:
        """Train; returns why it ended before its last epoch, or nothing."""
        config, module, trainer = self.settings.training, self.module, self.trainer
        ranks = (trainer.global_rank, trainer.world_size)
        loader = train_loader(self.train, self.settings, *ranks)
        validation = validation_loader(self.validation, self.settings, *ranks)
        assert config.validations != "auto", "resolve the settings first"
        # A validation, and with it a checkpoint, never falls between batches whose gradients add up to one step.
        every = len(loader) // config.validations // config.accumulate * config.accumulate
        trainer.val_check_interval = every or len(loader)
        started = time.monotonic()
        with self.stop.listening(), warnings.catch_warnings():
            for harmless in ("does not have many workers", "exists and is not empty", "not resumable", "LeafSpec"):
                warnings.filterwarnings("ignore", message=f".*{harmless}.*")
            try:
                checkpoint = self.folder / "checkpoints" / "last.ckpt" if resume else None
                trainer.fit(module, loader, validation, ckpt_path=checkpoint, weights_only=True)
            except Interrupted:
                self.interrupted = True
        self.seconds = time.monotonic() - started
        best = Path(self.best.best_model_path)
        if not best.is_file():
            if not resume:  # a resumed run still has the checkpoint that it came from
                shutil.rmtree(self.folder, ignore_errors=True)
            reason = f"{self.folder}: stopped before the first validation, so nothing is kept; train anew."
            raise KeyboardInterrupt(reason) if self.interrupted else UserError(reason)
        module.load_state_dict(torch.load(best, weights_only=True, map_location="cpu")["state_dict"])
        return self._reason()

    def _reason(self) -> str:
        config, step, steps = self.settings.training, self.trainer.global_step, self.journal.total_steps
        if self.interrupted:
            return f"by Ctrl-C at step {step} of {steps}"
        if step >= steps:
            return ""
        if self.early.wait_count >= self.early.patience:
            return f"no better {config.monitor} in {self.early.patience} validations"
        return f"after training.max_minutes {config.max_minutes:g}"

    def facts(self) -> dict[str, Any]:
        """How the training went, for `metrics.json`."""
        best = {"monitor": self.settings.training.monitor, "best": float(self.best.best_model_score or 0.0)}
        minutes = round(self.journal.minutes + self.seconds / 60, 2)
        return {"minutes": minutes, "steps": self.trainer.global_step, **best}
