"""Rows with several labels each, chosen so that each label is represented. N rows, L labels."""

import numpy as np


def held_out_rows(has_label: np.ndarray, fraction: float, seed: int) -> list[int]:
    """Choose a fraction of the rows of each label, and of those without, in the order of the rows.

    It is iterative stratification (Sechidis et al. 2011, "On the stratification of multi-label
    data"): the label with the fewest rows left is divided first, as it leaves the least choice.

    A label with two rows or more has one on each side. Where the labels make that impossible, as
    those of the rows ab, bc and ca do, training has the row.

    Args:
        has_label: Whether each row has each label: bool (N, L).
        fraction: The fraction of the rows to hold out.
        seed: The seed of the choice among equal rows.
    """
    order = np.random.default_rng(seed).permutation(len(has_label))
    division = _Division(np.asfortranarray(has_label[order]), fraction)
    division.divide_labels()
    division.divide_rows_without()
    division.represent_labels()
    return sorted(order[division.is_held_out].tolist())


class _Division:
    """Rows that are being divided into those held out and the others, the first ones first."""

    def __init__(self, has_label: np.ndarray, fraction: float) -> None:
        self.has_label = has_label
        self.fraction = fraction
        self.counts = has_label.sum(0)  # (L,)
        self.is_divided = np.zeros(len(has_label), dtype=bool)
        self.is_held_out = np.zeros(len(has_label), dtype=bool)
        # How many rows of each label are still to be held out: (L,).
        self.wanted = np.maximum(np.round(fraction * self.counts), 1).astype(np.int64)
        self.wanted[self.counts < 2] = 0

    def divide_labels(self) -> None:
        """Divide the rows of each label, always those of the label with the fewest left."""
        left = self.counts.copy()
        while left.any():
            labels = np.flatnonzero(left)
            label = labels[np.argmin(left[labels])]
            rows = np.flatnonzero(self.has_label[:, label] & ~self.is_divided)
            self._divide(rows, max(0, int(self.wanted[label])))
            left -= self.has_label[rows].sum(0)

    def divide_rows_without(self) -> None:
        """Divide the rows without a label."""
        rows = np.flatnonzero(~self.is_divided)
        self._divide(rows, round(self.fraction * len(rows)))

    def represent_labels(self) -> None:
        """Move single rows of labels that are on one side alone."""
        held_out = self.has_label[self.is_held_out].sum(0)  # (L,)
        for label in np.flatnonzero((self.counts > 1) & (held_out == 0)):
            in_train = self.counts - self.has_label[self.is_held_out].sum(0)
            is_last = self.has_label[:, in_train == 1].any(1)  # the last row of some label
            rows = np.flatnonzero(self.has_label[:, label] & ~is_last)
            self.is_held_out[rows[:1]] = True
        held_out = self.has_label[self.is_held_out].sum(0)
        for label in np.flatnonzero((self.counts > 0) & (held_out == self.counts)):
            rows = np.flatnonzero(self.has_label[:, label])
            if self.is_held_out[rows].all():
                self.is_held_out[rows[0]] = False

    def _divide(self, rows: np.ndarray, count: int) -> None:
        """Hold out `count` of the rows, first those whose labels want the most rows held out."""
        is_satisfied = self.wanted <= 0  # (L,)
        satisfied = np.count_nonzero(self.has_label[rows][:, is_satisfied], axis=1)
        chosen = rows[np.argsort(satisfied, kind="stable")[:count]]
        self.is_divided[rows] = True
        self.is_held_out[chosen] = True
        self.wanted -= self.has_label[chosen].sum(0)


def few_rows(has_label: np.ndarray, shots: int, seed: int) -> list[int]:
    """Choose at most `shots` rows of each label, and of those without, in the order of the rows.

    A row counts for each of its labels. Those of the rarest labels are chosen first, so that rows
    of frequent labels do not exclude them.

    Args:
        has_label: Whether each row has each label: bool (N, L).
        shots: The number of rows.
        seed: The seed of the choice.
    """
    order = np.random.default_rng(seed).permutation(len(has_label))
    by_label = np.asfortranarray(has_label[order])
    taken = np.zeros(has_label.shape[1], dtype=np.int64)
    is_chosen = np.zeros(len(order), dtype=bool)
    for label in np.argsort(has_label.sum(0), kind="stable"):
        for row in np.flatnonzero(by_label[:, label] & ~is_chosen):
            if taken[label] == shots:
                break
            labels = by_label[row]
            if taken[labels].max() < shots:
                taken += labels
                is_chosen[row] = True
    without = np.flatnonzero(~by_label.any(1))
    is_chosen[without[:shots]] = True
    return sorted(order[is_chosen].tolist())
