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
        features: The number of features F.
        targets: The scores to be reached, and the weights of their errors: (N, L).
        tolerance: The norm of the gradient at the end, relative to that at zero.
    """

    def __init__(
        self, rows: SparseRows, features: int, targets: LinearTargets, tolerance: float = 5e-4
    ) -> None:
        self.rows = rows
        self.columns = transposed(rows, features)
        self.targets = targets
        self.tolerance = tolerance
        self.shape = (features + 1, targets.scores.shape[1])

    def solve(self, cost: float, start: Tensor | None = None) -> Tensor:
        """Minimise at a cost; returns the solution (F + 1, L).

        Args:
            cost: The weight of the errors against the size of the weights, C.
            start: Where to begin, such as the solution at another cost; by default at zero.
        """
        zero = torch.zeros(self.shape)
        first_norm = self._gradient(zero, self.scores(zero), cost).norm(dim=0)  # (L,)
        solution = zero if start is None else start
        scores = self.scores(solution)
        for _ in range(_MAX_NEWTON_STEPS):
            gradient = self._gradient(solution, scores, cost)
            if bool((gradient.norm(dim=0) <= self.tolerance * first_norm).all()):
                break
            direction = self._newton_direction(gradient, self._curvatures(scores, cost))
            solution, scores = self._step(solution, scores, direction, cost)
        return solution

    def scores(self, solution: Tensor) -> Tensor:
        """Compute the scores of the rows: (F + 1, L) -> (N, L)."""
        return self.rows.times(solution[:-1]) + solution[-1]

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
        return torch.cat([self.columns.times(errors), errors.sum(0, keepdim=True)])

    def _newton_direction(self, gradient: Tensor, curvatures: Tensor) -> Tensor:
        """Solve H d = -gradient by conjugate gradients, for each output: (F + 1, L)."""
        direction = torch.zeros_like(gradient)
        residual = -gradient
        conjugate = residual
        squared = (residual * residual).sum(0)  # (L,)
        enough = _CG_TOLERANCE**2 * squared
        for _ in range(_MAX_CG_STEPS):
            curved = conjugate + self._back(curvatures * self.scores(conjugate))
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
        along = self.scores(direction)  # (N, L)
        objective = self._objective(solution, scores, cost)
        length = torch.ones(self.shape[1])
        for _ in range(_MAX_HALVINGS):
            new_solution = solution + length * direction
            new_scores = scores + length * along
            is_worse = self._objective(new_solution, new_scores, cost) > objective * (1 + 1e-7)
            if not bool(is_worse.any()):
                break
            length = torch.where(is_worse, length / 2, length)
        return new_solution, new_scores

    def _objective(self, solution: Tensor, scores: Tensor, cost: float) -> Tensor:
        """Twice what is minimised, for each output: (L,) float64."""
        errors = self.targets.scores - scores
        losses = (self._curvatures(scores, cost) * errors * errors).sum(0, dtype=torch.float64)
        return solution.double().square().sum(0) + losses


def transposed(rows: SparseRows, features: int) -> SparseRows:
    """Transpose a sparse matrix: (N, F) -> (F, N)."""
    counts = torch.bincount(rows.columns, minlength=features)
    offsets = F.pad(counts.cumsum(0, dtype=torch.int32), (1, 0))
    numbers = torch.arange(rows.height, dtype=torch.int32)
    owners = torch.repeat_interleave(numbers, rows.offsets.diff())
    order = rows.columns.argsort(stable=True)
    return SparseRows(owners[order], offsets, rows.values[order])
