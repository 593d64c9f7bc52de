"""Linear models of sparse rows, solved as the convex problems they are.

N rows, F features, L outputs. A solution is (F + 1, L): the weights, and a last row of biases.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from selfattn_lm.inputs import SparseRows
from selfattn_lm.tasks import LinearTargets

_MAX_NEWTON_STEPS = 20
_MAX_CG_STEPS = 20
_CG_TOLERANCE = 0.1  # of the gradient's norm: a Newton step need not be exact
_MAX_HALVINGS = 12
_TINY = 1e-30  # keeps an output that is solved from dividing by zero


class LinearSolver:
    """Fits linear models to the same rows and targets, at one cost after the other.

    It minimises |w|² / 2 + cost · Σ weight · error² for each output, with the bias among w. With a
    margin only the scores on the wrong side of it have an error: the squared hinge, as
    scikit-learn's LinearSVC; without one it is ridge regression.

    The squared hinge is the squared error of the rows within the margin, so each step of Newton's
    method solves a least-squares problem of these, by conjugate gradients (Keerthi & DeCoste 2005,
    A modified finite Newton method for fast solution of large scale linear SVMs). All outputs are
    solved side by side, each with step lengths of its own.

    Args:
        rows: The features: (N, F).
        columns: The same, transposed: (F, N).
        targets: The scores to be reached, and the weights of their errors: (N, L).
        feature_weights: How much each feature counts for each output, (F, L): the rows are
            multiplied by them. Ones for all alike.
        tolerance: The norm of the gradient at the end, relative to that at zero; for a rare label
            it is as much smaller as the label is rarer than half of the rows.
    """

    def __init__(
        self,
        rows: SparseRows,
        columns: SparseRows,
        targets: LinearTargets,
        feature_weights: Tensor,
        tolerance: float = 5e-3,
    ) -> None:
        features, outputs = feature_weights.shape
        self.rows = rows
        self.columns = columns
        self.targets = targets
        self.feature_weights = feature_weights
        self.tolerance = tolerance * _balance(targets)
        self._solution = torch.zeros(features + 1, outputs)  # of the multiplied rows

    def solve(self, cost: float) -> Tensor:
        """Minimise at a cost, beginning with the solution of the last one.

        Args:
            cost: The weight of the errors against the size of the weights, C.

        Returns:
            The weights of the rows as they were given, and the biases: (F + 1, L).
        """
        zero = torch.zeros_like(self._solution)
        enough = self.tolerance * self._gradient(zero, self._scores(zero), cost).norm(dim=0)
        solution = self._solution
        scores = self._scores(solution)
        for _ in range(_MAX_NEWTON_STEPS):
            gradient = self._gradient(solution, scores, cost)
            if bool((gradient.norm(dim=0) <= enough).all()):
                break
            direction = self._newton_direction(gradient, self._curvatures(scores, cost))
            solution, scores = self._step(solution, scores, direction, cost)
        self._solution = solution
        return torch.cat([solution[:-1] * self.feature_weights, solution[-1:]])

    def _scores(self, solution: Tensor) -> Tensor:
        """Compute the scores of the rows: (F + 1, L) -> (N, L)."""
        return self.rows.times(solution[:-1] * self.feature_weights) + solution[-1]

    def _curvatures(self, scores: Tensor, cost: float) -> Tensor:
        """The second derivative of each error term by its score; 0 beyond the margin: (N, L)."""
        targets = self.targets
        curvatures = (2 * cost * targets.weights).expand_as(scores)
        if targets.has_margin:
            return curvatures * (targets.scores * scores < 1)
        return curvatures

    def _gradient(self, solution: Tensor, scores: Tensor, cost: float) -> Tensor:
        errors = scores - self.targets.scores
        return solution + self._back(self._curvatures(scores, cost) * errors)

    def _back(self, errors: Tensor) -> Tensor:
        """Multiply by the transposed rows and a column of ones: (N, L) -> (F + 1, L)."""
        by_feature = self.columns.times(errors) * self.feature_weights
        return torch.cat([by_feature, errors.sum(0, keepdim=True)])

    def _newton_direction(self, gradient: Tensor, curvatures: Tensor) -> Tensor:
        """Solve H d = -gradient by conjugate gradients, for each output: (F + 1, L)."""
        direction = torch.zeros_like(gradient)
        residual = -gradient
        conjugate = residual
        squared = (residual * residual).sum(0)  # (L,)
        enough = _CG_TOLERANCE**2 * squared
        for _ in range(_MAX_CG_STEPS):
            curved = conjugate + self._back(curvatures * self._scores(conjugate))
            length = squared / (conjugate * curved).sum(0).clamp(min=_TINY)
            direction = direction + length * conjugate
            residual = residual - length * curved
            new_squared = (residual * residual).sum(0)
            if bool((new_squared <= enough).all()):
                break
            conjugate = residual + (new_squared / squared.clamp(min=_TINY)) * conjugate
            squared = new_squared
        return direction

    def _step(
        self, solution: Tensor, scores: Tensor, direction: Tensor, cost: float
    ) -> tuple[Tensor, Tensor]:
        """Go along a direction as far as the objective falls; returns solution and scores."""
        along = self._scores(direction)  # (N, L)
        objective = self._objective(solution, scores, cost)
        length = torch.ones(solution.shape[1])
        for _ in range(_MAX_HALVINGS):
            new_solution = solution + length * direction
            new_scores = scores + length * along
            is_worse = self._objective(new_solution, new_scores, cost) > objective * (1 + 1e-7)
            if not bool(is_worse.any()):
                return new_solution, new_scores
            length = torch.where(is_worse, length / 2, length)
        # No step of such outputs is small enough to help: they have arrived, up to rounding.
        length = torch.where(is_worse, 0.0, length)
        return solution + length * direction, scores + length * along

    def _objective(self, solution: Tensor, scores: Tensor, cost: float) -> Tensor:
        """Twice what is minimised, for each output: (L,) float64."""
        errors = self.targets.scores - scores
        losses = (self._curvatures(scores, cost) * errors * errors).sum(0, dtype=torch.float64)
        return solution.double().square().sum(0) + losses


def log_count_ratios(columns: SparseRows, has_label: Tensor) -> Tensor:
    """Weigh features by how unevenly they occur with a label and without it: -> (F, L).

    The logarithm of the ratio of both frequencies, as naive Bayes has it, makes a support vector
    machine of n-grams much better (Wang & Manning 2012, Baselines and bigrams). The weights are 1
    in the mean of their squares, and here the mean of these and 1.

    Args:
        columns: The transposed rows: (F, N).
        has_label: 1 for the labels of each row, else 0: float32 (N, L).
    """
    occurs = columns._replace(values=torch.ones_like(columns.values))
    with_label = occurs.times(has_label) + 1  # (F, L), one more than were counted
    without = occurs.times(1 - has_label) + 1
    ratios = (with_label / with_label.sum(0)).log() - (without / without.sum(0)).log()
    typical = ratios.square().mean(0).sqrt().clamp(min=_TINY)
    return (1 + ratios.abs() / typical) / 2


def _balance(targets: LinearTargets) -> Tensor:
    """Twice the smaller of the fractions of rows with a label and without: (L,)."""
    if not targets.has_margin:
        return torch.ones(targets.scores.shape[1])
    fraction = (targets.scores > 0).float().mean(0)
    smaller = torch.minimum(fraction, 1 - fraction)
    return (2 * smaller).clamp(min=1 / len(targets.scores))


def transposed(rows: SparseRows, features: int) -> SparseRows:
    """Transpose a sparse matrix: (N, F) -> (F, N)."""
    counts = torch.bincount(rows.columns, minlength=features)
    offsets = F.pad(counts.cumsum(0, dtype=torch.int32), (1, 0))
    numbers = torch.arange(rows.height, dtype=torch.int32)
    owners = torch.repeat_interleave(numbers, rows.offsets.diff())
    order = rows.columns.argsort(stable=True)
    return SparseRows(owners[order], offsets, rows.values[order])
