"""The columns that a prediction adds to those of the input."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selfattn_lm.errors import UserError


@dataclass(frozen=True)
class OutputColumns:
    """Columns for the most probable labels of a text and, on request, for every probability.

    The names are `prediction`, `probability`, `prediction_2`, `probability_2`, …, followed by
    `probability:LABEL` for each label. They are distinct whatever the labels are.

    Attributes:
        top_k: Number of labels per text, the most probable first. Fewer labels are all written.
        probabilities: Whether to add a column with the probability of each label.
        min_probability: Labels below this probability are left empty. Their probability is not.

    Raises:
        UserError: A value is out of its range.
    """

    top_k: int = 1
    probabilities: bool = False
    min_probability: float = 0.0

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise UserError(f"--top-k: {self.top_k} is not 1 or more.")
        if not 0 <= self.min_probability <= 1:
            raise UserError(f"--min-probability: {self.min_probability:g} is not from 0 to 1.")

    def names_and_types(self, labels: Sequence[str]) -> dict[str, type]:
        """Return the names of the added columns, in order, with the type of their values."""
        types: dict[str, type] = {}
        for rank in range(1, min(self.top_k, len(labels)) + 1):
            suffix = ""
            if rank > 1:
                suffix = f"_{rank}"
            types[f"prediction{suffix}"] = str
            types[f"probability{suffix}"] = float
        if self.probabilities:
            for label in labels:
                types[f"probability:{label}"] = float
        return types

    def values(self, probabilities: np.ndarray, labels: Sequence[str]) -> list[str | float | None]:
        """Return the values of the added columns for one text, given its probabilities (L,)."""
        rounded = [round(float(probability), 6) for probability in probabilities]
        ranking = np.argsort(-probabilities, kind="stable")
        values: list[str | float | None] = []
        for label_id in ranking[: self.top_k]:
            probability = rounded[label_id]
            prediction = None
            if probability >= self.min_probability:
                prediction = labels[label_id]
            values.append(prediction)
            values.append(probability)
        if self.probabilities:
            values.extend(rounded)
        return values
