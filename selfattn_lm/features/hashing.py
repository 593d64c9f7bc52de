"""Hashes of n-grams, which find them in a table."""

from typing import TypeVar

import numpy as np
from torch import Tensor

UINT32 = 2**32 - 1  # keeps the lower 32 bits of a number
FNV_PRIME = 16_777_619  # of the 32-bit hash of Fowler, Noll and Vo (1991)

# Unsigned 32-bit numbers: int64 in torch, which lacks most operations on uint32, uint32 in numpy.
Numbers = TypeVar("Numbers", Tensor, np.ndarray)


def ngram_hash(hashed: Numbers, preceding: Numbers, n: int) -> Numbers:
    """Hash n-grams, given the hashes of their last n - 1 tokens and the token before those.

    The hash of a single token is its id. The product with the FNV prime keeps n-grams of the same
    tokens in another order apart.
    """
    return mix32((hashed * FNV_PRIME + preceding + n) & UINT32)


def mix32(x: Numbers) -> Numbers:
    """Mix the bits of unsigned 32-bit numbers: each bit of the result depends on all.

    This is Thomas Mueller's integer hash (https://stackoverflow.com/a/12996028), which maps no two
    numbers to the same one. In int64 the products fit (2^32 x 2^27), and are cut down to 32 bits.
    Unsigned 32-bit arithmetic gives the same values: uint32 in numpy; in JavaScript `Math.imul`,
    `>>>` for the shift, and a last `>>> 0`.
    """
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) & UINT32
    mixed: Numbers = x ^ (x >> 16)
    return mixed
