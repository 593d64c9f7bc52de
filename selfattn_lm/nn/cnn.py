"""Convolutions over short runs of tokens (Kim 2014, 1408.5882). B batch, T tokens, C width."""

import torch
from torch import Tensor, nn


class Cnn(nn.Module):
    """Sees each token with its neighbours, in windows of 1, 3 and 5 tokens: (B, T, C), (B, T) -> (B, T, C)."""

    def __init__(self, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_Windows(width) for _ in range(layers)])
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """All layers: (B, T, C), (B, T) -> (B, T, C)."""
        for layer in self.layers:
            x = self.drop(layer(x * keep[..., None]))  # padding is zero, as is what lies beyond the text
        return x


class _Windows(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = (1, 3, 5)
        parts = [width // len(sizes) + (i < width % len(sizes)) for i in range(len(sizes))]
        self.convolutions = nn.ModuleList(
            [nn.Conv1d(width, part, size, padding=size // 2) for size, part in zip(sizes, parts, strict=True) if part]
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C), a share of C for each window size."""
        x = x.transpose(1, 2)  # (B, C, T)
        return torch.cat([convolution(x) for convolution in self.convolutions], dim=1).transpose(1, 2).relu()
