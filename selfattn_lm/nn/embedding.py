"""From token ids to vectors. B batch, T tokens, C width, V tokens of the vocabulary, N n-grams."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfattn_lm.inputs import Inputs
from selfattn_lm.nn.dropout import Dropout


def token_table(size: int, width: int) -> nn.Embedding:
    """Build a table of random vectors of about length 1, whose gradients are sparse: (V, C)."""
    table = nn.Embedding(size, width, sparse=True)
    nn.init.normal_(table.weight, std=1 / math.sqrt(width))
    return table


class CharNgramEmbedding(nn.Module):
    """Adds up the vectors of a token and of its character n-grams: (B, T) -> (B, T, C).

    Tokens that are spelled similarly begin with similar vectors, and a rare one inherits what the
    others have learned (Bojanowski et al. 2016, 1607.04606). The sum depends on the token alone: it
    is computed once per distinct token of a batch, and after training `to_embedding` tabulates it.

    Args:
        char_ngrams: The n-grams of each token, numbered from 1 and filled up with 0: (V, K).
        width: Width C of a vector.
    """

    char_ngrams: Tensor

    def __init__(self, char_ngrams: Tensor, width: int) -> None:
        super().__init__()
        self.tokens = token_table(len(char_ngrams), width)
        rows = int(char_ngrams.max()) + 1
        self.characters = nn.EmbeddingBag(rows, width, mode="sum", sparse=True, padding_idx=0)
        nn.init.normal_(self.characters.weight, std=1 / math.sqrt(width))
        self.register_buffer("char_ngrams", char_ngrams, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Embed token ids: (B, T) -> (B, T, C)."""
        distinct, index = torch.unique(ids, return_inverse=True)
        return F.embedding(index, self.vectors(distinct))

    def vectors(self, tokens: Tensor) -> Tensor:
        """Compute the vectors of some tokens: (N,) -> (N, C)."""
        char_ngrams = self.char_ngrams[tokens]  # (N, K)
        is_ngram = char_ngrams > 0
        count = is_ngram.sum(1)  # (N,)
        offsets = count.cumsum(0) - count
        characters = self.characters(char_ngrams[is_ngram], offsets)  # (N, C)
        scale = count.clamp(min=1).sqrt()[:, None]  # gives the sum about the length of one vector
        vectors: Tensor = self.tokens(tokens) + characters / scale
        return vectors

    def to_embedding(self) -> nn.Embedding:
        """Build a plain table of the same vectors: (V, C)."""
        every_token = torch.arange(len(self.char_ngrams), device=self.char_ngrams.device)
        with torch.no_grad():
            vectors = self.vectors(every_token)
        return nn.Embedding(len(vectors), vectors.shape[1], sparse=True, _weight=vectors)


class NgramEmbedding(nn.Module):
    """Adds up the vectors of the n-grams that end at each token: (B, T, N - 1) -> (B, T, C).

    There are far more n-grams than buckets; those of one bucket share a vector (Joulin et al. 2016,
    1607.01759). `features.ngrams` finds the buckets, and `empty` is that of no n-gram.
    """

    def __init__(self, buckets: int, width: int, empty: int | None = None) -> None:
        super().__init__()
        self.table = token_table(buckets, width)
        # Most n-grams are rare, so their vectors begin near zero.
        nn.init.normal_(self.table.weight, std=0.1 / math.sqrt(width))
        if empty is not None:  # its vector stays zero
            self.table.padding_idx = empty
            nn.init.zeros_(self.table.weight.data[empty])

    def forward(self, ngrams: Tensor) -> Tensor:
        """Embed the n-grams of 2, 3, … tokens: (B, T, N - 1) -> (B, T, C)."""
        total: Tensor = self.table(ngrams[..., 0])
        for n in range(1, ngrams.shape[-1]):
            total = total + self.table(ngrams[..., n])
        return total


class TokenEmbedding(nn.Module):
    """Adds up the vectors of tokens, n-grams and positions, and applies dropout.

    Args:
        tokens: Token ids to vectors, (B, T) -> (B, T, C); or of F features, (B, T, F) -> (B, T, C).
        ngrams: N-gram buckets to vectors, (B, T, N - 1) -> (B, T, C); None for a model without.
        positions: Adds positions, (B, T, C) -> (B, T, C); `nn.Identity()` for a model without.
        dropout: Dropout probability.
    """

    def __init__(
        self, tokens: nn.Module, ngrams: nn.Module | None, positions: nn.Module, dropout: float
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.ngrams = ngrams
        self.positions = positions
        self.drop = Dropout(dropout)

    def forward(self, inputs: Inputs) -> Tensor:
        """Embed a batch: (B, T) -> (B, T, C)."""
        embedded = self.tokens(inputs.tokens)
        if self.ngrams is not None:
            assert inputs.ngrams is not None, "features.add_ngrams computes them"
            embedded = embedded + self.ngrams(inputs.ngrams)
        dropped: Tensor = self.drop(self.positions(embedded))
        return dropped

    def fold_char_ngrams(self) -> None:
        """Add the character n-grams to their tokens, once and for all, after training."""
        if isinstance(self.tokens, CharNgramEmbedding):
            self.tokens = self.tokens.to_embedding()
