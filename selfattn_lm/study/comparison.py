"""Attention, CNN, LSTM, bag of embeddings and TF-IDF on the same splits, at growing shares of the training data."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from selfattn_lm.config import STUDIED, Settings
from selfattn_lm.data.checks import leaked_texts, warnings_about
from selfattn_lm.data.holdout import hold_out
from selfattn_lm.data.labels import label_names
from selfattn_lm.data.sources import Split
from selfattn_lm.errors import UserError
from selfattn_lm.study.cell import train_cell
from selfattn_lm.study.grid import Cell, Grid
from selfattn_lm.study.linear import tfidf
from selfattn_lm.study.picture import draw_comparison, require_matplotlib
from selfattn_lm.study.results import StudyResult

log = logging.getLogger(__name__)


def compare(
    splits: dict[str, Split],
    settings: Settings,
    folder: Path,
    kinds: Sequence[str],
    shares: Sequence[float],
    seeds: int,
) -> StudyResult:
    """Train each kind on each share of train with each seed; the same validation chooses, the same test is scored.

    All embeddings have the same features, regularisation and budget, those of `settings`: what differs is the encoder.
    """
    if unknown := [kind for kind in kinds if kind not in STUDIED]:
        raise UserError(f"study: no kind {unknown[0]!r}; there are {', '.join(STUDIED)}.")
    if wrong := [share for share in shares if not 0 < share <= 100]:
        raise UserError(f"study: a share of {wrong[0]:g} % is not above 0 and at most 100.")
    require_matplotlib()  # before hours of training, not after
    if "test" not in splits:
        raise UserError(f"{splits['train'].where}: a study needs a test split; name a file with --data.test.")
    for sentence in warnings_about(splits):
        log.warning("%s", sentence)
    if "validation" not in splits:
        splits["train"], splits["validation"] = hold_out(
            splits["train"], settings.data.validation_fraction, settings.seed
        )
        for sentence in leaked_texts(splits["train"], splits["validation"], "held-out"):
            log.warning("%s", sentence)
    labels = label_names(splits)
    enough = [share for share in sorted(shares) if len(splits["train"]) * share >= 200 * len(labels)]
    if few := sorted(set(shares) - set(enough)):
        text = ", ".join(f"{share:g} %" for share in few)
        log.warning("%s: of %s there are not two rows a label, so they are left out", splits["train"].where, text)
    facts = {"settings": asdict(settings), "data": {name: split.describe() for name, split in splits.items()}}
    cells = [
        {"kind": kind, "share": share, "seed": seed}
        for share in enough
        for kind in kinds
        for seed in range(settings.seed, settings.seed + (1 if kind == "tfidf" else seeds))  # it has no seed
    ]
    found = Grid(folder, facts).fill(cells, lambda cell: _compute(cell, splits, settings, labels))
    result = StudyResult(folder, found)
    result.write(draw_comparison)
    return result


def _compute(cell: Cell, splits: dict[str, Split], settings: Settings, labels: list[str]) -> dict[str, Any]:
    train = splits["train"]
    if cell["share"] < 100:
        train = hold_out(train, cell["share"] / 100, settings.seed)[1]  # one row of each label at least
    if cell["kind"] == "tfidf":
        return tfidf(train, splits["test"], labels)
    settings = replace(settings, seed=cell["seed"], model=replace(settings.model, kind=cell["kind"]))
    result, measured = train_cell(settings, {**splits, "train": train})
    sample = splits["test"].texts[:2000]
    started = time.monotonic()
    result.classifier.predict_proba(sample)
    texts_per_s = len(sample) / (time.monotonic() - started)
    scores = {name: result.evaluations["test"].values[name] for name in ("accuracy", "macro_f1")}
    return {**scores, **measured, "texts_per_s": texts_per_s, "rows": len(train)}
