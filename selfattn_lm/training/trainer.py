"""Lightning's trainer for one run, with its callbacks."""

import importlib.util
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer, loggers
from lightning.pytorch.callbacks import EarlyStopping

from selfattn_lm.config import Resolved, ResolvedTraining
from selfattn_lm.errors import UserError
from selfattn_lm.hardware import choose_device
from selfattn_lm.runs import CHECKPOINTS, RunFolder
from selfattn_lm.training.callbacks import (
    BestCheckpoint,
    MovingAverage,
    StopOnRequest,
    StopWhereNotFinite,
    WholeCheckpoints,
)
from selfattn_lm.training.data import TokenizedDataset
from selfattn_lm.training.progress import ProgressLog

_LOGGERS = {"tensorboard": "TensorBoardLogger", "wandb": "WandbLogger", "mlflow": "MLFlowLogger"}
_PRECISIONS: dict[str, Any] = {"bf16": "bf16-mixed", "32": "32-true"}
_VALIDATION_COST = 1 / 3  # of a token, in training: there is no backward pass


class RunTrainer(NamedTuple):
    """Lightning's trainer for one run, with the callbacks that are needed afterwards."""

    trainer: Trainer
    stop: StopOnRequest
    progress: ProgressLog
    early_stopping: EarlyStopping
    best: BestCheckpoint

    @property
    def is_first(self) -> bool:
        """Whether this is the process of the run that writes."""
        return bool(self.trainer.is_global_zero)


def build_trainer(
    resolved: Resolved, folder: RunFolder, train: TokenizedDataset, validation: TokenizedDataset
) -> RunTrainer:
    """Build the trainer of a run.

    Raises UserError for settings that Lightning refuses, or fewer texts to validate by than
    processes.
    """
    config = resolved.training
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    monitor = f"validation/{config.monitor}"
    tokens_per_epoch = train.tokens.total + validation.tokens.total * _VALIDATION_COST
    stop = StopOnRequest()
    progress = ProgressLog(folder.work / "log.csv", config.epochs * tokens_per_epoch)
    # It acts at each validation, also where an epoch is a single batch: there Lightning would act
    # at the end of the epoch, and a run that is resumed has no score to look at by then.
    early_stopping = EarlyStopping(
        monitor, mode="max", patience=config.patience, check_on_train_epoch_end=False
    )
    validations = config.epochs * config.validations_per_epoch
    best = BestCheckpoint(folder.work / CHECKPOINTS, monitor, validations)
    callbacks: list[Callback] = [StopWhereNotFinite(), progress, stop]
    if config.ema_decay > 0:
        callbacks.append(MovingAverage(config.ema_decay))
    callbacks += [early_stopping, best]
    trainer = _lightning_trainer(config, callbacks, folder.work)
    processes = trainer.world_size
    if len(validation) < processes:
        needed = f"{processes} processes need at least {processes} texts to validate by"
        advice = "give more, or lower --training.devices"
        raise UserError(f"{needed}, got {len(validation)}; {advice}.")
    return RunTrainer(trainer, stop, progress, early_stopping, best)


def _lightning_trainer(
    config: ResolvedTraining, callbacks: list[Callback], folder: Path
) -> Trainer:
    max_time = None
    if config.max_minutes > 0:
        max_time = timedelta(minutes=config.max_minutes)
    try:
        return Trainer(
            accelerator=choose_device(config.accelerator),
            devices=config.devices,
            num_nodes=config.num_nodes,
            strategy=config.strategy,
            precision=_PRECISIONS[config.precision],
            max_epochs=config.epochs,
            max_time=max_time,
            accumulate_grad_batches=config.accumulate_batches,
            callbacks=callbacks,
            plugins=[WholeCheckpoints()],
            logger=_logger(config.logger, folder),
            default_root_dir=folder,
            num_sanity_val_steps=0,
            enable_progress_bar=False,  # `ProgressLog` has one for the whole run
            enable_model_summary=False,
            use_distributed_sampler=False,  # `LengthBuckets` divides the batches among devices
        )
    # Lightning's own checks of these settings
    except (ValueError, RuntimeError, ImportError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())
        names = "training.accelerator, devices, strategy or precision"
        raise UserError(f"{names}: {reason}") from None


def _logger(name: str, folder: Path) -> Any:
    """The logger that is asked for, beside log.csv."""
    if name == "none":
        return False
    if importlib.util.find_spec(name) is None:
        raise UserError(f"training.logger: {name} is not installed; pip install {name}.")
    return getattr(loggers, _LOGGERS[name])(save_dir=folder)
