"""N-grams of tokens: each is found in a table by a hash of its token ids. B batch, T tokens."""

import torch
from torch import Tensor
from torch.nn import functional as F

from selfattn_lm.features.hashing import ngram_hash
from selfattn_lm.features.pair_ngrams import NO_NGRAM, pair_ngram_hashes
from selfattn_lm.inputs import Inputs


def add_ngrams(inputs: Inputs, max_ngram: int, buckets: int) -> Inputs:
    """Add the buckets of all n-grams of 2 to `max_ngram` tokens; with `max_ngram` 1 there are none.

    They are computed from the ids as the model reads them, after any token has been masked. Those
    of a pair are within one text, and what compares the texts follows them. An empty place is one
    beyond the last bucket.
    """
    if max_ngram == 1:
        return inputs
    hashes = ngram_hashes(inputs, max_ngram)
    found = hashes.remainder(buckets)
    if inputs.types is not None:  # single texts have no empty places
        found = found.masked_fill(hashes == NO_NGRAM, buckets)
    return inputs._replace(ngrams=found)


def ngram_hashes(inputs: Inputs, max_ngram: int) -> Tensor:
    """Hash the n-grams of 2, 3, … N tokens that end at each token: (B, T) -> (B, T, N - 1).

    For pairs of texts there are further columns, with what compares the texts.
    """
    hashes = hashes_within(inputs.tokens, max_ngram)
    if inputs.types is None:
        return hashes
    within = without_border(hashes, inputs.types)
    return torch.cat([within, pair_ngram_hashes(inputs)], dim=-1)


def without_border(hashes: Tensor, types: Tensor) -> Tensor:
    """Replace the n-grams that begin in the first text of a pair and end in the second.

    Args:
        hashes: The hashes of n-grams of 2, 3, … N tokens: (B, T, N - 1).
        types: The number of the text that each token belongs to, 0 or 1: (B, T).
    """
    columns = []
    for n, column in enumerate(hashes.unbind(-1), start=2):
        first_types = F.pad(types, (n - 1, 0))[:, : types.shape[1]]
        columns.append(column.masked_fill(types != first_types, NO_NGRAM))
    return torch.stack(columns, dim=-1)


def hashes_within(ids: Tensor, max_ngram: int) -> Tensor:
    """Hash the 2-gram, 3-gram, … that ends at each token: (B, T) -> (B, T, N - 1).

    Before the first token of a text there are zeros, as padding has.
    """
    length = ids.shape[1]
    hashed = ids
    found = []
    for n in range(2, max_ngram + 1):
        # (B, T): the token n - 1 positions to the left.
        preceding = F.pad(ids, (n - 1, 0))[:, :length]
        hashed = ngram_hash(hashed, preceding, n)
        found.append(hashed)
    return torch.stack(found, dim=-1)
