"""The fit of one run: what it prepares, how it ends, and what it leaves."""

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning.pytorch import Trainer
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from selfattn_lm.config import Resolved, ResolvedTraining
from selfattn_lm.errors import Interrupted, UserError
from selfattn_lm.hardware import can_reduce_sparse_gradients, choose_device, flushed_denormals
from selfattn_lm.inputs import Batch
from selfattn_lm.phrases import counted
from selfattn_lm.runs import LAST, RunFolder
from selfattn_lm.training.callbacks import StopRequested
from selfattn_lm.training.data import TokenizedDataset, train_loader, validation_loader
from selfattn_lm.training.modules import BaseModule, NotFinite
from selfattn_lm.training.optimizer import use_dense_gradients
from selfattn_lm.training.processes import is_lost_process
from selfattn_lm.training.progress import rounded
from selfattn_lm.training.resolve import validation_interval
from selfattn_lm.training.trainer import RunTrainer

# Lightning's warnings that do not concern a run of ours.
_HARMLESS = (
    "does not have many workers",
    "exists and is not empty",
    "not resumable",
    "LeafSpec",
    "sync_dist=True",
)


@dataclass(frozen=True)
class FitOutcome:
    """How a fit ended; its best weights are in the module.

    Attributes:
        scores: The scores of the best validation, by name.
        monitor: The score by which it was chosen.
        steps: The number of steps.
        minutes: The time that training took, in all its sessions.
        stopped: Why it ended before its last epoch, or nothing.
        is_interrupted: Whether the user interrupted it, so that it can be resumed.
        not_finite: What happened if the loss was NaN or infinite, or nothing.
    """

    scores: dict[str, float]
    monitor: str
    steps: int
    minutes: float
    stopped: str
    is_interrupted: bool
    not_finite: str

    def summary(self) -> dict[str, Any]:
        """Plain facts for `metrics.json`."""
        return {
            "minutes": self.minutes,
            "steps": self.steps,
            "monitor": self.monitor,
            "best": rounded(self.scores[self.monitor]),
            "stopped": self.stopped,
        }

    def raise_if_not_finite(self, folder: RunFolder) -> None:
        """Raise a UserError if the loss was not finite; the run holds the weights before that."""
        if self.not_finite:
            kept = "the run keeps the best weights from before"
            raise UserError(f"{folder.name}: {self.not_finite}; {kept}.")


def fit_module(
    run_trainer: RunTrainer,
    module: BaseModule,
    train: TokenizedDataset,
    validation: TokenizedDataset,
    resolved: Resolved,
    folder: RunFolder,
    *,
    resume: bool,
) -> FitOutcome:
    """Train a module, and leave the weights that validated best in it.

    Args:
        run_trainer: The trainer, from `build_trainer`.
        module: The model with its loss.
        train: The training split.
        validation: The validation split.
        resolved: The settings of the run.
        folder: The run folder, which `RunFolder.begin` has made.
        resume: Whether to continue from the last checkpoint in the folder.

    Raises:
        UserError: The loss was not finite before the first validation, or another process ended.
        Interrupted: It was interrupted before the first validation.
    """
    trainer = run_trainer.trainer
    config = resolved.training
    _share_no_buffers(module)
    if not can_reduce_sparse_gradients(choose_device(config.accelerator), trainer.world_size):
        use_dense_gradients(module)
    ranks = (trainer.global_rank, trainer.world_size)
    loader = train_loader(train, config, resolved.seed, *ranks)
    _set_validation_interval(run_trainer, config, batches=len(loader))
    started = time.monotonic()
    ended_by = _fit(
        run_trainer,
        module,
        loader,
        validation_loader(validation, config, *ranks),
        folder,
        checkpoint=folder.work / LAST if resume else None,
    )
    minutes = run_trainer.progress.minutes + (time.monotonic() - started) / 60
    is_interrupted = isinstance(ended_by, StopRequested)
    not_finite = ""
    if isinstance(ended_by, NotFinite):
        not_finite = f"{ended_by}; {_advice(config)}"
    best = Path(run_trainer.best.best_model_path)
    if not best.is_file():
        # A process that ends with an error may have the others ended: wait until all are here.
        wait_for_all(trainer, folder)
        _nothing_kept(folder, resume, is_interrupted, not_finite)
    # Mapped, so that the moments of the optimizer beside the weights are not read.
    kept = torch.load(best, weights_only=True, map_location="cpu", mmap=True)
    module.load_best(kept)
    wait_for_all(trainer, folder)  # until all have read it, the first process moves nothing
    scores = {}
    for name, score in kept["scores"].items():
        scores[name.removeprefix("validation/")] = score
    stopped = not_finite
    if not stopped:
        stopped = _why_it_stopped(run_trainer, config, is_interrupted)
    return FitOutcome(
        scores=scores,
        monitor=config.monitor,
        steps=trainer.global_step,
        minutes=round(minutes, 2),
        stopped=stopped,
        is_interrupted=is_interrupted,
        not_finite=not_finite,
    )


def _set_validation_interval(
    run_trainer: RunTrainer, config: ResolvedTraining, batches: int
) -> None:
    """Set how many of the batches of an epoch lie between two validations, and the patience."""
    interval = validation_interval(batches, config.validations_per_epoch, config.accumulate_batches)
    run_trainer.trainer.val_check_interval = interval
    # Lightning counts patience in validations, the setting in epochs.
    run_trainer.early_stopping.patience = config.patience * (batches // interval)


def _fit(
    run_trainer: RunTrainer,
    module: BaseModule,
    train: DataLoader[Batch],
    validation: DataLoader[Batch],
    folder: RunFolder,
    *,
    checkpoint: Path | None,
) -> Exception | None:
    """Let Lightning train; returns what ended it early, if the run has something to save then."""
    with run_trainer.stop.listening(), flushed_denormals(), warnings.catch_warnings():
        for harmless in _HARMLESS:
            warnings.filterwarnings("ignore", message=f".*{harmless}.*")
        try:
            run_trainer.trainer.fit(
                module, train, validation, ckpt_path=checkpoint, weights_only=True
            )
        except (StopRequested, NotFinite) as reason:
            return reason
        except SystemExit:  # Lightning's answer to a second Ctrl-C
            raise KeyboardInterrupt from None
        except RuntimeError as error:
            raise_if_lost(error, folder)
            raise
    return None


def _share_no_buffers(module: BaseModule) -> None:
    """Keep torch from sending buffers, which never change, to all processes in each validation.

    It would need as many batches in each process.
    """
    buffers = [name for name, _ in module.named_buffers()]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(  # type: ignore[no-untyped-call]
        module, buffers
    )


def wait_for_all(trainer: Trainer, folder: RunFolder) -> None:
    """Wait until all processes of the run are here."""
    try:
        trainer.strategy.barrier()
    except RuntimeError as error:
        raise_if_lost(error, folder)
        raise


def raise_if_lost(error: RuntimeError, folder: RunFolder) -> None:
    """Raise a UserError if an error means that another process of the run has ended."""
    if is_lost_process(error):
        reason = "another process of the run has ended, and its last words say why"
        raise UserError(f"{folder.name}: {reason}; {folder.how_to_resume()}") from None


def _nothing_kept(
    folder: RunFolder, resume: bool, is_interrupted: bool, not_finite: str
) -> NoReturn:
    """End a run that has validated nothing; a resumed one still has its checkpoint."""
    if not_finite:
        raise UserError(f"{folder.name}: {not_finite}.")
    if resume:
        reason = f"{folder.name}: stopped before another validation; {folder.how_to_resume()}"
    else:
        reason = "stopped before the first validation, so no weights were saved"
        reason = f"{folder.name}: {reason}; train again."
    if is_interrupted:
        raise Interrupted(reason)
    raise UserError(reason)


def _advice(config: ResolvedTraining) -> str:
    """What usually helps where the loss is not finite."""
    rate = config.learning_rate
    advice = f"a lower training.learning_rate than {rate:g} usually helps"
    if config.precision != "32":
        advice += f", or training.precision 32 instead of {config.precision}"
    return advice


def _why_it_stopped(run_trainer: RunTrainer, config: ResolvedTraining, is_interrupted: bool) -> str:
    """Why training ended before its last epoch, or nothing."""
    step, steps = run_trainer.trainer.global_step, run_trainer.progress.total_steps
    if is_interrupted:
        return f"by {run_trainer.stop.by} at step {step} of {steps}"
    if step >= steps:
        return ""
    early_stopping = run_trainer.early_stopping
    if early_stopping.wait_count >= early_stopping.patience:
        return f"no better {config.monitor} in {counted(config.patience, 'epoch')}"
    return f"after training.max_minutes {config.max_minutes:g}"
