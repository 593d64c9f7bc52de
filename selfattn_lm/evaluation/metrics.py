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


def percent(share: float) -> str:
    """0.90123 as 90.12."""
    return f"{100 * share:.2f}"


@dataclass(frozen=True)
class Scores:
    """Everything that is measured on one split.

    Attributes:
        labels: Label names, in the order of the confusion matrix.
        values: `accuracy` and `macro_f1` as `{"value", "low", "high"}`, `weighted_f1`, `log_loss`, `per_class`,
            `confusion` (a row for each true label) and `rows`; plain values.
    """

    labels: list[str]
    values: dict[str, Any]

    def __str__(self) -> str:
        accuracy, macro_f1 = (
            f"{percent(s['value'])} (95 %: {percent(s['low'])} to {percent(s['high'])})"
            for s in (self.values["accuracy"], self.values["macro_f1"])
        )
        rest = f"log loss {self.values['log_loss']:.4f}, {self.values['rows']:,} rows"
        return f"accuracy {accuracy}, macro-F1 {macro_f1}, {rest}"


def score(probabilities: Tensor, labels: Tensor, names: list[str], *, resamples: int = 1000, seed: int = 0) -> Scores:
    """Measure predictions.

    Args:
        probabilities: Of each label: (N, L).
        labels: The true ones: (N,).
        names: Label names (L).
        resamples: Bootstrap resamples for the intervals.
        seed: Of the bootstrap.
    """
    count, predicted = len(names), probabilities.argmax(1)
    each = {
        "precision": MulticlassPrecision(count, average="none")(predicted, labels).tolist(),
        "recall": MulticlassRecall(count, average="none")(predicted, labels).tolist(),
        "f1": MulticlassF1Score(count, average="none")(predicted, labels).tolist(),
        "support": labels.bincount(minlength=count).tolist(),
    }
    bootstrap = {"resamples": resamples, "seed": seed}
    values = {
        "accuracy": _with_interval(MulticlassAccuracy(count, average="micro"), predicted, labels, **bootstrap),
        "macro_f1": _with_interval(MulticlassF1Score(count, average="macro"), predicted, labels, **bootstrap),
        "weighted_f1": float(MulticlassF1Score(count, average="weighted")(predicted, labels)),
        "log_loss": float(-probabilities.gather(1, labels[:, None]).clamp(min=1e-12).log().mean()),
        "per_class": {name: {key: column[i] for key, column in each.items()} for i, name in enumerate(names)},
        "confusion": MulticlassConfusionMatrix(count)(predicted, labels).tolist(),
        "rows": len(labels),
    }
    return Scores(names, values)


def _with_interval(metric: Any, predicted: Tensor, labels: Tensor, resamples: int, seed: int) -> dict[str, float]:
    """The score, and the bootstrap percentile interval that holds 95 % of its resamples (Efron 1979)."""
    bounds = torch.tensor([0.025, 0.975])
    bootstrap = BootStrapper(metric, resamples, mean=False, std=False, quantile=bounds, sampling_strategy="multinomial")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bootstrap.update(predicted, labels)
    low, high = bootstrap.compute()["quantile"].tolist()
    return {"value": float(metric(predicted, labels)), "low": low, "high": high}
