"""One training among the many of a study: in a folder that goes with it, timed and measured."""

import tempfile
import time
from pathlib import Path
from typing import Any

from selfattn_lm.config import Settings
from selfattn_lm.data.sources import Split
from selfattn_lm.training import TrainResult, open_run, train_classifier


def train_cell(settings: Settings, splits: dict[str, Split]) -> tuple[TrainResult, dict[str, Any]]:
    """Train once; returns the result, whose folder is gone, and the cell's `parameters` and training `seconds`.

    Raises KeyboardInterrupt if it was stopped: half a training is not a cell.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        run = open_run(settings, Path(temporary) / "run")
        result = train_classifier(run, splits)
    if result.resumable:
        raise KeyboardInterrupt
    seconds = time.monotonic() - started
    parameters = sum(parameter.numel() for parameter in result.classifier.run.model.parameters())
    return result, {"parameters": parameters, "seconds": seconds}
