"""Rows of train set apart: held out to validate by, or a few of each label to try how little data does."""

from collections import Counter

import numpy as np

from selfattn_lm.data.sources import Split
from selfattn_lm.errors import UserError


def hold_out(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Take a share of each label's rows out, at least one; a label with one row keeps it: (rest, held out)."""
    random = np.random.default_rng(seed)
    labels = np.array(split.labels)
    held_out: list[int] = []
    for name in dict.fromkeys(split.labels):
        rows = random.permutation(np.flatnonzero(labels == name)).tolist()
        if len(rows) > 1:
            count = max(1, round(share * len(rows)))
            held_out += rows[:count]
    if not held_out:
        reason = "no label has two rows, so none can be held out"
        raise UserError(f"{split.where}: {reason}; name a file with --data.validation.")
    rest = np.delete(np.arange(len(split)), held_out).tolist()
    return split.take(rest), split.take(sorted(held_out))


def few(split: Split, shots: int, seed: int) -> Split:
    """At most `shots` rows of each label, chosen by the seed."""
    taken: Counter[str] = Counter()
    chosen: list[int] = []
    for row in np.random.default_rng(seed).permutation(len(split)).tolist():
        label = split.labels[row]
        if taken[label] < shots:
            taken[label] += 1
            chosen.append(row)
    return split.take(sorted(chosen))
