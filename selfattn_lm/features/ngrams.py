"""N-grams of tokens: each is found in a table by a hash of its token ids. B batch, T tokens."""

import torch
from torch import Tensor
from torch.nn import functional as F

from selfattn_lm.features.hashing import ngram_hash
from selfattn_lm.features.pair_ngrams import pair_ngram_buckets
from selfattn_lm.inputs import Inputs


def add_ngrams(inputs: Inputs, max_ngram: int, buckets: int) -> Inputs:
    """Add the buckets of all n-grams of 2 to `max_ngram` tokens; with `max_ngram` 1 there are none.

    They are computed from the ids as the model reads them, after any token has been masked. Those
    of a pair are within one text, and what compares the texts follows them.
    """
    if max_ngram == 1:
        return inputs
    ngrams = ngram_buckets(inputs.tokens, max_ngram, buckets)
    if inputs.types is not None:
        within = without_border(ngrams, inputs.types, empty=buckets)
        ngrams = torch.cat([within, pair_ngram_buckets(inputs, buckets)], dim=-1)
    return inputs._replace(ngrams=ngrams)


def without_border(ngrams: Tensor, types: Tensor, empty: int) -> Tensor:
    """Replace the n-grams that begin in the first text of a pair and end in the second.

    Args:
        ngrams: The buckets of n-grams of 2, 3, … N tokens: (B, T, N - 1).
        types: The number of the text that each token belongs to, 0 or 1: (B, T).
        empty: What replaces them.
    """
    columns = []
    for n, column in enumerate(ngrams.unbind(-1), start=2):
        first_types = F.pad(types, (n - 1, 0))[:, : types.shape[1]]
        columns.append(column.masked_fill(types != first_types, empty))
    return torch.stack(columns, dim=-1)


def ngram_buckets(ids: Tensor, max_ngram: int, buckets: int) -> Tensor:
    """Find the bucket of the 2-gram, 3-gram, … that ends at each token: (B, T) -> (B, T, N - 1).

    Before the first token of a text there are zeros, as padding has.
    """
    length = ids.shape[1]
    hashed = ids
    found = []
    for n in range(2, max_ngram + 1):
        # (B, T): the token n - 1 positions to the left.
        preceding = F.pad(ids, (n - 1, 0))[:, :length]
        hashed = ngram_hash(hashed, preceding, n)
        found.append(hashed.remainder(buckets))
    return torch.stack(found, dim=-1)
