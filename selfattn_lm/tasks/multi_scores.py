"""Scores of several labels per text, in plain values with 95 % intervals. N texts, L labels.

A score that is undefined, such as the F1 of a label that no text has or is predicted, is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfattn_lm.tasks.confusion import wilson_interval
from selfattn_lm.tasks.scores import per_label_scores

_LEVEL = 0.95


def score_label_sets(
    probabilities: np.ndarray,
    predicted: np.ndarray,
    targets: np.ndarray,
    names: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score the labels predicted of texts against those they have.

    `micro_f1` and `macro_f1` are `{"value", "low", "high"}`. Macro-F1 is the mean over all labels.
    `subset_accuracy` is the fraction of texts whose labels are all predicted, and no others.
    `mean_average_precision` is the mean over the labels that a text has.

    Args:
        probabilities: The probability of each label: (N, L).
        predicted: Whether each label is predicted: bool (N, L).
        targets: Whether each text has each label, 0 or 1: (N, L).
        names: The names of the labels.
        resamples: The number of resamples of the intervals.
        seed: The seed of the resamples.
    """
    assert len(targets), "nothing to score"
    is_true = targets > 0.5
    cells = LabelCells.find(is_true, predicted)
    is_exact = (is_true == predicted).all(1)
    micro_f1, macro_f1 = f1_intervals(cells, resamples, seed)
    return {
        "micro_f1": micro_f1,
        "macro_f1": macro_f1,
        "subset_accuracy": float(is_exact.mean()),
        "mean_average_precision": mean_average_precision(probabilities, is_true),
        "per_class": per_label_scores(*cells.per_label(np.ones(cells.texts)), names),
        "rows": len(targets),
    }


@dataclass(frozen=True)
class LabelCells:
    """The pairs of a text and a label that it has or is predicted.

    There are a few per text, while whole matrices have N x L cells, nearly all of them zero.

    Attributes:
        texts: The number of texts N.
        labels: The number of labels L.
        right: The pairs that are both, as the numbers of their texts and of their labels.
        true: The pairs of a text and a label that it has.
        predicted: The pairs of a text and a label that it is predicted.
    """

    texts: int
    labels: int
    right: tuple[np.ndarray, ...]
    true: tuple[np.ndarray, ...]
    predicted: tuple[np.ndarray, ...]

    @classmethod
    def find(cls, is_true: np.ndarray, is_predicted: np.ndarray) -> "LabelCells":
        """Find the pairs, given which labels texts have and are predicted: bool (N, L) each."""
        texts, labels = is_true.shape
        right = np.nonzero(is_true & is_predicted)
        return cls(texts, labels, right, np.nonzero(is_true), np.nonzero(is_predicted))

    def per_label(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Count the texts of each label: predicted rightly, that have it, that are predicted it.

        Args:
            weights: How often each text counts: (N,).

        Returns:
            Three counts: (L,) each.
        """
        counts = []
        for texts, labels in (self.right, self.true, self.predicted):
            counts.append(np.bincount(labels, weights=weights[texts], minlength=self.labels))
        right, support, predicted = counts
        return right, support, predicted

    def f1(self, weights: np.ndarray) -> tuple[float, float]:
        """Compute micro-F1 and macro-F1 where each text counts as often as `weights` (N,) say."""
        right, support, predicted = self.per_label(weights)
        occurrences = support + predicted
        micro_f1 = 2 * right.sum() / max(1, occurrences.sum())
        macro_f1 = (2 * right / np.maximum(occurrences, 1)).mean()
        return float(micro_f1), float(macro_f1)


def f1_intervals(
    cells: LabelCells, resamples: int, seed: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Compute micro-F1 and macro-F1 with symmetric bootstrap intervals (Hall 1988).

    95 % of the resamples of the texts are as near to the value as the ends of its interval; see
    `confusion.macro_f1_interval`. One resample is held at a time.

    Where all resamples have the same score, as if all is right, they say nothing. The interval of
    a fraction of the texts is returned instead.
    """
    random = np.random.default_rng(seed)
    values = cells.f1(np.ones(cells.texts))
    resampled = np.empty((resamples, 2))
    for i in range(resamples):
        drawn = random.integers(cells.texts, size=cells.texts)
        resampled[i] = cells.f1(np.bincount(drawn, minlength=cells.texts))
    distances = np.quantile(np.abs(resampled - values), _LEVEL, axis=0)
    micro_f1, macro_f1 = values
    return (
        _with_interval(micro_f1, float(distances[0]), cells.texts),
        _with_interval(macro_f1, float(distances[1]), cells.texts),
    )


def _with_interval(value: float, distance: float, texts: int) -> dict[str, float]:
    low = max(0.0, value - distance)
    high = min(1.0, value + distance)
    if distance == 0:
        low, high = wilson_interval(round(value * texts), texts)
    return {"value": value, "low": low, "high": high}


def mean_average_precision(probabilities: np.ndarray, is_true: np.ndarray) -> float:
    """Compute the mean average precision of the labels that a text has; 0 if there are none.

    Args:
        probabilities: The probability of each label: (N, L).
        is_true: Whether each text has each label: bool (N, L).
    """
    scores = []
    for label in np.flatnonzero(is_true.any(0)):
        scores.append(_average_precision(probabilities[:, label], is_true[:, label]))
    if not scores:
        return 0.0
    return float(np.mean(scores))


def _average_precision(probabilities: np.ndarray, is_true: np.ndarray) -> float:
    """The sum of the precisions at each threshold, weighted by the rise of recall."""
    order = np.argsort(-probabilities, kind="stable")
    descending = probabilities[order]
    # Texts with the same probability are found at the same threshold.
    is_threshold = np.append(descending[1:] < descending[:-1], True)
    found = np.flatnonzero(is_threshold) + 1  # texts at each threshold
    right = np.cumsum(is_true[order])[is_threshold]
    rise = np.diff(right, prepend=0) / right[-1]
    return float((rise * right / found).sum())
