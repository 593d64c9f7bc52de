"""Lightning's trainer around one run: callbacks, checkpoints, Ctrl-C."""

import importlib.util
import logging
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer, loggers
from lightning.pytorch.callbacks import EarlyStopping
from torch.nn.parallel import DistributedDataParallel

from selfattn_lm.config import Settings, TrainingConfig
from selfattn_lm.errors import UserError
from selfattn_lm.hardware import can_reduce_sparse_gradients, choose_device
from selfattn_lm.runs import CHECKPOINTS, LAST, RunFolder
from selfattn_lm.training import resolve as rules
from selfattn_lm.training.callbacks import (
    BestCheckpoint,
    Interrupted,
    MovingAverage,
    StopOnRequest,
    StopWhereNotFinite,
    WholeCheckpoints,
)
from selfattn_lm.training.data import Examples, train_loader, validation_loader
from selfattn_lm.training.modules import Module, NotFinite
from selfattn_lm.training.optimizer import use_dense_gradients
from selfattn_lm.training.processes import is_lost_process
from selfattn_lm.training.progress import Journal, rounded

_LOGGERS = {"tensorboard": "TensorBoardLogger", "wandb": "WandbLogger", "mlflow": "MLFlowLogger"}
# The journal has a bar for the whole run, the length buckets divide the batches among devices themselves.
_OURS: Any = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "use_distributed_sampler"), False)
_HARMLESS = ("does not have many workers", "exists and is not empty", "not resumable", "LeafSpec", "sync_dist=True")


class Training:
    """Trains the model in `module` and leaves its best weights in it; `settings` are resolved."""

    def __init__(
        self, settings: Settings, place: RunFolder, module: Module, train: Examples, validation: Examples
    ) -> None:
        self.settings, self.place, self.module = settings, place, module
        self.train, self.validation = train, validation
        config, score = settings.training, f"validation/{settings.training.monitor}"
        assert config.ema_decay != "auto", "resolve the settings first"
        assert config.epochs != "auto", "resolve the settings first"
        assert config.patience != "auto", "resolve the settings first"
        assert config.precision != "auto", "resolve the settings first"
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        tokens = train.tokens.total + validation.tokens.total / 3  # without the backward pass it is a third
        self.stop, self.journal = StopOnRequest(), Journal(place.work / "log.csv", config.epochs * tokens)
        # Both callbacks act at each validation. Left to choose, they act at the end of an epoch instead where an epoch
        # is a single batch, and a run resumed there has no score to look at. Patience counts validations: see `run`.
        self.early = EarlyStopping(score, mode="max", patience=config.patience, check_on_train_epoch_end=False)
        assert config.validations_per_epoch != "auto", "resolve the settings first"
        self.best = BestCheckpoint(place.work / CHECKPOINTS, score, config.epochs * config.validations_per_epoch)
        callbacks: list[Callback] = [StopWhereNotFinite(), self.journal, self.stop, self.early, self.best]
        if config.ema_decay:
            callbacks.insert(3, MovingAverage(config.ema_decay))
        self.trainer = self._trainer(config, callbacks)
        self.first, self.interrupted = self.trainer.is_global_zero, False
        self.not_finite = ""  # what is to be said if the loss was NaN or infinite
        self.scores: dict[str, float] = {}  # of the best validation, by name
        processes = self.trainer.world_size
        if len(validation) < processes:
            reason = f"{len(validation)} texts to validate by are too few for {processes} processes"
            raise UserError(f"{reason}, each of which needs one; give more, or lower --training.devices.")
        # Buffers never change, and to send them in each validation batch would need as many batches in each process.
        buffers = [name for name, _ in module.named_buffers()]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(  # type: ignore[no-untyped-call]
            module, buffers
        )
        if not can_reduce_sparse_gradients(choose_device(config.accelerator), processes):
            use_dense_gradients(module)

    def _trainer(self, config: TrainingConfig, callbacks: list[Callback]) -> Trainer:
        assert config.epochs != "auto", "resolve the settings first"
        assert config.devices != "auto", "resolve the settings first"
        try:
            return Trainer(
                accelerator=choose_device(config.accelerator),
                devices=config.devices,
                num_nodes=config.num_nodes,
                strategy=config.strategy,
                precision="bf16-mixed" if config.precision == "bf16" else "32-true",
                max_epochs=config.epochs,
                max_time=timedelta(minutes=config.max_minutes) if config.max_minutes else None,
                accumulate_grad_batches=config.accumulate_batches,
                callbacks=callbacks,
                plugins=[WholeCheckpoints()],
                logger=self._logger(config.logger),
                default_root_dir=self.place.work,
                num_sanity_val_steps=0,
                **_OURS,
            )
        # Lightning's own checks of these settings
        except (ValueError, RuntimeError, ImportError, MisconfigurationException) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"training.accelerator, devices, strategy or precision: {reason}") from None

    def _logger(self, name: str) -> Any:
        """The logger asked for, and none unless it is."""
        if name == "none":
            return False
        if importlib.util.find_spec(name) is None:
            raise UserError(f"training.logger: {name} is not installed; pip install {name}.")
        return getattr(loggers, _LOGGERS[name])(save_dir=self.place.work)

    def run(self, *, resume: bool) -> str:
        """Train; returns why it ended before its last epoch, or nothing."""
        config, module, trainer = self.settings.training, self.module, self.trainer
        ranks = (trainer.global_rank, trainer.world_size)
        loader = train_loader(self.train, self.settings, *ranks)
        validation = validation_loader(self.validation, self.settings, *ranks)
        assert config.validations_per_epoch != "auto", "resolve the settings first"
        every = rules.validation_interval(len(loader), config.validations_per_epoch, config.accumulate_batches)
        trainer.val_check_interval = every
        assert config.patience != "auto", "resolve the settings first"
        self.early.patience = config.patience * (len(loader) // every)
        started = time.monotonic()
        with self.stop.listening(), warnings.catch_warnings():
            for harmless in _HARMLESS:
                warnings.filterwarnings("ignore", message=f".*{harmless}.*")
            try:
                checkpoint = self.place.work / LAST if resume else None
                trainer.fit(module, loader, validation, ckpt_path=checkpoint, weights_only=True)
            except Interrupted:
                self.interrupted = True
            except NotFinite as error:
                self.not_finite = f"{error}; {self._advice()}"
            except SystemExit:  # so Lightning answers a second Ctrl-C
                raise KeyboardInterrupt from None
            except RuntimeError as error:
                self._tell_if_lost(error)
                raise
        self.seconds = time.monotonic() - started
        best = Path(self.best.best_model_path)
        if not best.is_file():
            self.wait_for_all()  # a process that ends with an error may have the others ended
            self._nothing_kept(resume)
        kept = torch.load(best, weights_only=True, map_location="cpu")
        module.load_best(kept)
        self.wait_for_all()  # until all have read it, the first process moves nothing
        self.scores = {name.removeprefix("validation/"): score for name, score in kept["scores"].items()}
        return self._reason()

    def wait_for_all(self) -> None:
        """Wait until all processes of the run are here."""
        try:
            self.trainer.strategy.barrier()
        except RuntimeError as error:
            self._tell_if_lost(error)
            raise

    def _tell_if_lost(self, error: RuntimeError) -> None:
        """Raise a UserError if an error means that another process of the run has ended before this one."""
        if is_lost_process(error):
            reason = f"{self.place.name}: another process of the run has ended, and its last words say why"
            raise UserError(f"{reason}; {self.place.what_is_left()}") from None

    def _nothing_kept(self, resume: bool) -> NoReturn:
        """End the run in each of its processes; a resumed one still has the checkpoint that it came from."""
        if self.not_finite:
            raise UserError(f"{self.place.name}: {self.not_finite}.")
        if resume:
            reason = f"{self.place.name}: stopped before another validation; {self.place.what_is_left()}"
        else:
            reason = f"{self.place.name}: stopped before the first validation, so nothing is kept; train anew."
        raise KeyboardInterrupt(reason) if self.interrupted else UserError(reason)

    def _advice(self) -> str:
        """What usually helps where the loss is not finite."""
        config = self.settings.training
        advice = f"a lower training.learning_rate than {config.learning_rate:g} usually helps"
        if config.precision != "32":
            advice += f", or training.precision 32 instead of {config.precision}"
        return advice

    def raise_if_not_finite(self) -> None:
        """Say at the end of a run that its loss was not finite; the run holds the best weights before that."""
        if self.not_finite:
            raise UserError(f"{self.place.name}: {self.not_finite}; the run keeps the best weights from before.")

    def _reason(self) -> str:
        config, step, steps = self.settings.training, self.trainer.global_step, self.journal.total_steps
        if self.not_finite:
            return self.not_finite
        if self.interrupted:
            return f"by {self.stop.by} at step {step} of {steps}"
        if step >= steps:
            return ""
        if self.early.wait_count >= self.early.patience:
            epochs = "epoch" if config.patience == 1 else "epochs"
            return f"no better {config.monitor} in {config.patience} {epochs}"
        return f"after training.max_minutes {config.max_minutes:g}"

    def facts(self) -> dict[str, Any]:
        """How the training went, for `metrics.json`."""
        monitor = self.settings.training.monitor
        minutes = round(self.journal.minutes + self.seconds / 60, 2)
        best = rounded(self.scores[monitor])
        return {"minutes": minutes, "steps": self.trainer.global_step, "monitor": monitor, "best": best}
