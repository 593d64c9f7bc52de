"""Score a classifier on labelled texts, with 95 % intervals. N texts, L labels."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from selfattn_lm.errors import UserError
from selfattn_lm.evaluation.report import Evaluation
from selfattn_lm.inference import TextClassifier
from selfattn_lm.runs import write_json
from selfattn_lm.text.labels import encode_labels
from selfattn_lm.text.splits import Split


def score(
    probabilities: Tensor, labels: Tensor, names: list[str], *, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Measure predictions in plain values: the probabilities of each label (N, L) against the true labels (N,).

    `accuracy` and `macro_f1` come as `{"value", "low", "high"}`; a row of `confusion` is a true label.
    """
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
    return {
        "accuracy": {"value": accuracy, "low": bounds[0][0], "high": bounds[0][1]},
        "macro_f1": {"value": macro_f1, "low": bounds[1][0], "high": bounds[1][1]},
        "weighted_f1": float(MulticlassF1Score(count, average="weighted")(predicted, labels)),
        "log_loss": float(-probabilities.gather(1, labels[:, None]).clamp(min=1e-12).log().mean()),
        "per_class": {name: {key: column[i] for key, column in each.items()} for i, name in enumerate(names)},
        "confusion": confusion.tolist(),
        "rows": len(labels),
    }


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


def evaluate_split(classifier: TextClassifier, split: Split, *, skip_unknown: bool = False) -> Evaluation:
    """Score a classifier on labelled texts; labels that it does not know are refused, or skipped and counted."""
    known = set(classifier.labels)
    unknown = Counter(label for label in split.labels if label not in known)
    if unknown and not skip_unknown:
        names = ", ".join(f"{name!r} ({count} rows)" for name, count in unknown.most_common(10))
        raise UserError(f"{split.where}: the run does not know the labels {names}; --skip-unknown leaves them out.")
    if unknown:
        split = split.take(i for i, label in enumerate(split.labels) if label in known)
        if not len(split):
            names = ", ".join(classifier.labels[:10])
            raise UserError(f"{split.where}: the run knows none of the labels, only {names}.")
    probabilities = torch.from_numpy(classifier.predict_proba(split.texts))
    labels = torch.from_numpy(encode_labels(split.labels, classifier.labels))
    values = score(probabilities, labels, classifier.labels)
    return Evaluation(split.where, classifier.labels, values, dict(unknown.most_common()))


def write_metrics(folder: Path, evaluations: Mapping[str, Evaluation], **more: Any) -> None:
    """Write `metrics.json`: the evaluation of each split, and what else there is to record."""
    write_json(folder / "metrics.json", {name: e.to_plain() for name, e in evaluations.items()} | more)
