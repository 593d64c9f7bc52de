"""Lightning's trainer around one run: callbacks, checkpoints, Ctrl-C."""

import importlib.util
import logging
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, loggers
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from selfattn_lm.config import Settings, TrainingConfig
from selfattn_lm.errors import UserError
from selfattn_lm.nn import Classifier
from selfattn_lm.training.callbacks import Interrupted, Journal, StopOnRequest
from selfattn_lm.training.data import Prepared, balanced_weights, train_loader, validation_loader
from selfattn_lm.training.module import ClassifierModule

_LOGGERS = {"none": "TensorBoardLogger", "tensorboard": "TensorBoardLogger", "wandb": "WandbLogger", "mlflow": "MLFlowLogger"}  # fmt: skip  # noqa: E501
_HARMLESS = ("does not have many workers", "exists and is not empty", "not resumable", "LeafSpec")


class Training:
    """Trains `model` in place and leaves the best weights in it; `settings` are resolved."""

    def __init__(self, settings: Settings, folder: Path, prepared: Prepared, model: Classifier) -> None:
        self.settings, self.folder, self.prepared, self.model = settings, folder, prepared, model
        config, score = settings.training, f"validation/{settings.training.monitor}"
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.stop, self.journal = StopOnRequest(), Journal(folder / "log.csv")
        self.early = EarlyStopping(score, mode="max", patience=config.patience)
        self.best = ModelCheckpoint(
            folder / "checkpoints", "best", monitor=score, mode="max", save_last=True, enable_version_counter=False
        )
        callbacks: list[Callback] = [self.journal, self.stop, self.early, self.best]
        if config.ema:  # Lightning's EMAWeightAveraging, but over all tensors at once, which is faster
            average = get_ema_multi_avg_fn(config.ema)  # type: ignore[no-untyped-call]
            callbacks.insert(2, WeightAveraging(multi_avg_fn=average))
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
                enable_progress_bar=False,  # the journal has its own, for the whole run
                enable_model_summary=False,
                num_sanity_val_steps=0,
                use_distributed_sampler=False,  # the length buckets divide the batches themselves
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
        return getattr(loggers, _LOGGERS[name])(save_dir=self.folder)

    def run(self, *, resume: bool) -> str:
        """Train; returns why it ended before its last epoch, or nothing."""
        config, prepared, trainer = self.settings.training, self.prepared, self.trainer
        balanced = config.class_weights == "balanced"
        weights = balanced_weights(prepared.train.labels, len(prepared.labels)) if balanced else None
        module = ClassifierModule(self.model, config, len(prepared.labels), weights, self.settings.seed)
        ranks = (trainer.global_rank, trainer.world_size)
        loader = train_loader(prepared.train, self.settings, *ranks)
        validation = validation_loader(prepared.validation, self.settings, *ranks)
        assert config.validations != "auto", "resolve the settings first"
        # A validation, and with it a checkpoint, never falls between batches whose gradients add up to one step.
        every = len(loader) // config.validations // config.accumulate * config.accumulate
        trainer.val_check_interval = every or len(loader)
        started = time.monotonic()
        with self.stop.listening(), warnings.catch_warnings():
            for harmless in _HARMLESS:
                warnings.filterwarnings("ignore", message=f".*{harmless}.*")
            try:
                checkpoint = self.folder / "checkpoints" / "last.ckpt" if resume else None
                trainer.fit(module, loader, validation, ckpt_path=checkpoint, weights_only=True)
            except Interrupted:
                self.interrupted = True
        self.seconds = time.monotonic() - started
        best = Path(self.best.best_model_path)
        if not best.is_file():
            reason = "stopped before the first validation, so nothing could be kept"
            raise UserError(f"{self.folder}: {reason}; train anew.")
        module.load_state_dict(torch.load(best, weights_only=True, map_location="cpu")["state_dict"])
        return self._reason()

    def _reason(self) -> str:
        config, step, steps = self.settings.training, self.trainer.global_step, self.journal.total_steps
        if self.interrupted:
            return f"by Ctrl-C at step {step} of {steps}"
        if step >= steps:
            return ""
        if self.early.wait_count >= config.patience:
            return f"no better {config.monitor} in {config.patience} validations"
        return f"after training.max_minutes {config.max_minutes:g}"

    def facts(self) -> dict[str, Any]:
        """How the training went, for `metrics.json`."""
        best = {"monitor": self.settings.training.monitor, "best": float(self.best.best_model_score or 0.0)}
        minutes = round(self.journal.minutes + self.seconds / 60, 2)
        return {"minutes": minutes, "steps": self.trainer.global_step, **best}
