"""What speech.py and image.py share: a timed training, a table, and errors in one line."""

import importlib.util
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from selfattn_lm import Interrupted, UserError, fit
from selfattn_lm.runs.layout import CHECKPOINTS
from selfattn_lm.tasks.confusion import wilson_interval

# Sequences of vectors, each (T, F), and the label of each.
Rows = tuple[Sequence[np.ndarray], np.ndarray]


def run_script(main: Callable[[], None]) -> int:
    """Run a script and return its exit code: 2 after an error that its user can fix."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("selfattn_lm").setLevel(logging.INFO)  # a line per finished training
    code = 0
    try:
        main()
    except UserError as error:
        print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
        code = 2
    except Interrupted as interruption:
        print(f"{Path(sys.argv[0]).stem}: {interruption}", file=sys.stderr)
        code = 130
    return code


def require_scikit_learn() -> None:
    """Refuse to start without scikit-learn: before the training, not after it."""
    if importlib.util.find_spec("sklearn") is None:
        advice = "pip install 'selfattn_lm[study]'"
        raise UserError(f"scikit-learn is missing, which trains the models beside ours; {advice}.")


def train_and_score(
    train: Rows, validation: Rows, test: Rows, out: Path, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Train a model of this package, which stays in `out`, and score it on the test split."""
    started = time.monotonic()
    classifier = fit(*train, validation=validation, out=out, overwrite=True, **settings)
    if (out / CHECKPOINTS).exists():  # Ctrl-C stopped it, and what it reached is not its result
        raise KeyboardInterrupt
    seconds = time.monotonic() - started
    sequences, labels = test
    return score(classifier.predict(sequences), labels, seconds)


def score(predicted: Any, labels: np.ndarray, seconds: float) -> dict[str, Any]:
    """The accuracy with its 95 % interval (Wilson), the number of test rows, and the seconds."""
    right = int((np.asarray(predicted) == labels).sum())
    low, high = wilson_interval(right, len(labels))
    accuracy = {"value": right / len(labels), "low": low, "high": high}
    return {"accuracy": accuracy, "rows": len(labels), "seconds": seconds}


SCORE_HEADINGS = ["test rows", "accuracy", "95 % interval", "seconds"]


def score_cells(result: Mapping[str, Any]) -> list[str]:
    """The cells of a table for one result, below `SCORE_HEADINGS`."""
    accuracy = result["accuracy"]
    interval = f"{100 * accuracy['low']:.1f} to {100 * accuracy['high']:.1f}"
    value = f"{100 * accuracy['value']:.1f}"
    return [str(result["rows"]), value, interval, f"{result['seconds']:.0f}"]


def print_table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown, with columns of even width."""
    table = Table(*headings, box=MARKDOWN)
    for line in lines:
        table.add_row(*line)
    Console(width=160, highlight=False).print(table)
