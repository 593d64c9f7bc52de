"""From token ids to vectors that know spelling, neighbours and place. B batch, T tokens, C width, V tokens known."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfattn_lm.nn.dropout import Dropout

UINT32 = 2**32 - 1  # keeps the lower 32 bits of a number
MASK_ID = 3  # the special tokens come first in every vocabulary, [MASK] last of them


def token_table(size: int, width: int) -> nn.Embedding:
    """A table of random vectors of about length 1, updated only where it is touched: (V, C)."""
    table = nn.Embedding(size, width, sparse=True)
    nn.init.normal_(table.weight, std=1 / math.sqrt(width))
    return table


def mask_tokens(
    ids: Tensor, attention_mask: Tensor, vocab_size: int, random: torch.Generator | None = None, share: float = 0.15
) -> tuple[Tensor, Tensor]:
    """Choose a share of the tokens to be guessed: the texts without them, and which they are, (B, T) both.

    Of those chosen 8 in 10 become [MASK], one another token, and one stays, so that no token can be taken for granted
    (Devlin et al. 2018, 1810.04805). One at least is chosen, if the texts have more than special tokens.
    """
    chance, way = (torch.rand(ids.shape, generator=random, device=ids.device) for _ in range(2))
    chance = chance.masked_fill(~attention_mask | (ids <= MASK_ID), 1.0)
    hidden = (chance <= chance.min().clamp(min=share)) & (chance < 1)
    others = torch.randint(MASK_ID + 1, vocab_size, ids.shape, generator=random, device=ids.device)
    seen = torch.where(way < 0.8, MASK_ID, torch.where(way < 0.9, others, ids))
    return torch.where(hidden, seen, ids), hidden


class CharNgramEmbedding(nn.Module):
    """Looks up a vector for each token, plus those of the character n-grams in its spelling: (B, T) -> (B, T, C).

    Tokens that are spelled alike begin alike, and a rare one inherits what its relatives have learned (Bojanowski et
    al. 2016, 1607.04606). As the sum depends on the token alone, it is computed once for each token of a batch, and
    `folded` into a plain table after training. `char_ngrams` (V, K) holds the numbers of a token's n-grams, 0: none.
    """

    char_ngrams: Tensor

    def __init__(self, char_ngrams: Tensor, width: int) -> None:
        super().__init__()
        self.tokens = token_table(len(char_ngrams), width)
        self.characters = nn.EmbeddingBag(int(char_ngrams.max()) + 1, width, mode="sum", sparse=True, padding_idx=0)
        nn.init.normal_(self.characters.weight, std=1 / math.sqrt(width))
        self.register_buffer("char_ngrams", char_ngrams, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Embed token ids: (B, T) -> (B, T, C)."""
        distinct, place = torch.unique(ids, return_inverse=True)
        return F.embedding(place, self.vectors(distinct))

    def vectors(self, tokens: Tensor) -> Tensor:
        """The vectors of some tokens: (N,) -> (N, C)."""
        char_ngrams = self.char_ngrams[tokens]  # (N, K)
        there = char_ngrams > 0
        count = there.sum(1)
        characters = self.characters(char_ngrams[there], count.cumsum(0) - count)  # without those that are not there
        vectors: Tensor = self.tokens(tokens) + characters / count.clamp(min=1).sqrt()[:, None]  # as long as one vector
        return vectors

    def to_embedding(self) -> nn.Embedding:
        """A plain table of the same vectors: (V, C)."""
        with torch.no_grad():
            vectors = self.vectors(torch.arange(len(self.char_ngrams), device=self.char_ngrams.device))
        return nn.Embedding(len(vectors), vectors.shape[1], sparse=True, _weight=vectors)


def ngram_hash(hashed: Tensor, before: Tensor, n: int) -> Tensor:
    """Hash n-grams of tokens, given the hashes of their last n - 1 tokens and the token `before` those.

    The hash of a 1-gram is the token's id. The ids are multiplied by the prime of the 32-bit FNV hash (Fowler, Noll
    and Vo 1991), which keeps n-grams in another order apart, and then mixed.
    """
    return mix32((hashed * 16_777_619 + before + n) & UINT32)


def mix32(x: Tensor) -> Tensor:
    """Mix the bits of unsigned 32-bit numbers, held in int64, so that each bit of the result depends on all of them.

    Thomas Mueller's integer hash (https://stackoverflow.com/a/12996028), which maps no two numbers to the same one.
    Torch lacks most operations on uint32, so the products are taken in 64 bits, where they fit (2^32 x 2^27), and cut
    down to 32. Unsigned 32-bit arithmetic gives the same values elsewhere: uint32 in numpy, and in JavaScript
    `Math.imul`, `>>>` for the shift, and `>>> 0` to end with.
    """
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) & UINT32
    return x ^ (x >> 16)


class NgramEmbedding(nn.Module):
    """A vector for each token together with those before it: (B, T) -> (B, T, C), the sum over n from 2 to `longest`.

    There are far more n-grams than rows, so that each shares its row, found by a hash, with others (Joulin et al. 2016,
    1607.01759).
    """

    def __init__(self, longest: int, rows: int, width: int) -> None:
        super().__init__()
        self.longest = longest
        self.table = token_table(rows, width)
        nn.init.normal_(self.table.weight, std=0.1 / math.sqrt(width))  # seldom seen, so almost none at first

    def forward(self, ids: Tensor) -> Tensor:
        """Embed the n-grams that end at each token: (B, T) -> (B, T, C)."""
        total: Tensor = sum(self.table(rows) for rows in self.rows(ids))
        return total

    def rows(self, ids: Tensor) -> list[Tensor]:
        """The row of each token's 2-gram, 3-gram and so on: (B, T) each."""
        found = []
        hashed = ids
        for n in range(2, self.longest + 1):
            before = F.pad(ids, (n - 1, 0))[:, : ids.shape[1]]  # the token n - 1 places to the left, 0 before the text
            hashed = ngram_hash(hashed, before, n)
            found.append(hashed.remainder(self.table.num_embeddings))
        return found


class TokenEmbedding(nn.Module):
    """Embeds tokens, some of them hidden behind [MASK] in training; adds n-grams and places; drops out.

    (B, T) -> (B, T, C). `ngrams` and `positions` may be None and the identity.
    """

    def __init__(
        self, tokens: nn.Module, ngrams: nn.Module | None, positions: nn.Module, dropout: float, hide: float
    ) -> None:
        super().__init__()
        self.tokens, self.ngrams, self.positions = tokens, ngrams, positions
        self.hide, self.drop = hide, Dropout(dropout)

    def forward(self, ids: Tensor) -> Tensor:
        """Embed token ids: (B, T) -> (B, T, C)."""
        if self.training and self.hide:
            hidden = (torch.rand(ids.shape, device=ids.device) < self.hide) & (ids > MASK_ID)  # no special token
            ids = torch.where(hidden, MASK_ID, ids)
        embedded = self.tokens(ids)
        if self.ngrams is not None:
            embedded = embedded + self.ngrams(ids)
        placed: Tensor = self.drop(self.positions(embedded))
        return placed

    def fold(self) -> None:
        """Turn spelled tokens into a plain table, after training."""
        if isinstance(self.tokens, CharNgramEmbedding):
            self.tokens = self.tokens.to_embedding()
