"""How much each branch counts in a prediction, chosen on the validation split.

K branches, N texts, L outputs.
"""

import math

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from selfattn_lm.tasks import Task

MIN_ROWS = 200  # of a validation split by which weights are chosen
_LARGEST_FACTOR = 100.0  # and the smallest is its inverse
_STEPS = 30  # of the search for a factor, each of which narrows it to 0.62 of its interval
_MAX_ITERATIONS = 50  # of the search for the weights
_PENALTY = 10.0  # of the squared differences of their logarithms
_GOLDEN = (math.sqrt(5) - 1) / 2


def best_factor(task: Task, logits: Tensor, targets: Tensor) -> float:
    """Find the factor of logits (N, L) that gives the smallest loss: the inverse temperature.

    It makes probabilities of them that are neither too sure nor too cautious (Guo et al. 2017,
    1706.04599). A factor other than 1 costs a little, so that it stays finite where all texts are
    classified rightly. Golden-section search, since the loss has one minimum in practice.
    """

    def loss(exponent: float) -> float:
        mean = float(task.loss(logits * math.exp(exponent), targets))
        return targets.numel() * mean + exponent * exponent

    high = math.log(_LARGEST_FACTOR)
    low = -high
    inner_low, inner_high = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    loss_low, loss_high = loss(inner_low), loss(inner_high)
    for _ in range(_STEPS):
        if loss_low < loss_high:
            high, inner_high, loss_high = inner_high, inner_low, loss_low
            inner_low = high - _GOLDEN * (high - low)
            loss_low = loss(inner_low)
        else:
            low, inner_low, loss_low = inner_low, inner_high, loss_high
            inner_high = low + _GOLDEN * (high - low)
            loss_high = loss(inner_high)
    return math.exp((low + high) / 2)


def choose_branch_weights(task: Task, by_branch: Tensor, targets: Tensor) -> Tensor:
    """Choose the weights of the branches by their logits on the validation split.

    The sum of weighted logits is to have the smallest loss, so its probabilities are calibrated
    too: the common factor of the weights is an inverse temperature. Weights that differ from those
    of equally strong branches cost something, as if there were more rows: one split alone says
    little about which branch is better, and the mean of calibrated branches is hard to beat. With
    fewer than 200 rows, or with logits that are not finite, each branch counts the same.

    Args:
        task: What is predicted.
        by_branch: The logits of each branch: (K, N, L).
        targets: The encoded targets: (N, …).

    Returns:
        The weights, (K,).
    """
    branches, rows = by_branch.shape[:2]
    if rows < MIN_ROWS or not bool(by_branch.isfinite().all()):
        return torch.full((branches,), 1 / branches, device=by_branch.device)
    # The logits of a validation step record no gradients, and a copy may.
    with torch.inference_mode(False), torch.enable_grad():
        logits, answers = by_branch.clone(), targets.clone()
        factors = torch.tensor([best_factor(task, branch, answers) for branch in logits])
        factors = factors.to(logits.device)
        calibrated = logits * factors[:, None, None]
        return factors * _shares(task, calibrated, answers)


def _shares(task: Task, calibrated: Tensor, targets: Tensor) -> Tensor:
    """Find the weights of calibrated branches: (K, N, L), (N, …) -> (K,)."""
    branches = len(calibrated)
    equal = torch.full((branches,), -math.log(branches), device=calibrated.device)
    logs = equal.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([logs], max_iter=_MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        logits = torch.tensordot(logs.exp(), calibrated, dims=1)  # (N, L)
        differences = logs - logs.mean()
        common = (logs - equal).mean()  # as in `best_factor`
        penalty = _PENALTY * differences.square().sum() + common.square()
        loss = targets.numel() * task.loss(logits, targets) + penalty
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return logs.detach().exp()


class ValidationLogits(Metric):
    """Collects the logits of all branches for the texts of a validation, from all devices."""

    logits: list[Tensor]
    targets: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("logits", default=[], dist_reduce_fx="cat")
        self.add_state("targets", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Add the logits of a batch, (B, K, L), and its encoded targets, (B, …)."""
        self.logits.append(logits)
        self.targets.append(targets)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return the logits of all texts, (N, K, L), and their targets, (N, …)."""
        return dim_zero_cat(self.logits), dim_zero_cat(self.targets)
