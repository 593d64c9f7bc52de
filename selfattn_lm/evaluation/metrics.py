"""Scores with their 95 % intervals. N texts, L labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)


def percent(share: float) -> str:
    """0.90123 as 90.12."""
    return f"{100 * share:.2f}"


@dataclass(frozen=True)
class Scores:
    """Everything that is measured on one split, in plain values.

    `accuracy` and `macro_f1` hold `{"value", "low", "high"}`; a row of `confusion` is a true label, in order of `labels`.
    """

    labels: list[str]
    values: dict[str, Any]

    def __str__(self) -> str:
        values = [self.values["accuracy"], self.values["macro_f1"]]
        both = [f"{percent(v['value'])} (95 %: {percent(v['low'])} to {percent(v['high'])})" for v in values]
        rest = f"log loss {self.values['log_loss']:.4f}, {self.values['rows']:,} rows"
        return f"accuracy {both[0]}, macro-F1 {both[1]}, {rest}"


def score(probabilities: Tensor, labels: Tensor, names: list[str], *, resamples: int = 1000, seed: int = 0) -> Scores:
    """Measure predictions: the probabilities of each label (N, L) against the true labels (N,)."""
    count, predicted = len(names), probabilities.argmax(1)
    each = {
        "precision": MulticlassPrecision(count, average="none")(predicted, labels).tolist(),
        "recall": MulticlassRecall(count, average="none")(predicted, labels).tolist(),
        "f1": MulticlassF1Score(count, average="none")(predicted, labels).tolist(),
        "support": labels.bincount(minlength=count).tolist(),
    }
    confusion = MulticlassConfusionMatrix(count)(predicted, labels).numpy()  # (L, L), a row for each true label
    accuracy = float(MulticlassAccuracy(count, average="micro")(predicted, labels))
    macro_f1 = float(MulticlassF1Score(count, average="macro")(predicted, labels))
    bounds = _intervals(confusion, resamples, seed).tolist()
    values = {
        "accuracy": {"value": accuracy, "low": bounds[0][0], "high": bounds[0][1]},
        "macro_f1": {"value": macro_f1, "low": bounds[1][0], "high": bounds[1][1]},
        "weighted_f1": float(MulticlassF1Score(count, average="weighted")(predicted, labels)),
        "log_loss": float(-probabilities.gather(1, labels[:, None]).clamp(min=1e-12).log().mean()),
        "per_class": {name: {key: column[i] for key, column in each.items()} for i, name in enumerate(names)},
        "confusion": confusion.tolist(),
        "rows": len(labels),
    }
    return Scores(names, values)


def _intervals(confusion: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The bootstrap percentile intervals that hold 95 % (Efron 1979) of accuracy and macro-F1: (2, 2).

    Both scores depend on the confusion matrix alone, so its cells are drawn anew instead of the rows: the same
    distribution as torchmetrics' BootStrapper, some hundred times as fast.
    """
    cells = confusion.ravel() / confusion.sum()
    drawn = np.random.default_rng(seed).multinomial(confusion.sum(), cells, resamples).reshape(-1, *confusion.shape)
    right, seen = drawn.diagonal(axis1=1, axis2=2), drawn.sum(1) + drawn.sum(2)  # (resamples, L)
    f1 = 2 * right / np.maximum(seen, 1)
    scores = right.sum(1) / confusion.sum(), f1.sum(1) / (seen > 0).sum(1)
    bounds: np.ndarray = np.quantile(scores, [0.025, 0.975], axis=1).T
    return bounds
