"""Weighted n-grams of whole texts, as TF-IDF: (1 + log count) · idf, each text of length 1.

N texts, F features: n-grams that occur in several training texts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from selfattn_lm.features.hashing import ngram_hash
from selfattn_lm.features.ngrams import hashes_within, without_border
from selfattn_lm.features.pair_ngrams import DIFFERENCES, NO_NGRAM, pair_ngram_hashes
from selfattn_lm.features.pairs import TokenizedPairs
from selfattn_lm.features.sequences import TokenizedTexts, Tokens
from selfattn_lm.inputs import Inputs, SparseRows

MIN_TEXTS = 2  # in which an n-gram occurs at least: one of a single text says nothing of others
_TOKENS_AT_ONCE = 300_000  # of single texts
_PAIRS_AT_ONCE = 64  # each token of a pair is compared with all others


@dataclass(frozen=True)
class NgramVocabulary:
    """The n-grams that count, by their hashes.

    Two n-grams of the same hash are one feature. Among 100,000 features that is the case for one or
    two, and an n-gram that is none of them is taken for one once in 40,000 times.

    Attributes:
        hashes: The hashes of the n-grams, rising: uint32 (F,).
        idf: Their inverse document frequencies, log((1 + N) / (1 + texts)) + 1: float16 (F,).
        max_ngram: The number of tokens of the longest n-gram.
    """

    hashes: np.ndarray
    idf: np.ndarray
    max_ngram: int

    @classmethod
    def from_texts(
        cls, texts: TokenizedTexts | TokenizedPairs, max_ngram: int, most: int
    ) -> "NgramVocabulary":
        """Choose the n-grams of at least two texts and not of all, at most `most`, the frequent.

        Args:
            texts: The whole texts of the training split.
            max_ngram: The number of tokens of the longest n-gram.
            most: The maximum number of features.
        """
        found = [np.zeros(0, np.uint32)]
        for counted in _count_ngrams(texts, max_ngram):
            found.append(counted.hashes)
        distinct, frequencies = np.unique(np.concatenate(found), return_counts=True)
        # What all texts have, such as [CLS], does not tell them apart.
        chosen = np.flatnonzero((frequencies >= MIN_TEXTS) & (frequencies < len(texts)))
        if len(chosen) > most:
            by_frequency = np.argsort(-frequencies[chosen], kind="stable")
            chosen = np.sort(chosen[by_frequency[:most]])
        idf = np.log((1 + len(texts)) / (1 + frequencies[chosen])) + 1
        return cls(distinct[chosen], idf.astype(np.float16), max_ngram)

    @classmethod
    def from_tensors(cls, hashes: Tensor, idf: Tensor, max_ngram: int) -> "NgramVocabulary":
        """Take the n-grams of a trained model: int32 of the same bits (F,), float16 (F,)."""
        return cls(hashes.cpu().numpy().view(np.uint32), idf.cpu().numpy(), max_ngram)

    def rows(self, texts: TokenizedTexts | TokenizedPairs) -> SparseRows:
        """Weigh the n-grams of each text: (N, F). A text without any has an empty row."""
        assert len(self.hashes) > 0, "without features there is nothing to weigh"
        columns = [np.zeros(0, np.int32)]
        values = [np.zeros(0, np.float32)]
        lengths = [np.zeros(0, np.int64)]
        for counted in _count_ngrams(texts, self.max_ngram):
            places = np.searchsorted(self.hashes, counted.hashes)
            places = np.minimum(places, len(self.hashes) - 1)
            is_feature = self.hashes[places] == counted.hashes
            places = places[is_feature]
            rows = counted.rows[is_feature]
            weights = (1 + np.log(counted.counts[is_feature])) * self.idf[places]
            norms = np.sqrt(np.bincount(rows, weights * weights, minlength=counted.texts))
            columns.append(places.astype(np.int32))
            values.append((weights / norms[rows]).astype(np.float32))
            lengths.append(np.bincount(rows, minlength=counted.texts))
        offsets = np.append(0, np.cumsum(np.concatenate(lengths)))
        return SparseRows(
            torch.from_numpy(np.concatenate(columns)),
            torch.from_numpy(offsets.astype(np.int32)),
            torch.from_numpy(np.concatenate(values)),
        )


class _Counted(NamedTuple):
    """The n-grams of some texts, text by text, each n-gram once.

    Attributes:
        rows: The number of each n-gram's text among these texts, rising: int64 (n-grams,).
        hashes: The n-grams: uint32 (n-grams,).
        counts: How often the text has them: int64 (n-grams,).
        texts: The number of texts.
    """

    rows: np.ndarray
    hashes: np.ndarray
    counts: np.ndarray
    texts: int


def _count_ngrams(texts: TokenizedTexts | TokenizedPairs, max_ngram: int) -> Iterator[_Counted]:
    """Count the n-grams of 1 to `max_ngram` tokens of each text, those of some texts at a time."""
    for chosen in _parts(texts):
        if isinstance(texts, TokenizedPairs):
            hashes, rows = _pair_ngrams(texts.batch(chosen), max_ngram)
        else:
            hashes, rows = _text_ngrams([texts[i] for i in chosen], max_ngram)
        # One sort of both: the text in the upper half of a number, the hash in the lower.
        keys = (rows.astype(np.uint64) << 32) | hashes
        distinct, counts = np.unique(keys, return_counts=True)
        yield _Counted(
            rows=(distinct >> 32).astype(np.int64),
            hashes=distinct.astype(np.uint32),
            counts=counts,
            texts=len(chosen),
        )


def _parts(texts: TokenizedTexts | TokenizedPairs) -> Iterator[range]:
    """Divide texts into parts that need little memory, however long the texts are."""
    ends = np.cumsum(texts.lengths)
    start = 0
    while start < len(texts):
        stop = min(start + _PAIRS_AT_ONCE, len(texts))
        if isinstance(texts, TokenizedTexts):
            limit = ends[start] - texts.lengths[start] + _TOKENS_AT_ONCE
            stop = max(start + 1, int(np.searchsorted(ends, limit, side="right")))
        yield range(start, stop)
        start = stop


def _text_ngrams(texts: Sequence[np.ndarray], max_ngram: int) -> tuple[np.ndarray, np.ndarray]:
    """Hash all n-grams of texts, as `ngrams.hashes_within` does.

    Returns:
        The hashes, uint32 (n-grams,), and the number of each one's text, int64 (n-grams,).
    """
    lengths = np.array([len(text) for text in texts])
    ids = np.concatenate(texts).astype(np.uint32)
    rows = np.repeat(np.arange(len(texts)), lengths)
    starts = np.cumsum(lengths) - lengths
    positions = np.arange(len(ids)) - starts[rows]
    hashed = ids
    found, owners = [ids], [rows]
    for n in range(2, min(max_ngram, len(ids)) + 1):
        preceding = ids[: len(ids) - n + 1]
        hashed = ngram_hash(hashed[1:], preceding, n)
        is_within = positions[n - 1 :] >= n - 1
        found.append(hashed[is_within])
        owners.append(rows[n - 1 :][is_within])
    return np.concatenate(found), np.concatenate(owners)


def _pair_ngrams(inputs: Inputs, max_ngram: int) -> tuple[np.ndarray, np.ndarray]:
    """Hash all n-grams of pairs, and what compares their texts; returns as `_text_ngrams` does."""
    comparisons = pair_ngram_hashes(inputs)
    comparisons[:, 1:, :DIFFERENCES] = NO_NGRAM  # the same for all tokens: they count once
    found = [inputs.tokens[..., None], comparisons]
    if max_ngram > 1:
        assert inputs.types is not None, "a pair has two types of tokens"
        found.append(without_border(hashes_within(inputs.tokens, max_ngram), inputs.types))
    hashes = torch.cat(found, dim=-1)  # (B, T, columns)
    is_ngram = (hashes != NO_NGRAM) & inputs.attention_mask[..., None]
    rows = is_ngram.nonzero()[:, 0]
    return hashes[is_ngram].numpy().astype(np.uint32), rows.numpy()


@dataclass(frozen=True)
class WithNgrams:
    """Tokens with the weighted n-grams of the whole texts.

    Attributes:
        tokens: What the encoders read: texts, pairs or windows.
        weighted_ngrams: The n-grams of each text: (N, F).
        texts: The text of each row, int64 (rows,), where the rows are windows; None: its own.
    """

    tokens: Tokens
    weighted_ngrams: SparseRows
    texts: np.ndarray | None = None

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each row: int64 (rows,)."""
        return self.tokens.lengths

    @property
    def total(self) -> int:
        """The number of tokens of all rows."""
        return self.tokens.total

    def __len__(self) -> int:
        return len(self.tokens)

    def batch(self, rows: Sequence[int] | np.ndarray, min_length: int = 0) -> Inputs:
        """Put some rows into one batch."""
        inputs = self.tokens.batch(rows, min_length)
        texts = np.asarray(rows)
        if self.texts is not None:
            texts = self.texts[texts]
        return inputs._replace(weighted_ngrams=self.weighted_ngrams.select(texts))

    def truncation(self) -> dict[str, float]:
        """The fraction of the texts that the encoders read shortened, and of all tokens lost."""
        return self.tokens.truncation()
