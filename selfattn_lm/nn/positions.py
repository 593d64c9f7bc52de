"""How attention knows the order of tokens: without positions it sees a bag of them.

B batch, T tokens, C width, H heads, D = C / H.
"""

import math

import torch
from torch import Tensor, nn


def wave_rates(width: int) -> Tensor:
    """Compute the angle per token of each pair of features: 1 to 1/10,000, falling, (C / 2,)."""
    return torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))


def sinusoids(tokens: int, width: int) -> Tensor:
    """Compute sines and cosines of growing wavelength (Vaswani et al. 2017, 3.5): (T, C)."""
    angles = torch.arange(tokens)[:, None] * wave_rates(width)  # (T, C / 2), rounded up
    table = torch.zeros(tokens, width)
    table[:, 0::2] = torch.sin(angles)
    table[:, 1::2] = torch.cos(angles[:, : width // 2])
    return table


class Learned(nn.Module):
    """Adds a learned vector for each position: (B, T, C) -> (B, T, C)."""

    def __init__(self, max_length: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(max_length, width) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[: x.shape[1]]


class Sinusoidal(nn.Module):
    """Adds a fixed vector for each position: (B, T, C) -> (B, T, C)."""

    table: Tensor

    def __init__(self, max_length: int, width: int) -> None:
        super().__init__()
        # Scaled to the size of the embeddings, so that a position does not drown the word.
        table = sinusoids(max_length, width) / math.sqrt(width)
        self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[: x.shape[1]]


class Rotary(nn.Module):
    """Rotates queries and keys by their position (Su et al. 2021, 2104.09864).

    The product of a query and a key then depends on their distance alone, not on where they are.

    Shape: (B, H, T, D) -> (B, H, T, D).
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, max_length: int, head_width: int) -> None:
        super().__init__()
        rates = wave_rates(head_width).repeat(2)  # (D,): both halves of a head rotate together
        angles = torch.arange(max_length)[:, None] * rates  # (T, D)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)  # each (B, H, T, D / 2)
        rotated = torch.cat((-second, first), dim=-1)
        cos = self.cos[: x.shape[2]].to(x.dtype)
        sin = self.sin[: x.shape[2]].to(x.dtype)
        return x * cos + rotated * sin
