"""What happens around the steps: Ctrl-C, the journal of scores, and the progress bar."""

import csv
import io
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from selfattn_lm.runs import write_text
from selfattn_lm.text.batching import Batch

log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The user asked to stop."""


class StopOnRequest(Callback):
    """Ctrl-C ends the run after the step at hand; a second one ends it at once."""

    asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C while training; a thread of the user's own is left alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_end(self, *args: Any) -> None:
        """Stop between two steps. Nothing is validated or saved here: `--resume` repeats from the last checkpoint."""
        if self.asked:
            raise Interrupted


class Journal(Callback):
    """Writes `log.csv`, a row for each validation, and shows how far the run is.

    The rows are part of the checkpoint, so that a run taken up again keeps those of its past and no others.
    """

    def __init__(self, file: Path, total_steps: int) -> None:
        self.file, self.total_steps = file, total_steps
        self.rows: list[dict[str, Any]] = []
        self.minutes = 0.0  # of earlier sessions
        self.display = _Display(total_steps)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.start = self.since = time.monotonic()
        self.first_step = trainer.global_step
        self.tokens = self.batches = 0
        self.loss = torch.zeros((), device=pl_module.device)
        if trainer.is_global_zero:
            self.display.open()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count tokens, and refresh the bar twice a second."""
        self.tokens += int(batch.keep.sum())
        self.batches += 1
        self.loss += outputs["loss"].detach()
        if trainer.is_global_zero:
            self.display.show(trainer, self._now, self.rows[-1] if self.rows else None)

    def _now(self) -> dict[str, float]:
        speed = self.tokens / max(1e-9, time.monotonic() - self.since)
        return {"train_loss": round(float(self.loss) / max(1, self.batches), 4), "tokens_per_s": round(speed)}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the speed before the validation, which is not training."""
        self.measured = self._now()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the row of this validation."""
        scores = {k.split("/")[1]: round(float(v), 4) for k, v in trainer.callback_metrics.items() if "validation/" in k}
        now = time.monotonic()
        minutes = self.minutes + (now - self.start) / 60
        place = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step, "minutes": round(minutes, 2)}
        renamed = {"validation_" + name: value for name, value in sorted(scores.items())}
        self.rows.append({**place, **self.measured, **renamed})
        self.tokens = self.batches = 0
        self.loss = torch.zeros_like(self.loss)
        self.since = now
        if trainer.is_global_zero:
            text = io.StringIO()
            writer = csv.DictWriter(text, self.rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
            write_text(self.file, text.getvalue())
            left = (self.total_steps - trainer.global_step) * (now - self.start) / max(1, trainer.global_step - self.first_step)
            self.display.say(self.rows[-1], trainer.max_epochs, left)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Close the bar, whatever ended the run."""
        self.display.close()

    def state_dict(self) -> dict[str, Any]:
        """Plain values alone."""
        return {"rows": self.rows, "minutes": self.rows[-1]["minutes"] if self.rows else 0.0}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the rows of the past."""
        self.rows, self.minutes = list(state_dict["rows"]), state_dict["minutes"]


class _Display:
    """One bar for the whole run on a terminal; elsewhere a line for each validation."""

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps
        self.progress: Progress | None = None
        self.refreshed = 0.0

    def open(self) -> None:
        if sys.stderr.isatty() and log.isEnabledFor(logging.INFO):
            columns = (TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[state]}"))
            console = Console(stderr=True)
            self.progress = Progress(*columns, TimeRemainingColumn(compact=True), TextColumn("left"), console=console)
            self.task = self.progress.add_task("training", total=self.total_steps, state="")
            self.progress.start()

    def show(self, trainer: Trainer, now: Any, last: dict[str, Any] | None) -> None:
        if self.progress is None or time.monotonic() - self.refreshed < 0.5:
            return
        self.refreshed = time.monotonic()
        values = now()
        state = f"loss {values['train_loss']:.3f}  {values['tokens_per_s']:,} tokens/s"
        if last:
            state = f"macro-F1 {100 * last['validation_macro_f1']:.2f}  " + state
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self.progress.update(self.task, completed=trainer.global_step, description=epoch, state=state)

    def say(self, row: dict[str, Any], epochs: int | None, seconds_left: float) -> None:
        if self.progress is None:
            log.info(
                "epoch %d/%s  loss %.3f  validation accuracy %.2f  macro-F1 %.2f  %s tokens/s  %.1f min left",
                row["epoch"], epochs, row["train_loss"], 100 * row["validation_accuracy"],
                100 * row["validation_macro_f1"], f"{row['tokens_per_s']:,}", seconds_left / 60,
            )  # fmt: skip

    def close(self) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None
