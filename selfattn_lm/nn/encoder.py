"""Transformer encoder, pre-norm (Xiong et al. 2020, 2002.04745). B batch, T tokens, C width."""

from collections.abc import Callable

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
    """A stack of layers, each with an attention of its own, and a last norm: (B, T, C), (B, T) -> (B, T, C)."""

    def __init__(self, width: int, layers: int, attention: Callable[[], SelfAttention], dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList([EncoderLayer(width, attention(), dropout) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """Each token with its context: (B, T, C), (B, T) -> (B, T, C)."""
        for layer in self.layers:
            x = layer(x, keep)
        normed: Tensor = self.norm(x)
        return normed
