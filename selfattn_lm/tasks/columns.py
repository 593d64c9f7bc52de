"""The columns that predictions add to those of the input. L labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selfattn_lm.errors import UserError


@dataclass(frozen=True)
class PredictionOptions:
    """What is written of predictions.

    Attributes:
        top_k: How many labels per text at most, the most probable first. None is one where texts
            have one label, and no limit where they have several.
        probabilities: Whether to add the probability of each label.
        min_probability: A label below this probability is left empty, its probability is not;
            where texts have several labels, it is left out.

    Raises:
        UserError: A value is out of its range.
    """

    top_k: int | None = None
    probabilities: bool = False
    min_probability: float = 0.0

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"--top-k: {self.top_k} is not 1 or more.")
        if not 0 <= self.min_probability <= 1:
            raise UserError(f"--min-probability: {self.min_probability:g} is not from 0 to 1.")


def label_columns(labels: Sequence[str], options: PredictionOptions) -> dict[str, type]:
    """Name the columns, with the type of their values.

    They are `prediction`, `probability`, `prediction_2`, `probability_2`, …, followed by
    `probability:LABEL` for each label, so that they are distinct whatever the labels are.
    """
    types: dict[str, type] = {}
    for rank in range(1, min(options.top_k or 1, len(labels)) + 1):
        suffix = ""
        if rank > 1:
            suffix = f"_{rank}"
        types[f"prediction{suffix}"] = str
        types[f"probability{suffix}"] = float
    if options.probabilities:
        for label in labels:
            types[f"probability:{label}"] = float
    return types


def label_values(
    labels: Sequence[str], options: PredictionOptions, probabilities: np.ndarray
) -> list[str | float | None]:
    """Compute the values of the columns for one text, given its probabilities (L,)."""
    rounded = [round(float(probability), 6) for probability in probabilities]
    ranking = np.argsort(-probabilities, kind="stable")
    values: list[str | float | None] = []
    for label_id in ranking[: options.top_k or 1]:
        probability = rounded[label_id]
        prediction = None
        if probability >= options.min_probability:
            prediction = labels[label_id]
        values.append(prediction)
        values.append(probability)
    if options.probabilities:
        values.extend(rounded)
    return values
