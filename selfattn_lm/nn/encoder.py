"""The Transformer encoder, pre-norm and post-norm. B batch, T tokens, C width, H heads."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from selfattn_lm.nn.attention import SelfAttention
from selfattn_lm.nn.dropout import Dropout


def feed_forward(
    width: int, inner: int, activation: Callable[[], nn.Module] = nn.GELU
) -> nn.Sequential:
    """Build a position-wise feed-forward network: (B, T, C) -> (B, T, C), each token by itself."""
    return nn.Sequential(nn.Linear(width, inner), activation(), nn.Linear(inner, width))


class EncoderLayer(nn.Module):
    """One encoder layer: self-attention, then a position-wise feed-forward network.

    Pre-norm (Xiong et al. 2020, 2002.04745): each of the two normalises its input and adds its
    output to the residual stream, which trains stably without a long warm-up.

    Shape: (B, T, C), mask (B, T) -> (B, T, C).
    """

    def __init__(
        self,
        attention: SelfAttention,
        feed_forward: nn.Module,
        norm1: nn.Module,
        norm2: nn.Module,
        dropout: float,
    ) -> None:
        super().__init__()
        self.norm1 = norm1
        self.attention = attention
        self.norm2 = norm2
        self.feed_forward = feed_forward
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Compute the layer: (B, T, C), (B, T) -> (B, T, C)."""
        x = x + self.drop(self.attention(self.norm1(x), mask))
        x = x + self.drop(self.feed_forward(self.norm2(x)))
        return x

    def attend(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the same, and return the attention weights too: (B, T, C), (B, H, T, T)."""
        attended, weights = self.attention.attend(self.norm1(x), mask)
        x = x + self.drop(attended)
        x = x + self.drop(self.feed_forward(self.norm2(x)))
        return x, weights


class PostNormLayer(EncoderLayer):
    """The layer of the first Transformer (1706.03762) and BERT: each norm follows its sum."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Compute the layer: (B, T, C), (B, T) -> (B, T, C)."""
        x = self.norm1(x + self.drop(self.attention(x, mask)))
        x = self.norm2(x + self.drop(self.feed_forward(x)))
        return x

    def attend(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the same, and return the attention weights too: (B, T, C), (B, H, T, T)."""
        attended, weights = self.attention.attend(x, mask)
        x = self.norm1(x + self.drop(attended))
        x = self.norm2(x + self.drop(self.feed_forward(x)))
        return x, weights


class Encoder(nn.Module):
    """A stack of layers, and a last norm if they are pre-norm: (B, T, C), (B, T) -> (B, T, C)."""

    def __init__(self, layers: Iterable[EncoderLayer], norm: nn.Module) -> None:
        super().__init__()
        self.layers: Any = nn.ModuleList(layers)
        self.norm = norm

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Compute each token's vector in its context: (B, T, C), (B, T) -> (B, T, C)."""
        for layer in self.layers:
            x = layer(x, mask)
        hidden_states: Tensor = self.norm(x)
        return hidden_states

    def attend(self, x: Tensor, mask: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Compute the same, and return each layer's attention weights: (B, H, T, T) each."""
        weights_by_layer: list[Tensor] = []
        for layer in self.layers:
            x, weights = layer.attend(x, mask)
            weights_by_layer.append(weights)
        return self.norm(x), weights_by_layer
