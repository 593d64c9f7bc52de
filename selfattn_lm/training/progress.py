"""How far a run is: a line for each validation, a bar on a terminal, and the minutes it will take."""

import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from selfattn_lm.features.batching import Batch
from selfattn_lm.runs import write_text

log = logging.getLogger(__name__)
_SLOW, _TOLD = 5, 45  # steps: the first few are slower than the rest, and after so many the minutes can be told
_SHOWN = {"accuracy": "accuracy", "macro_f1": "macro-F1"}


class Journal(Callback):
    """Writes `log.csv`, a row for each validation (they are part of the checkpoint), and shows how far the run is.

    From its first steps it tells how many minutes are to come, for `tokens` to train on and to validate in all.
    """

    def __init__(self, file: Path, tokens: float) -> None:
        self.file, self.all_tokens, self.total_steps = file, tokens, 0
        self.rows: list[dict[str, Any]] = []
        self.minutes = 0.0  # of earlier sessions
        self.progress: Progress | None = None
        self._reset()

    def _reset(self) -> None:
        self.since = self.shown = time.monotonic()
        self.tokens, self.loss, self.batches = 0, 0.0, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.total_steps = int(trainer.estimated_stepping_batches)
        self.start, self.first_step = time.monotonic(), trainer.global_step
        self._reset()
        if trainer.is_global_zero and sys.stderr.isatty() and log.isEnabledFor(logging.INFO):
            columns = (TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[state]}"))
            left = (TimeRemainingColumn(compact=True), TextColumn("left"))
            self.progress = Progress(*columns, *left, console=Console(stderr=True))
            self.bar = self.progress.add_task("training", total=self.total_steps, state="")
            self.progress.start()

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch, _: int) -> None:
        self.tokens += int(batch.attention_mask.sum())
        self.loss += outputs["loss"].detach() * trainer.accumulate_grad_batches  # by which Lightning divides it
        self.batches += 1
        if not self.rows and trainer.is_global_zero:
            self._tell_the_time()
        if self.progress is not None and time.monotonic() - self.shown > 0.5:
            self.shown, now = time.monotonic(), self._now()
            state = f"loss {now['train_loss']:.3f}  {now['tokens_per_s']:,} tokens/s"
            state += f"  {_scores(self.rows[-1])}" if self.rows else ""
            epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            self.progress.update(self.bar, completed=trainer.global_step, description=epoch, state=state)

    def _tell_the_time(self) -> None:
        if self.batches == _SLOW:
            self.measured_from = time.monotonic(), self.tokens
        if self.batches == _TOLD and self.total_steps > 2 * _TOLD:
            since, tokens = self.measured_from
            speed = (self.tokens - tokens) / (time.monotonic() - since)
            minutes = self.all_tokens / speed / 60
            say = self.progress.console.print if self.progress is not None else log.info
            say(
                f"time        about {minutes:.1f} minutes, if all epochs are needed: {round(speed):,} tokens/s at first"
            )

    def _now(self) -> dict[str, float]:
        speed = round(self.tokens / max(1e-9, time.monotonic() - self.since))
        return {"train_loss": round(float(self.loss) / max(1, self.batches), 4), "tokens_per_s": speed}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.measured = self._now()  # before the validation, which is not training

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        elapsed = time.monotonic() - self.start
        minutes = round(self.minutes + elapsed / 60, 2)
        row = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step, "minutes": minutes, **self.measured}
        metrics = {name.replace("/", "_"): value for name, value in trainer.callback_metrics.items()}
        names = [f"validation_{name}" for name in ("loss", *_SHOWN)]
        row |= {name: rounded(metrics[name]) for name in names if name in metrics}
        self.rows.append(row)
        self._reset()
        if trainer.is_global_zero:
            lines = [",".join(row), *(",".join(map(str, numbers.values())) for numbers in self.rows)]
            write_text(self.file, "\n".join(lines) + "\n", durable=False)  # `RunFolder.commit` syncs it
        if trainer.is_global_zero and self.progress is None:
            left = (self.total_steps - trainer.global_step) * elapsed / max(1, trainer.global_step - self.first_step)
            log.info(
                f"epoch {row['epoch']}/{trainer.max_epochs}  loss {row['train_loss']:.3f}  validation {_scores(row)}"
                f"  {row['tokens_per_s']:,} tokens/s  {left / 60:.1f} min left"
            )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "minutes": self.rows[-1]["minutes"] if self.rows else 0.0}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.minutes = list(state_dict["rows"]), state_dict["minutes"]


def rounded(score: Any) -> float:
    """A score as `log.csv` and `metrics.json` write it."""
    return round(float(score), 6)


def _scores(row: Mapping[str, Any]) -> str:
    """`accuracy 90.12, macro-F1 89.95` of a row of `log.csv`."""
    shown = {name: row.get(f"validation_{key}") for key, name in _SHOWN.items()}
    return ", ".join(f"{name} {100 * value:.2f}" for name, value in shown.items() if value is not None)
