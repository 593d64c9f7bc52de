"""Scores of predicted labels, in plain values with 95 % intervals. N texts, L labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from selfattn_lm.tasks.confusion import Confusion, macro_f1_interval, wilson_interval

_MATRIX_LABELS = 200  # a confusion matrix of more labels is not written whole


def score_labels(
    probabilities: Tensor,
    targets: Tensor,
    names: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score the probabilities of labels (N, L) against the numbers of the true labels (N,).

    `accuracy` and `macro_f1` are `{"value", "low", "high"}`. A row of the matrix `confusion` is a
    true label. With more than 200 labels the matrix would be most of the file, and
    `confusion_cells` has the cells that are not zero instead.
    """
    assert len(targets), "nothing to score"
    predicted = probabilities.argmax(1)
    cells = Confusion.count(targets.numpy(), predicted.numpy(), len(names))
    right, support, predictions = cells.per_label(cells.rows)
    f1 = 2 * right / np.maximum(support + predictions, 1)
    rows, all_right = len(targets), int(right.sum())
    true_probabilities = probabilities.gather(1, targets[:, None]).double()
    return {
        "accuracy": _with_interval(all_right / rows, wilson_interval(all_right, rows)),
        "macro_f1": _with_interval(
            cells.macro_f1(cells.rows), macro_f1_interval(cells, resamples, seed)
        ),
        "weighted_f1": float((f1 * support).sum() / rows),
        "log_loss": float(-true_probabilities.clamp(min=1e-12).log().mean()),
        "per_class": per_label_scores(right, support, predictions, names),
        **_plain_confusion(cells, names),
        "rows": rows,
    }


def _with_interval(value: float, interval: tuple[float, float]) -> dict[str, float]:
    return {"value": value, "low": interval[0], "high": interval[1]}


def per_label_scores(
    right: np.ndarray, support: np.ndarray, predicted: np.ndarray, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Compute precision, recall and F1 of each label, which are 0 where they are undefined.

    Args:
        right: How many texts are rightly predicted each label: (L,).
        support: How many have it: (L,).
        predicted: How many are predicted it: (L,).
        names: The names of the labels.
    """
    precision = right / np.maximum(predicted, 1)
    recall = right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(support + predicted, 1)
    scores = {}
    for number, name in enumerate(names):
        scores[name] = {
            "precision": precision[number].item(),
            "recall": recall[number].item(),
            "f1": f1[number].item(),
            "support": int(support[number]),
        }
    return scores


def _plain_confusion(cells: Confusion, names: Sequence[str]) -> dict[str, Any]:
    """The matrix; or its cells by label names, the most frequent first, if it would be large."""
    if cells.labels <= _MATRIX_LABELS:
        matrix = np.zeros((cells.labels, cells.labels), dtype=np.int64)
        matrix[cells.true, cells.predicted] = cells.rows
        return {"confusion": matrix.tolist()}
    found = []
    for cell in np.argsort(-cells.rows, kind="stable").tolist():
        found.append(
            {
                "true": names[cells.true[cell]],
                "predicted": names[cells.predicted[cell]],
                "rows": int(cells.rows[cell]),
            }
        )
    return {"confusion_cells": found}
