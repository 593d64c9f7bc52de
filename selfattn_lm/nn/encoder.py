"""Transformer encoder, with norms before its blocks or after them. B batch, T tokens, C width."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from selfattn_lm.nn.attention import SelfAttention
from selfattn_lm.nn.dropout import Dropout


def feed_forward(width: int, inner: int, activation: Callable[[], nn.Module] = nn.GELU) -> nn.Sequential:
    """A small network that looks at each token by itself: (B, T, C) -> (B, T, C)."""
    return nn.Sequential(nn.Linear(width, inner), activation(), nn.Linear(inner, width))


class EncoderLayer(nn.Module):
    """Tokens look at each other, then each thinks for itself: (B, T, C), (B, T) -> (B, T, C).

    Pre-norm (Xiong et al. 2020, 2002.04745): what a block adds is added to the plain vectors, which learns steadily.
    """

    def __init__(
        self, attention: SelfAttention, feed_forward_: nn.Module, norms: tuple[nn.Module, nn.Module], dropout: float
    ) -> None:
        super().__init__()
        self.norm1, self.attention = norms[0], attention
        self.norm2, self.feed_forward = norms[1], feed_forward_
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        """One layer: (B, T, C), (B, T) -> (B, T, C)."""
        x = x + self.drop(self.attention(self.norm1(x), attention_mask)[0])
        added: Tensor = self.drop(self.feed_forward(self.norm2(x)))
        return x + added


class PostNormLayer(EncoderLayer):
    """The same with each norm after its sum, as in the first Transformer (1706.03762) and in BERT (1810.04805)."""

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        """One layer: (B, T, C), (B, T) -> (B, T, C)."""
        x = self.norm1(x + self.drop(self.attention(x, attention_mask)[0]))
        normed: Tensor = self.norm2(x + self.drop(self.feed_forward(x)))
        return normed


class Encoder(nn.Module):
    """A stack of layers, and a last norm where theirs come first: (B, T, C), (B, T) -> (B, T, C)."""

    def __init__(self, layers: Iterable[EncoderLayer], norm: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = norm

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        """Each token with its context: (B, T, C), (B, T) -> (B, T, C)."""
        for layer in self.layers:
            x = layer(x, attention_mask)
        normed: Tensor = self.norm(x)
        return normed
