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

    It stays near a bag of embeddings: what the layers add to a token is scaled, feature by feature, by factors that
    begin near zero (Touvron et al. 2021, 2103.17239), and is left out for a share `skip` of the texts in training
    (stochastic depth, Huang et al. 2016, 1603.09382), which also saves the time. Else a small training split is learned
    by heart from combinations of words before the words themselves are learned.
    """

    def __init__(
        self, width: int, layers: int, attention: Callable[[], SelfAttention], dropout: float, skip: float = 0.0
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList([EncoderLayer(width, attention(), dropout) for _ in range(layers)])
        self.scale = nn.Parameter(torch.full((width,), 0.01))
        self.skip = skip

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """Each token with its context: (B, T, C), (B, T) -> (B, T, C)."""
        if not (self.training and self.skip):
            return x + self.context(x, keep)
        chance = torch.rand(len(x), device=x.device)
        texts = (chance >= chance.max().clamp(max=self.skip)).nonzero()[:, 0]  # one at least
        context = self.context(x[texts], keep[texts])
        return x.index_add(0, texts, context.to(x.dtype))

    def context(self, x: Tensor, keep: Tensor) -> Tensor:
        """What all layers together add: (B, T, C), (B, T) -> (B, T, C)."""
        states = x
        for layer in self.layers:
            states = layer(states, keep)
        return self.scale * (states - x)
