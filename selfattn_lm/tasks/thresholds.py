"""Thresholds above which labels are predicted, fitted on a validation split.

N texts, L labels.
"""

from typing import Any

import numpy as np

DEFAULT_THRESHOLD = 0.5
_MIN_POSITIVES = 10  # texts with a label; a threshold that is fitted on fewer would be chance


def fit_thresholds(probabilities: np.ndarray, targets: np.ndarray) -> list[float]:
    """Choose the threshold of each label.

    A label that at least 10 texts have gets the threshold with its best F1 (Yang 2001). The rarer
    labels are pooled: they share the threshold with the best micro-F1 of them all, which is far
    below that of frequent labels, as a model gives rare labels low probabilities. If even together
    they occur fewer than 10 times, they get the threshold with the best micro-F1 of all labels.

    Args:
        probabilities: The probabilities of the validation split: (N, L).
        targets: Its encoded targets, 0 or 1: (N, L).

    Returns:
        L thresholds.
    """
    is_true = targets > 0.5
    positives = np.count_nonzero(is_true, axis=0)  # (L,)
    is_rare = positives < _MIN_POSITIVES
    of_all = best_threshold(probabilities.ravel(), is_true.ravel(), DEFAULT_THRESHOLD)
    of_rare = of_all
    if positives[is_rare].sum() >= _MIN_POSITIVES:
        pooled = probabilities[:, is_rare].ravel()
        of_rare = best_threshold(pooled, is_true[:, is_rare].ravel(), of_all)
    thresholds = []
    for label in range(len(positives)):
        threshold = of_rare
        if not is_rare[label]:
            threshold = best_threshold(probabilities[:, label], is_true[:, label], of_all)
        thresholds.append(threshold)
    return thresholds


def best_threshold(probabilities: np.ndarray, is_true: np.ndarray, preferred: float) -> float:
    """Choose the threshold with the best F1.

    Every threshold between two neighbouring probabilities has the same F1, and the one in the
    middle is considered. Of several with the best F1, it is the one nearest to `preferred`.

    Args:
        probabilities: The probabilities: (N,).
        is_true: Whether each is that of a label which the text has: (N,).
        preferred: The threshold to be near to at a tie, and the result if nothing is true.
    """
    positives = np.count_nonzero(is_true)
    if positives == 0:
        return preferred
    order = np.argsort(-probabilities, kind="stable")
    descending = probabilities[order].astype(np.float64)
    right = np.cumsum(is_true[order])  # of the most probable 1, 2, …, N
    predicted = np.arange(1, len(order) + 1)
    f1 = 2 * right / (predicted + positives)
    following = np.append(descending[1:], 0.0)
    is_between = descending > following  # no threshold separates equal probabilities
    best = np.flatnonzero(is_between & (f1 > f1[is_between].max() - 1e-9))
    thresholds = (descending[best] + following[best]) / 2
    nearest = np.argmin(np.abs(thresholds - preferred))
    return float(thresholds[nearest])


def check_thresholds(values: Any, labels: int) -> list[float]:
    """Return thresholds that were read from a file.

    Raises ValueError if they are not one number from 0 to 1 per label, or none at all.
    """
    if not isinstance(values, list) or len(values) not in (0, labels):
        raise ValueError(f"thresholds are not a list of {labels} numbers")
    checked = []
    for value in values:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= 1:
            raise ValueError(f"threshold {value!r} is not a number from 0 to 1")
        checked.append(float(value))
    return checked
