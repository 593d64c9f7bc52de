"""Scores of numbers over the batches and processes of a validation. B batch."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from selfattn_lm.tasks.number_scores import PairedNumbers


class NumberScore(Metric):
    """A score of standardized numbers that is the same in any unit, such as R².

    It is computed by the function that scores a trained model, from all rows at once.

    Args:
        name: The name of the score.
    """

    full_state_update = False
    higher_is_better = True
    predictions: list[Tensor]
    targets: list[Tensor]

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.add_state("predictions", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Take a batch of logits (B, 1) and encoded targets (B,)."""
        self.predictions.append(logits[:, 0].detach().float())
        self.targets.append(targets)

    def compute(self) -> Tensor:
        """Compute the score of all rows: ()."""
        predictions: Any = dim_zero_cat(self.predictions)
        targets: Any = dim_zero_cat(self.targets)
        pairs = PairedNumbers(predictions.cpu().numpy(), targets.cpu().numpy())
        score = pairs.scores()[self.name]
        return torch.tensor(score, device=predictions.device)
