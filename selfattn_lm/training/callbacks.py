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


class Journal(Callback):
    """Writes `log.csv`, a row for each validation, and shows how far the run is.

    The rows are part of the checkpoint, so that a run taken up again keeps those of its past and no others.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.total_steps = file, 0
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

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.tokens += int(batch.keep.sum())
        self.loss += outputs["loss"].detach()
        self.batches += 1
        if self.progress is not None and time.monotonic() - self.shown > 0.5:
            self.shown, now = time.monotonic(), self._now()
            score = f"  macro-F1 {100 * self.rows[-1]['validation_macro_f1']:.2f}" if self.rows else ""
            state = f"loss {now['train_loss']:.3f}  {now['tokens_per_s']:,} tokens/s{score}"
            epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            self.progress.update(self.bar, completed=trainer.global_step, description=epoch, state=state)

    def _now(self) -> dict[str, float]:
        speed = round(self.tokens / max(1e-9, time.monotonic() - self.since))
        return {"train_loss": round(float(self.loss) / max(1, self.batches), 4), "tokens_per_s": speed}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.measured = self._now()  # before the validation, which is not training

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        elapsed = time.monotonic() - self.start
        minutes = round(self.minutes + elapsed / 60, 2)
        scores = {name: trainer.callback_metrics[f"validation/{name}"] for name in ("loss", "accuracy", "macro_f1")}
        row = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step, "minutes": minutes, **self.measured}
        row |= {f"validation_{name}": round(float(value), 4) for name, value in scores.items()}
        self.rows.append(row)
        self._reset()
        if trainer.is_global_zero:
            text = io.StringIO()
            writer = csv.DictWriter(text, row, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
            write_text(self.file, text.getvalue())
        if trainer.is_global_zero and self.progress is None:
            left = (self.total_steps - trainer.global_step) * elapsed / max(1, trainer.global_step - self.first_step)
            accuracy, macro_f1 = (100 * row[f"validation_{name}"] for name in ("accuracy", "macro_f1"))
            log.info(
                f"epoch {row['epoch']}/{trainer.max_epochs}  loss {row['train_loss']:.3f}  validation accuracy"
                f" {accuracy:.2f}, macro-F1 {macro_f1:.2f}  {row['tokens_per_s']:,} tokens/s  {left / 60:.1f} min left"
            )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "minutes": self.rows[-1]["minutes"] if self.rows else 0.0}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.minutes = list(state_dict["rows"]), state_dict["minutes"]
