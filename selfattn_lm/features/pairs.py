"""Pairs of texts: [CLS] first text [SEP] second text [SEP]. B batch, T tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from tokenizers import Tokenizer

from selfattn_lm.config import ResolvedTokenizer
from selfattn_lm.features.batching import pad
from selfattn_lm.features.cache import tokenize, train_on_some
from selfattn_lm.features.pair_ngrams import token_types
from selfattn_lm.features.sequences import TokenizedTexts
from selfattn_lm.inputs import Inputs

_SPECIAL = 3  # the [CLS] and the two [SEP] of a pair
MIN_PAIR_LENGTH = _SPECIAL + 2  # room for a token of each text


@dataclass(frozen=True)
class TokenizedPairs:
    """Token ids of pairs of texts, whose two sides are tokenized as texts of their own.

    Attributes:
        first: The first texts: [CLS], tokens, [SEP].
        second: The second texts, in the same form; their [CLS] is left out of a pair.
    """

    first: TokenizedTexts
    second: TokenizedTexts

    @classmethod
    def from_texts(
        cls, tokenizer: Tokenizer, first: Sequence[str], second: Sequence[str], max_length: int
    ) -> "TokenizedPairs":
        """Tokenize pairs, truncated to `max_length` tokens each."""
        pairs = cls(
            TokenizedTexts.from_texts(tokenizer, first, max_length),
            TokenizedTexts.from_texts(tokenizer, second, max_length),
        )
        return pairs.truncate(max_length)

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, i: int) -> np.ndarray:
        return np.concatenate([self.first[i], self.second[i][1:]])

    def batch(self, rows: Sequence[int] | np.ndarray, min_length: int = 0) -> Inputs:
        """Put some pairs into one batch, with the types of their tokens."""
        sep_id = self.first.sep_id
        assert sep_id is not None, "a vocabulary of pairs has [SEP]"
        inputs = pad([self[i] for i in rows], min_length)
        return inputs._replace(types=token_types(inputs.tokens, sep_id))

    @property
    def lengths(self) -> np.ndarray:
        """How many tokens of each pair are read: int64 (pairs,)."""
        return np.asarray(self.first.lengths + self.second.lengths - 1)

    @property
    def total(self) -> int:
        """The number of tokens of all pairs."""
        return int(self.lengths.sum())

    def truncate(self, max_length: int) -> "TokenizedPairs":
        """Truncate every pair to at most `max_length` tokens, from the end of its longer text."""
        first, second = truncated_lengths(
            self.first.full_lengths - 2, self.second.full_lengths - 2, max_length - _SPECIAL
        )
        return TokenizedPairs(
            replace(self.first, lengths=first + 2), replace(self.second, lengths=second + 2)
        )

    def truncation(self) -> dict[str, float]:
        """The fraction of the pairs that are truncated, and the fraction of all tokens lost."""
        full_lengths = self.first.full_lengths + self.second.full_lengths - 1
        lost = full_lengths - self.lengths  # (pairs,)
        texts_cut = float((lost > 0).mean())
        tokens_lost = int(lost.sum()) / int(full_lengths.sum())
        return {"texts_cut": texts_cut, "tokens_lost": tokens_lost}


def truncated_lengths(
    first: np.ndarray, second: np.ndarray, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """Shorten the longer text of each pair until both together have at most `limit` tokens.

    This is `longest_first` of the tokenizers library: where both texts are longer than half of the
    limit, each gets half of it, and the longer one gets the odd token.

    Args:
        first: The number of tokens of each first text, without special tokens: (pairs,).
        second: The number of tokens of each second text: (pairs,).
        limit: The maximum number of tokens of a pair, without special tokens.
    """
    shorter = np.minimum(np.minimum(first, second), limit // 2)  # (pairs,)
    longer = np.minimum(np.maximum(first, second), limit - shorter)
    first_is_longer = first > second
    return np.where(first_is_longer, longer, shorter), np.where(first_is_longer, shorter, longer)


def tokenize_pairs(
    first: Sequence[str],
    second: Sequence[str],
    config: ResolvedTokenizer,
    tokenizer: Tokenizer | None,
    max_length: int,
) -> tuple[Tokenizer, TokenizedPairs]:
    """Tokenize pairs, with a tokenizer trained on all their texts if none is given.

    The ids of many texts are kept in the cache, as those of single texts are.
    """
    if tokenizer is None:
        tokenizer = train_on_some([*first, *second], config, for_pairs=True)
    first_tokens = tokenize(first, config, tokenizer, max_length)[1]
    second_tokens = tokenize(second, config, tokenizer, max_length)[1]
    return tokenizer, TokenizedPairs(first_tokens, second_tokens).truncate(max_length)
