"""Scores of predicted numbers, in plain values with 95 % intervals. N rows."""

import math

import numpy as np

_LEVEL = 0.95
_RESAMPLES = 1000
_MIN_RESAMPLES = 200
_MOST_DRAWN = 50_000_000  # rows in all resamples; more take minutes

# The scores in the order of `PairedNumbers.scores`, with the lowest and the highest value of each.
_RANGES = {
    "mae": (0.0, np.inf),
    "rmse": (0.0, np.inf),
    "r2": (-np.inf, 1.0),
    "pearson": (-1.0, 1.0),
    "spearman": (-1.0, 1.0),
}


class PairedNumbers:
    """Predictions and their targets, scored in any resample of their rows.

    A resample is given by how often it contains each row, so that it needs no copy of the rows, and
    ranks need no new sorting.

    Args:
        predictions: The predicted numbers: (N,).
        targets: The true ones, in the same unit: (N,).
    """

    def __init__(self, predictions: np.ndarray, targets: np.ndarray) -> None:
        self.predictions = predictions.astype(np.float64)
        self.targets = targets.astype(np.float64)
        self.distances = np.abs(self.predictions - self.targets)
        # The position of each number among the distinct ones, in ascending order.
        self._prediction_order = np.unique(self.predictions, return_inverse=True)[1]
        self._target_order = np.unique(self.targets, return_inverse=True)[1]

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def undefined(self) -> list[str]:
        """The scores that are undefined, as all predictions or all targets are the same number."""
        if self._target_order.max() == 0:
            return ["r2", "pearson", "spearman"]
        if self._prediction_order.max() == 0:
            return ["pearson", "spearman"]
        return []

    def scores(self, counts: np.ndarray | None = None) -> dict[str, float]:
        """Compute the scores; those that are undefined are 0.

        Args:
            counts: How often each row occurs: (N,); once by default.
        """
        if counts is None:
            counts = np.ones(len(self))
        weights = counts / counts.sum()
        mean_square = float(weights @ self.distances**2)
        deviation = _deviation(self.targets, weights)
        r2 = 0.0
        if deviation > 0:
            r2 = 1 - mean_square / deviation**2
        prediction_ranks = _ranks(self._prediction_order, counts)
        target_ranks = _ranks(self._target_order, counts)
        return {
            "mae": float(weights @ self.distances),
            "rmse": math.sqrt(mean_square),
            "r2": r2,
            "pearson": _correlation(self.predictions, self.targets, weights),
            "spearman": _correlation(prediction_ranks, target_ranks, weights),
        }


def _ranks(order: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Rank the rows of a resample; equal numbers have their average rank.

    Args:
        order: The position of each row's number among the distinct ones: (N,).
        counts: How often each row occurs: (N,).
    """
    equal = np.bincount(order, weights=counts)  # rows with each of the distinct numbers
    last_ranks = np.cumsum(equal)
    ranks = last_ranks - (equal - 1) / 2
    return np.asarray(ranks[order])


def _deviation(x: np.ndarray, weights: np.ndarray) -> float:
    """Compute the standard deviation of weighted rows; 0 where it is but a rounding error.

    Args:
        x: A number of each row: (N,).
        weights: Their weights, which sum to 1: (N,).
    """
    variance = float(weights @ (x - weights @ x) ** 2)
    if variance <= 1e-24 * float(weights @ x**2):
        return 0.0
    return math.sqrt(variance)


def _correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Compute Pearson's correlation of weighted rows; 0 if `x` or `y` is constant."""
    scale = _deviation(x, weights) * _deviation(y, weights)
    if scale == 0:
        return 0.0
    covariance = float(weights @ ((x - weights @ x) * (y - weights @ y)))
    return min(1.0, max(-1.0, covariance / scale))


def score_numbers(
    predictions: np.ndarray, targets: np.ndarray, baseline: float | None, *, seed: int = 0
) -> dict[str, object]:
    """Score predicted numbers (N,) against the true ones (N,).

    `mae`, `rmse`, `r2`, `pearson` and `spearman` are `{"value", "low", "high"}`. The scores named
    in `undefined` are 0, since all predictions, or all targets, are the same number.

    Args:
        predictions: The predicted numbers.
        targets: The true ones, in the same unit.
        baseline: A number, such as the mean of the training targets. The scores of predicting it
            for every row are `{"baseline": {"mae", "rmse"}}`. None: there is no `baseline`.
        seed: The seed of the intervals.
    """
    assert len(targets), "nothing to score"
    pairs = PairedNumbers(predictions, targets)
    values: dict[str, object] = {}
    intervals = _intervals(pairs, seed)
    for name, value in pairs.scores().items():
        low, high = intervals[name]
        values[name] = {"value": value, "low": low, "high": high}
    values["undefined"] = pairs.undefined
    if baseline is not None:
        distances = targets - baseline
        rmse = math.sqrt(np.mean(distances**2))
        values["baseline"] = {"mae": float(np.abs(distances).mean()), "rmse": rmse}
    values["rows"] = len(pairs)
    return values


def _intervals(pairs: PairedNumbers, seed: int) -> dict[str, tuple[float, float]]:
    """Compute the symmetric bootstrap interval of each score (Hall 1988).

    95 % of the resamples of the rows are as near to the value as its ends. One resample is held at
    a time; of very many rows, whose scores are nearly certain, fewer are drawn.
    """
    random = np.random.default_rng(seed)
    rows = len(pairs)
    value = np.array(list(pairs.scores().values()))
    distances = []
    for _ in range(max(_MIN_RESAMPLES, min(_RESAMPLES, _MOST_DRAWN // rows))):
        drawn = random.integers(rows, size=rows)
        counts = np.bincount(drawn, minlength=rows)
        resampled = np.array(list(pairs.scores(counts).values()))
        distances.append(np.abs(resampled - value))
    half_widths = np.quantile(np.array(distances), _LEVEL, axis=0)
    intervals = {}
    for number, (name, (lowest, highest)) in enumerate(_RANGES.items()):
        low = max(lowest, float(value[number] - half_widths[number]))
        high = min(highest, float(value[number] + half_widths[number]))
        intervals[name] = (low, high)
    return intervals
