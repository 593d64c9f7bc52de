"""Token ids to vectors. B batch, T tokens, C width."""

import math

from torch import Tensor, nn


class TokenEmbedding(nn.Module):
    """Looks up a vector for each token, adds its place, and drops out: (B, T) -> (B, T, C)."""

    def __init__(self, vocab_size: int, width: int, positions: nn.Module, dropout: float) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, width)
        nn.init.normal_(self.tokens.weight, std=1 / math.sqrt(width))
        self.positions = positions
        self.drop = nn.Dropout(dropout)

    def forward(self, ids: Tensor) -> Tensor:
        """Embed token ids: (B, T) -> (B, T, C)."""
        embedded: Tensor = self.drop(self.positions(self.tokens(ids)))
        return embedded
