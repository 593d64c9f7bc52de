"""Scores with their 95 % intervals. N texts, L labels."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)
from torchmetrics.wrappers import BootStrapper


@dataclass(frozen=True)
class Scores:
    """Everything that is measured on one split, ready for JSON.

    Attributes:
        labels: Label names, in the order of the confusion matrix.
        values: `accuracy` and `macro_f1` as `{"value", "low", "high"}`, `weighted_f1`, `log_loss`, `per_class`,
            `confusion` (true label by predicted label) and `rows`.
    """

    labels: list[str]
    values: dict[str, Any]

    @property
    def accuracy(self) -> float:
        """Share of the texts with the right label."""
        return float(self.values["accuracy"]["value"])

    @property
    def macro_f1(self) -> float:
        """Mean of the labels' F1 scores."""
        return float(self.values["macro_f1"]["value"])

    def line(self) -> str:
        """The main scores on one line."""
        parts = [
            f"{name} {100 * s['value']:.2f} (95 % {100 * s['low']:.2f} to {100 * s['high']:.2f})"
            for name, s in (("accuracy", self.values["accuracy"]), ("macro-F1", self.values["macro_f1"]))
        ]
        return f"{', '.join(parts)}, log loss {self.values['log_loss']:.4f}, {self.values['rows']} rows"


def score(probabilities: Tensor, labels: Tensor, names: list[str], *, resamples: int = 1000, seed: int = 0) -> Scores:
    """Measure predictions.

    Args:
        probabilities: Of each label: (N, L).
        labels: The true ones: (N,).
        names: Label names.
        resamples: Bootstrap resamples for the intervals.
        seed: Of the bootstrap.
    """
    count = len(names)
    predicted = probabilities.argmax(1)
    right = probabilities.gather(1, labels[:, None]).clamp(min=1e-12)
    each = {
        "precision": MulticlassPrecision(count, average="none"),
        "recall": MulticlassRecall(count, average="none"),
        "f1": MulticlassF1Score(count, average="none"),
    }
    per_class = {name: metric(predicted, labels).tolist() for name, metric in each.items()}
    support = labels.bincount(minlength=count).tolist()
    return Scores(
        names,
        {
            "accuracy": _with_interval(MulticlassAccuracy(count, average="micro"), predicted, labels, resamples, seed),
            "macro_f1": _with_interval(MulticlassF1Score(count, average="macro"), predicted, labels, resamples, seed),
            "weighted_f1": float(MulticlassF1Score(count, average="weighted")(predicted, labels)),
            "log_loss": float(-right.log().mean()),
            "per_class": {
                name: {**{key: values[i] for key, values in per_class.items()}, "support": support[i]}
                for i, name in enumerate(names)
            },
            "confusion": MulticlassConfusionMatrix(count)(predicted, labels).tolist(),
            "rows": len(labels),
        },
    )


def _with_interval(metric: Any, predicted: Tensor, labels: Tensor, resamples: int, seed: int) -> dict[str, float]:
    """The score, and the bootstrap percentile interval that holds 95 % of its resamples (Efron 1979)."""
    quantiles = torch.tensor([0.025, 0.975])
    bootstrap = BootStrapper(
        metric, resamples, mean=False, std=False, quantile=quantiles, sampling_strategy="multinomial"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bootstrap.update(predicted, labels)
    low, high = bootstrap.compute()["quantile"].tolist()
    return {"value": float(metric(predicted, labels)), "low": low, "high": high}
