"""How far a run is: a line for each validation, a bar on a terminal, and the minutes left."""

import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from selfattn_lm.inputs import Batch
from selfattn_lm.runs import write_text

log = logging.getLogger(__name__)
_FIRST_MEASURED, _LAST_MEASURED = 5, 45  # batches; the first few are slower than the rest
# The names of scores as they are shown: of fractions, in percent; of other numbers.
_FRACTIONS = {"accuracy": "accuracy", "micro_f1": "micro-F1", "macro_f1": "macro-F1"}
_NUMBERS = {"r2": "R²", "pearson": "Pearson", "spearman": "Spearman"}
_BAR_SECONDS = 0.5  # between two updates of the bar


class ProgressLog(Callback):
    """Writes `log.csv`, a row for each validation, and shows how far the run is.

    The rows are part of the checkpoint. After the first steps it says how many minutes the run will
    take.

    Args:
        file: The path of `log.csv`.
        tokens: How many tokens the run trains on in all, its validations included.
    """

    def __init__(self, file: Path, tokens: float) -> None:
        self.file = file
        self.all_tokens = tokens
        self.total_steps = 0
        self.rows: list[dict[str, Any]] = []
        self.minutes = 0.0  # of earlier sessions
        self.progress: Progress | None = None
        self._begin_interval()

    def _begin_interval(self) -> None:
        """Begin to measure loss and speed again, as after each validation."""
        self.interval_began = time.monotonic()
        self.bar_updated = self.interval_began
        self.tokens = 0
        self.loss: Any = 0.0
        self.batches = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.total_steps = int(trainer.estimated_stepping_batches)
        self.session_began = time.monotonic()
        self.first_step = trainer.global_step
        self._begin_interval()
        is_shown = sys.stderr.isatty() and log.isEnabledFor(logging.INFO)
        if trainer.is_global_zero and is_shown:
            self.progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(20),
                TextColumn("{task.fields[state]}"),
                TimeRemainingColumn(compact=True),
                TextColumn("left"),
                console=Console(stderr=True),
            )
            self.bar = self.progress.add_task("training", total=self.total_steps, state="")
            self.progress.start()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch, _: int
    ) -> None:
        self.tokens += int(batch.inputs.attention_mask.sum())
        # Lightning divides the loss by the number of accumulated batches.
        self.loss += outputs["loss"].detach() * trainer.accumulate_grad_batches
        self.batches += 1
        if not self.rows and trainer.is_global_zero:
            self._estimate_minutes()
        if self.progress is not None and time.monotonic() - self.bar_updated > _BAR_SECONDS:
            self._update_bar(trainer, self.progress)

    def _update_bar(self, trainer: Trainer, progress: Progress) -> None:
        self.bar_updated = time.monotonic()
        now = self._loss_and_speed()
        state = f"loss {now['train_loss']:.3f}  {now['tokens_per_s']:,} tokens/s"
        if self.rows:
            state += f"  {_shown_scores(self.rows[-1])}"
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        progress.update(self.bar, completed=trainer.global_step, description=epoch, state=state)

    def _estimate_minutes(self) -> None:
        """Say how long all epochs will take, when some batches of the first one are measured."""
        if self.batches == _FIRST_MEASURED:
            self.measured_from = time.monotonic()
            self.measured_tokens = self.tokens
        if self.batches == _LAST_MEASURED and self.total_steps > 2 * _LAST_MEASURED:
            seconds = time.monotonic() - self.measured_from
            speed = (self.tokens - self.measured_tokens) / seconds
            minutes = self.all_tokens / speed / 60
            line = f"time        up to {minutes:.1f} min for all epochs ({round(speed):,} tokens/s)"
            if self.progress is not None:
                self.progress.console.print(line)
            else:
                log.info(line)

    def _loss_and_speed(self) -> dict[str, float]:
        """The mean loss and the speed since the last validation."""
        seconds = max(1e-9, time.monotonic() - self.interval_began)
        loss = float(self.loss) / max(1, self.batches)
        return {"train_loss": round(loss, 4), "tokens_per_s": round(self.tokens / seconds)}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.measured = self._loss_and_speed()  # before the validation, which is not training

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        elapsed = time.monotonic() - self.session_began
        row: dict[str, Any] = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "minutes": round(self.minutes + elapsed / 60, 2),
            **self.measured,
        }
        for name in ("loss", *_FRACTIONS, *_NUMBERS):
            score = trainer.callback_metrics.get(f"validation/{name}")
            if score is not None:
                row[f"validation_{name}"] = rounded(score)
        self.rows.append(row)
        self._begin_interval()
        if trainer.is_global_zero:
            self._write_rows()
        if trainer.is_global_zero and self.progress is None:
            steps_left = self.total_steps - trainer.global_step
            steps_done = max(1, trainer.global_step - self.first_step)
            minutes_left = steps_left * elapsed / steps_done / 60
            log.info(
                f"epoch {row['epoch']}/{trainer.max_epochs}  loss {row['train_loss']:.3f}"
                f"  validation {_shown_scores(row)}  {row['tokens_per_s']:,} tokens/s"
                f"  {minutes_left:.1f} min left"
            )

    def _write_rows(self) -> None:
        lines = [",".join(self.rows[0])]
        for row in self.rows:
            lines.append(",".join(str(value) for value in row.values()))
        # `RunFolder.commit` has the system write it to the disk.
        write_text(self.file, "\n".join(lines) + "\n", durable=False)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def state_dict(self) -> dict[str, Any]:
        minutes = 0.0
        if self.rows:
            minutes = self.rows[-1]["minutes"]
        return {"rows": self.rows, "minutes": minutes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])
        self.minutes = state_dict["minutes"]


def rounded(score: Any) -> float:
    """Round a score as `log.csv` and `metrics.json` have it."""
    return round(float(score), 6)


def _shown_scores(row: Mapping[str, Any]) -> str:
    """`accuracy 90.12, macro-F1 89.95`, of a row of `log.csv`."""
    shown = []
    for name, shown_name in _FRACTIONS.items():
        value = row.get(f"validation_{name}")
        if value is not None:
            shown.append(f"{shown_name} {100 * value:.2f}")
    for name, shown_name in _NUMBERS.items():
        value = row.get(f"validation_{name}")
        if value is not None:
            shown.append(f"{shown_name} {value:.4f}")
    return ", ".join(shown)
