"""The set of labels, and their numbers."""

from collections.abc import Mapping, Sequence

import numpy as np

from selfattn_lm.data.sources import Split
from selfattn_lm.errors import UserError


def label_names(splits: Mapping[str, Split]) -> list[str]:
    """All labels of all splits, whole numbers in their order, others by name; refuses a train with too few to learn."""
    train = splits["train"]
    known = set(train.labels)
    if len(known) == 1:
        raise UserError(f"{train.where}: every row has the label {train.labels[0]!r}; a classifier needs two or more.")
    names = known.union(*(split.labels for split in splits.values()))
    if len(train) < len(names) or len(train) == len(known):
        advice = "give several rows a label, or name the right column with --data.label-column"
        raise UserError(f"{train.where}: {len(train)} rows for {len(names)} labels; {advice}.")
    numbers = all(name.removeprefix("-").isdecimal() for name in names)
    return sorted(names, key=lambda name: (int(name), name)) if numbers else sorted(names)


def encode_labels(labels: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Label names to their numbers: int64 (rows,)."""
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[label] for label in labels], dtype=np.int64)
