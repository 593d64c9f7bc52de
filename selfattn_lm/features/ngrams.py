"""N-grams of tokens: each is found in a table by a hash of its token ids. B batch, T tokens."""

import torch
from torch import Tensor
from torch.nn import functional as F

from selfattn_lm.inputs import Inputs

UINT32 = 2**32 - 1  # keeps the lower 32 bits of a number
FNV_PRIME = 16_777_619  # of the 32-bit hash of Fowler, Noll and Vo (1991)


def add_ngrams(inputs: Inputs, max_ngram: int, buckets: int) -> Inputs:
    """Add the buckets of all n-grams of 2 to `max_ngram` tokens; with `max_ngram` 1 there are none.

    They are computed from the ids as the model reads them, after any token has been masked.
    """
    if max_ngram == 1:
        return inputs
    return inputs._replace(ngrams=ngram_buckets(inputs.ids, max_ngram, buckets))


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


def ngram_hash(hashed: Tensor, preceding: Tensor, n: int) -> Tensor:
    """Hash n-grams, given the hashes of their last n - 1 tokens and the token before those.

    The hash of a single token is its id. The product with the FNV prime keeps n-grams of the same
    tokens in another order apart.
    """
    return mix32((hashed * FNV_PRIME + preceding + n) & UINT32)


def mix32(x: Tensor) -> Tensor:
    """Mix the bits of unsigned 32-bit numbers held in int64: each bit of the result depends on all.

    This is Thomas Mueller's integer hash (https://stackoverflow.com/a/12996028), which maps no two
    numbers to the same one. Torch lacks most operations on uint32, so the products are computed in
    64 bits, where they fit (2^32 x 2^27), and cut down to 32. Unsigned 32-bit arithmetic gives the
    same values elsewhere: uint32 in numpy; in JavaScript `Math.imul`, `>>>` for the shift, and a
    last `>>> 0`.
    """
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) & UINT32
    return x ^ (x >> 16)
