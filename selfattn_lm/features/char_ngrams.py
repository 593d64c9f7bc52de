"""The character n-grams of a vocabulary's tokens.

V tokens, K n-grams of the token that has most.
"""

from zlib import crc32

import numpy as np
from tokenizers import Tokenizer

from selfattn_lm.features.tokenizer import SPECIAL

_MOST = 40  # n-grams of one token; more of a very long one are left out
_CONTINUES_A_WORD = "##"


def char_ngram_ids(tokenizer: Tokenizer, type: str, buckets: int = 32_768) -> np.ndarray:
    """Hash the character n-grams of each token: int64 (V, K), numbered from 1, filled up with 0.

    Tokens of a `word` or `wordpiece` tokenizer have n-grams of 3 to 5 characters, and a space marks
    the beginning of a word. Tokens of `bpe` have n-grams of 1 to 3 characters, since it is used for
    scripts without spaces too, where a character says more. Special tokens have none.
    """
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    rows = [_hashed(token, type, buckets) for token in tokens]
    most = max(len(row) for row in rows)
    table = np.zeros((len(rows), most), dtype=np.int64)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return table


def _hashed(token: str, type: str, buckets: int) -> list[int]:
    if token in SPECIAL:
        return []
    ngrams = _ngrams(token, type)
    # crc32 is the same in every run; Python's own hash of a text is not.
    return [1 + crc32(ngram.encode()) % buckets for ngram in ngrams[:_MOST]]


def _ngrams(token: str, type: str) -> list[str]:
    """The character n-grams of a token, the short ones first; a shorter token as a whole."""
    if token.startswith(_CONTINUES_A_WORD):
        text = token.removeprefix(_CONTINUES_A_WORD)
    elif type == "bpe":
        text = token
    else:
        text = f" {token}"
    sizes = (1, 2, 3) if type == "bpe" else (3, 4, 5)
    found = []
    for size in sizes:
        for start in range(len(text) - size + 1):
            found.append(text[start : start + size])
    return found or [text]
