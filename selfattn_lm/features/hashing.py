"""Hashes of n-grams, which find them in a table."""

from torch import Tensor

UINT32 = 2**32 - 1  # keeps the lower 32 bits of a number
FNV_PRIME = 16_777_619  # of the 32-bit hash of Fowler, Noll and Vo (1991)


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
