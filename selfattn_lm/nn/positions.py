"""How a token knows where it stands, as attention alone sees a bag. B batch, T tokens, C width, H heads, D = C / H."""

import math

import torch
from torch import Tensor, nn


def sinusoids(tokens: int, width: int) -> Tensor:
    """Sines and cosines of growing wavelength, from 2π to 20,000π (Vaswani et al. 2017, 3.5): (T, C)."""
    place = torch.arange(tokens)[:, None]
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    table = torch.zeros(tokens, width)
    table[:, 0::2] = torch.sin(place * rate)
    table[:, 1::2] = torch.cos(place * rate[: width // 2])
    return table


class Learned(nn.Module):
    """Adds a trained vector for each place: (B, T, C) -> (B, T, C)."""

    def __init__(self, max_length: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(max_length, width) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[: x.shape[1]]


class Sinusoidal(nn.Module):
    """Adds a fixed vector for each place: (B, T, C) -> (B, T, C)."""

    table: Tensor

    def __init__(self, max_length: int, width: int) -> None:
        super().__init__()
        # Scaled to the embeddings' own size, so that a place does not drown the word.
        self.register_buffer("table", sinusoids(max_length, width) / math.sqrt(width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[: x.shape[1]]


class Rotary(nn.Module):
    """Turns queries and keys by place, so that their products depend on distance alone (Su et al. 2021, 2104.09864)."""

    cos: Tensor
    sin: Tensor

    def __init__(self, max_length: int, head_width: int) -> None:
        super().__init__()
        rate = torch.exp(torch.arange(0, head_width, 2) * (-math.log(10_000.0) / head_width))
        angle = torch.arange(max_length)[:, None] * rate.repeat(2)  # (T, D): both halves turn together
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)  # each (B, H, T, D / 2)
        turned = torch.cat((-second, first), dim=-1)
        cos, sin = self.cos[: x.shape[2]].to(x.dtype), self.sin[: x.shape[2]].to(x.dtype)
        return x * cos + turned * sin
