"""Transformer encoder, pre-norm (Xiong et al. 2020, 2002.04745). B batch, T tokens, C width."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from selfattn_lm.nn.attention import SelfAttention


class EncoderLayer(nn.Module):
    """Tokens look at each other, then each thinks for itself: (B, T, C), (B, T) -> (B, T, C)."""

    def __init__(self, width: int, attention: SelfAttention, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = attention
        self.norm2 = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """One layer: (B, T, C), (B, T) -> (B, T, C)."""
        x = x + self.drop(self.attention(self.norm1(x), keep)[0])
        thought: Tensor = self.drop(self.feed_forward(self.norm2(x)))
        return x + thought


class Encoder(nn.Module):
    """A stack of layers, each with an attention of its own: (B, T, C), (B, T) -> (B, T, C).

    It stays near a bag of embeddings: what the layers add to a token is scaled down (Touvron et al. 2021, 2103.17239),
    and is left out for a share `skip` of the texts in training (stochastic depth, Huang et al. 2016, 1603.09382). Else
    a small training split is learned by heart from combinations of words before the words themselves are learned.
    """

    def __init__(
        self, width: int, layers: int, attention: Callable[[], SelfAttention], dropout: float, skip: float = 0.0
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList([EncoderLayer(width, attention(), dropout) for _ in range(layers)])
        self.skip, self.scale = skip, 0.2

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """All layers: (B, T, C), (B, T) -> (B, T, C)."""
        states = x
        for layer in self.layers:
            states = layer(states, keep)
        context = self.scale * (states - x)
        if self.training and self.skip:
            context = context * (torch.rand(len(x), 1, 1, device=x.device) >= self.skip)
        return x + context
