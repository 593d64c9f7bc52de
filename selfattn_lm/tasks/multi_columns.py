"""The columns that predictions of several labels per text add to a file. L labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from selfattn_lm.tasks.columns import PredictionOptions


def label_set_columns(labels: Sequence[str], options: PredictionOptions) -> dict[str, Any]:
    """Name the columns, with the type of their values.

    They are `prediction` and `probability`, two lists of the same length, followed by
    `probability:LABEL` for each label.
    """
    types: dict[str, Any] = {"prediction": list[str], "probability": list[float]}
    if options.probabilities:
        for label in labels:
            types[f"probability:{label}"] = float
    return types


def label_set_values(
    labels: Sequence[str],
    options: PredictionOptions,
    probabilities: np.ndarray,
    thresholds: np.ndarray,
) -> list[Any]:
    """Compute the values of the columns for one text.

    A label is written if its probability reaches both its threshold and `min_probability`. Of more
    than `top_k` such labels, the most probable are written. There may be none.

    Args:
        labels: The names of the labels.
        options: What is written.
        probabilities: The probability of each label: (L,).
        thresholds: The threshold of each label: (L,).
    """
    rounded = [round(float(probability), 6) for probability in probabilities]
    predicted = predicted_labels(probabilities, thresholds)
    chosen = [label for label in predicted if rounded[label] >= options.min_probability]
    chosen = chosen[: options.top_k]
    values: list[Any] = [[labels[label] for label in chosen], [rounded[label] for label in chosen]]
    if options.probabilities:
        values.extend(rounded)
    return values


def predicted_labels(probabilities: np.ndarray, thresholds: np.ndarray) -> list[int]:
    """Choose the labels whose probability reaches their threshold, the most probable first.

    Args:
        probabilities: The probability of each label: (L,).
        thresholds: The threshold of each label: (L,).

    Returns:
        The numbers of the labels.
    """
    ranking = np.argsort(-probabilities, kind="stable")
    reaches = probabilities[ranking] >= thresholds[ranking]
    numbers: list[int] = ranking[reaches].tolist()
    return numbers
