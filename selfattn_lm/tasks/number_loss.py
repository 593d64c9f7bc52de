"""The loss of numbers. B batch."""

from torch import Tensor, nn
from torch.nn import functional as F


class StandardizedLoss(nn.Module):
    """The mean squared error between logits and standardized targets.

    Args:
        mean: The mean of the training targets.
        std: Their standard deviation.
    """

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean = mean
        self.std = std

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of logits (B, 1) and targets in their own unit (B,): -> ()."""
        standardized = (targets - self.mean) / self.std
        return F.mse_loss(logits[:, 0], standardized.to(logits.dtype))
