"""Lightning's trainer around one run: callbacks, checkpoints, Ctrl-C."""

import importlib.util
import logging
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from selfattn_lm.config import Settings, TrainingConfig
from selfattn_lm.errors import UserError
from selfattn_lm.nn import Classifier
from selfattn_lm.training.callbacks import Interrupted, Journal, StopOnRequest
from selfattn_lm.training.data import Prepared, balanced_weights, train_loader, validation_loader
from selfattn_lm.training.module import ClassifierModule

log = logging.getLogger(__name__)
_LOGGERS = {"tensorboard": "TensorBoardLogger", "wandb": "WandbLogger", "mlflow": "MLFlowLogger"}


class Training:
    """Trains `model` in place and leaves the best weights in it.

    Args:
        settings: Resolved settings.
        folder: The run folder.
        prepared: The data.
        model: With its first weights.
    """

    def __init__(self, settings: Settings, folder: Path, prepared: Prepared, model: Classifier) -> None:
        self.settings, self.folder, self.prepared, self.model = settings, folder, prepared, model
        config = settings.training
        self.stop = StopOnRequest()
        self.early = EarlyStopping(f"validation/{config.monitor}", mode="max", patience=config.patience)
        self.best = ModelCheckpoint(
            folder / "checkpoints", "best", monitor=f"validation/{config.monitor}", mode="max", save_last=True,
            enable_version_counter=False,
        )  # fmt: skip
        self.interrupted = False
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.trainer = self._trainer(config)
        self.first = self.trainer.is_global_zero

    def _trainer(self, config: TrainingConfig) -> Trainer:
        assert config.epochs != "auto" and config.ema != "auto" and config.validations != "auto"
        averages = [WeightAveraging(multi_avg_fn=get_ema_multi_avg_fn(config.ema))] if config.ema else []
        callbacks: list[Callback] = [self.stop, *averages, self.early, self.best]
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
                val_check_interval=1 / config.validations,
                callbacks=callbacks,
                logger=self._logger(config),
                default_root_dir=self.folder,
                enable_progress_bar=False,  # the journal has its own, for the whole run
                enable_model_summary=False,
                num_sanity_val_steps=0,
                use_distributed_sampler=False,  # the length buckets divide the batches themselves
            )
        except (ValueError, RuntimeError, ImportError) as error:  # Lightning's own checks of these settings
            raise UserError(f"training.accelerator, devices, strategy or precision: {' '.join(str(error).split())}") from None

    def _logger(self, config: TrainingConfig) -> Any:
        if config.logger == "none":
            found = importlib.util.find_spec("tensorboard")
            return False if found is None else self._make_logger("tensorboard")
        if importlib.util.find_spec(config.logger) is None:
            raise UserError(f"training.logger: {config.logger} is not installed; pip install {config.logger}.")
        return self._make_logger(config.logger)

    def _make_logger(self, name: str) -> Any:
        from lightning.pytorch import loggers

        return getattr(loggers, _LOGGERS[name])(save_dir=self.folder, name=None if name == "tensorboard" else "selfattn_lm")

    def run(self, *, resume: bool) -> str:
        """Train; returns why it ended before its last epoch, or nothing."""
        settings, prepared, trainer = self.settings, self.prepared, self.trainer
        weights = None
        if settings.training.class_weights == "balanced":
            weights = balanced_weights(prepared.train.labels, len(prepared.labels))
        module = ClassifierModule(self.model, settings.training, len(prepared.labels), weights, settings.seed)
        ranks = (trainer.global_rank, trainer.world_size)
        loader = train_loader(prepared.train, settings, *ranks)
        assert settings.training.epochs != "auto"
        steps = -(-len(loader) // settings.training.accumulate) * settings.training.epochs
        trainer.callbacks.insert(0, journal := Journal(self.folder / "log.csv", steps))
        started = time.monotonic()
        with self.stop.listening(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*Checkpoint directory.*exists and is not empty.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            try:
                trainer.fit(
                    module, loader, validation_loader(prepared.validation, settings, *ranks),
                    ckpt_path=self.folder / "checkpoints" / "last.ckpt" if resume else None, weights_only=True,
                )  # fmt: skip
            except Interrupted:
                self.interrupted = True
        self.seconds = time.monotonic() - started
        self.journal = journal
        self._take_best(module)
        return self._reason(trainer, steps)

    def _take_best(self, module: ClassifierModule) -> None:
        path = Path(self.best.best_model_path)
        if not self.best.best_model_path or not path.is_file():
            raise UserError(f"{self.folder}: stopped before the first validation, so there is nothing to keep; train anew.")
        state = torch.load(path, weights_only=True, map_location="cpu")["state_dict"]
        module.load_state_dict(state)

    def _reason(self, trainer: Trainer, steps: int) -> str:
        config = self.settings.training
        if self.interrupted:
            return f"by Ctrl-C at step {trainer.global_step} of {steps}"
        if trainer.global_step >= steps:
            return ""
        if self.early.wait_count >= config.patience:
            return f"no better {config.monitor} in {config.patience} validations"
        return f"after training.max_minutes {config.max_minutes:g}"

    def facts(self) -> dict[str, Any]:
        """How the training went, for `metrics.json`."""
        return {
            "minutes": round(self.journal.minutes + self.seconds / 60, 2),
            "steps": self.trainer.global_step,
            "best": float(self.best.best_model_score or 0.0),
            "monitor": self.settings.training.monitor,
        }
