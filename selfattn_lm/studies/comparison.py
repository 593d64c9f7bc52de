"""Attention, CNN, LSTM, bag of embeddings and TF-IDF, compared on growing parts of a dataset."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from selfattn_lm.config import STUDIED, Settings
from selfattn_lm.data.checks import text_warnings
from selfattn_lm.data.examples import Split
from selfattn_lm.errors import UserError
from selfattn_lm.inference import TextClassifier
from selfattn_lm.studies.cell import train_cell
from selfattn_lm.studies.grid import Cell, Grid
from selfattn_lm.studies.linear import train_tfidf
from selfattn_lm.studies.picture import draw_comparison, require_matplotlib
from selfattn_lm.studies.results import StudyResult
from selfattn_lm.tasks import SingleLabel, choose_task
from selfattn_lm.training.data import hold_out, training_splits

log = logging.getLogger(__name__)

_MIN_ROWS_PER_LABEL = 2  # on average, in a part of the training split
_TIMED_TEXTS = 2000  # enough to measure the speed of prediction


def compare(
    splits: dict[str, Split],
    settings: Settings,
    folder: Path,
    kinds: Sequence[str],
    percentages: Sequence[float],
    seeds: int,
) -> StudyResult:
    """Train each kind of model on each percentage of the training rows, with each seed.

    The neural models share all `settings`: features, regularisation and budget. Only their encoders
    differ. None has an n-gram branch, which would be the same in all of them. Every model uses the
    same validation split to choose its weights and is scored on the same test split.

    Args:
        splits: `train` and `test`; without `validation`, part of `train` is held out.
        settings: The settings of all models.
        folder: The folder of the study. An unfinished study in it is continued.
        kinds: The kinds of models, from `STUDIED`.
        percentages: How much of the training rows to use, each above 0 and at most 100.
        seeds: The number of seeds; TF-IDF is trained once.

    Raises:
        UserError: An argument is wrong, there is no test split, or the folder holds something else.
    """
    _check_arguments(kinds, percentages)
    require_matplotlib()  # before hours of training, not after them
    if "test" not in splits:
        source = splits["train"].source
        raise UserError(f"{source}: a study needs a test split; name a file with --data.test.")
    if splits["train"].pairs is not None:
        advice = "--data.pair-column none reads the first texts alone"
        raise UserError(f"study: compares classifiers of single texts, not of pairs; {advice}.")
    if splits["train"].has_vectors:
        raise UserError("study: compares classifiers of texts, not of vectors; name other data.")
    task = choose_task(splits)
    if not isinstance(task, SingleLabel):
        reason = f"compares classifiers of one label per text, and these data have {task.card()}"
        raise UserError(f"study: {reason}.")
    for message in [*task.warnings(splits), *text_warnings(splits)]:
        log.warning("%s", message)
    without_shots = replace(settings.data, shots=0)  # which each training applies itself
    splits = training_splits(splits, without_shots, task, settings.seed)
    usable = _large_enough(percentages, splits["train"], task.outputs)
    cells = _plan(kinds, usable, settings.seed, seeds)
    descriptions = {}
    for name, split in splits.items():
        descriptions[name] = {**split.describe(), **task.describe(split.targets)}
    grid = Grid(folder, {"settings": asdict(settings), "data": descriptions})
    compute = partial(_train_and_score, splits=splits, settings=settings, task=task)
    result = StudyResult(folder, grid.fill(cells, compute))
    result.write(draw_comparison)
    return result


def _check_arguments(kinds: Sequence[str], percentages: Sequence[float]) -> None:
    for kind in kinds:
        if kind not in STUDIED:
            raise UserError(f"study: unknown kind {kind!r}; choose from {', '.join(STUDIED)}.")
    for percentage in percentages:
        if not 0 < percentage <= 100:
            raise UserError(
                f"study: shares must be above 0 % and at most 100 %, got {percentage:g} %."
            )


def _large_enough(percentages: Sequence[float], train: Split, labels: int) -> list[float]:
    """The percentages, ascending, that leave two training rows per label; others are logged."""
    needed_rows = _MIN_ROWS_PER_LABEL * labels
    usable: list[float] = []
    too_small: list[str] = []
    for percentage in sorted(percentages):
        text = f"{percentage:g} %"
        if len(train) * percentage >= 100 * needed_rows:
            usable.append(percentage)
        elif text not in too_small:
            too_small.append(text)
    if too_small:
        log.warning(
            "%s: skipping %s: fewer than two rows per label", train.source, ", ".join(too_small)
        )
    return usable


def _plan(
    kinds: Sequence[str], percentages: Sequence[float], first_seed: int, seeds: int
) -> list[Cell]:
    """The cells of a study, the smallest parts of the data first."""
    cells: list[Cell] = []
    for percentage in percentages:
        for kind in kinds:
            runs = seeds
            if kind == "tfidf":  # it draws no random numbers
                runs = 1
            for seed in range(first_seed, first_seed + runs):
                cells.append({"kind": kind, "share": percentage, "seed": seed})
    return cells


def _train_and_score(
    cell: Cell, splits: dict[str, Split], settings: Settings, task: SingleLabel
) -> dict[str, Any]:
    train = splits["train"]
    if cell["share"] < 100:  # a stratified sample, with at least one row of each label
        _, train = hold_out(train, cell["share"] / 100, task, settings.seed)
    if cell["kind"] == "tfidf":
        return train_tfidf(train, splits["test"], task)

    model = replace(settings.model, kind=cell["kind"], ngram_branch=False)
    settings = replace(settings, seed=cell["seed"], model=model)
    result, measured = train_cell(settings, {**splits, "train": train})
    test_scores = result.evaluations["test"].values
    return {
        "accuracy": test_scores["accuracy"],
        "macro_f1": test_scores["macro_f1"],
        **measured,
        "texts_per_s": _prediction_speed(result.classifier, splits["test"].texts),
        "rows": len(train),
    }


def _prediction_speed(classifier: TextClassifier, texts: Sequence[str]) -> float:
    """Predicted texts per second."""
    sample = texts[:_TIMED_TEXTS]
    started = time.monotonic()
    classifier.predict_proba(sample)
    return len(sample) / (time.monotonic() - started)
