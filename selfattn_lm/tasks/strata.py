"""Rows chosen label by label, so that each label is represented."""

from collections import Counter
from collections.abc import Sequence

import numpy as np


def held_out_rows(labels: Sequence[str], fraction: float, seed: int) -> list[int]:
    """Choose a fraction of the rows of each label, at least one, in the order of the rows.

    A label with a single row keeps it, so nothing may be chosen.
    """
    random = np.random.default_rng(seed)
    in_rows = np.array(labels)
    chosen: list[int] = []
    for label in dict.fromkeys(labels):
        rows = random.permutation(np.flatnonzero(in_rows == label)).tolist()
        if len(rows) > 1:
            count = max(1, round(fraction * len(rows)))
            chosen.extend(rows[:count])
    return sorted(chosen)


def few_rows(labels: Sequence[str], shots: int, seed: int) -> list[int]:
    """Choose at most `shots` rows of each label, in the order of the rows."""
    taken: Counter[str] = Counter()
    chosen: list[int] = []
    for row in np.random.default_rng(seed).permutation(len(labels)).tolist():
        label = labels[row]
        if taken[label] < shots:
            taken[label] += 1
            chosen.append(row)
    return sorted(chosen)
