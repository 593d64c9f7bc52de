"""One training of a study: it runs in a temporary folder, is timed, and its model is measured."""

import tempfile
import time
from pathlib import Path
from typing import Any

from selfattn_lm.config import Settings
from selfattn_lm.data.examples import Split
from selfattn_lm.errors import Interrupted
from selfattn_lm.training import TrainResult, open_run, train_classifier


def train_cell(settings: Settings, splits: dict[str, Split]) -> tuple[TrainResult, dict[str, Any]]:
    """Train one model in a temporary folder, which is removed afterwards.

    Returns:
        The result, without its folder; and the number of `parameters` and the training `seconds`.

    Raises:
        Interrupted: The training was stopped. An unfinished training is not a cell.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        run = open_run(settings, Path(temporary) / "run")
        result = train_classifier(run, splits)
    if result.resumable:
        raise Interrupted("the training was stopped.")
    seconds = time.monotonic() - started
    model = result.classifier.run.model
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return result, {"parameters": parameters, "seconds": seconds}
