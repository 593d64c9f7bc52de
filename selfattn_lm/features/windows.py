"""Texts that are longer than the model reads: their head and tail, or windows of all their tokens.

W windows, D documents, L values of a window.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from selfattn_lm.config import ResolvedModel
from selfattn_lm.features.batching import pad
from selfattn_lm.features.pairs import TokenizedPairs
from selfattn_lm.features.sequences import TokenizedTexts, Tokens
from selfattn_lm.inputs import Inputs

NO_LIMIT = 2**31  # tokens of a text, where all of them are needed
# Sun et al. (2019, 1905.05583) read the first 128 and the last 382 of 510 tokens.
HEAD_FRACTION = 1 / 4
STRIDE_FRACTION = 3 / 4  # of the tokens of a window; the last quarter is read again by the next
MOST_IN_TRAINING = 8  # windows of one text, whose gradients must fit in one batch


def join_head_and_tail(texts: TokenizedTexts, max_length: int) -> TokenizedTexts:
    """Keep the first quarter of `max_length` tokens and the last three quarters of long texts.

    The first token of a text, [CLS], and the last one, [SEP] where there is one, stay. The ids are
    copied. One n-gram, that of the two tokens that have become neighbours, is not in the text.
    """
    head = max(1, int(max_length * HEAD_FRACTION))
    lengths = np.minimum(texts.lengths, max_length)  # (D,)
    starts = np.cumsum(lengths) - lengths
    ids = np.empty(int(lengths.sum()), np.int32)
    for i, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        text = texts[i]
        if len(text) > length:
            text = np.concatenate([text[:head], text[head - length :]])
        ids[start : start + length] = text
    return replace(texts, ids=ids, starts=starts, lengths=lengths)


@dataclass(frozen=True)
class Windows:
    """Overlapping windows over texts, each a row that begins with [CLS] and ends as texts end.

    A text that fits is one window. Of a longer one all windows have `max_length` tokens, and the
    last one ends where the text ends.

    Attributes:
        texts: The whole texts: D of them.
        documents: The text of each window, rising: int64 (W,).
        starts: Where each window begins in the ids of the texts: int64 (W,). Its first token there,
            and its last one if texts end with [SEP], are replaced.
        lengths: The number of tokens of each window: int64 (W,).
        firsts: The first window of each text, and the number of windows: int64 (D + 1,).
    """

    texts: TokenizedTexts
    documents: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    firsts: np.ndarray

    @classmethod
    def over(cls, texts: TokenizedTexts, max_length: int, most: int | None = None) -> "Windows":
        """Divide texts into windows of at most `max_length` tokens.

        Args:
            texts: The whole texts.
            max_length: The number of tokens of a window, with [CLS] and [SEP].
            most: Keep at most this many windows of a text, evenly spread from its first to its
                last; by default all, which read every token.
        """
        stride = _stride(max_length, has_sep=texts.sep_id is not None)
        counts = _count_windows(texts.lengths, max_length, stride)  # (D,)
        kept = counts
        if most is not None:
            kept = np.minimum(counts, most)
        firsts = np.concatenate([[0], np.cumsum(kept)])
        documents = np.repeat(np.arange(len(texts)), kept)  # (W,)
        number = np.arange(len(documents)) - firsts[documents]  # among the kept ones of its text
        step = (counts - 1) / np.maximum(kept - 1, 1)  # (D,)
        number_of_all = np.rint(number * step[documents]).astype(np.int64)  # (W,)
        last_offset = np.maximum(texts.lengths - max_length, 0)  # (D,)
        offsets = np.minimum(number_of_all * stride, last_offset[documents])  # (W,)
        return cls(
            texts=texts,
            documents=documents,
            starts=texts.starts[documents] + offsets,
            lengths=np.minimum(texts.lengths, max_length)[documents],
            firsts=firsts,
        )

    def __len__(self) -> int:
        return len(self.documents)

    def __getitem__(self, i: int) -> np.ndarray:
        start = self.starts[i]
        ids = self.texts.ids[start : start + self.lengths[i]].copy()
        ids[0] = self.texts.ids[self.texts.starts[self.documents[i]]]  # [CLS]
        if self.texts.sep_id is not None:
            ids[-1] = self.texts.sep_id
        return ids

    @property
    def counts(self) -> np.ndarray:
        """The number of windows of each text: int64 (D,)."""
        return np.diff(self.firsts)

    @property
    def total(self) -> int:
        """The number of tokens of all windows."""
        return int(self.lengths.sum())

    def batch(self, rows: Sequence[int] | np.ndarray, min_length: int = 0) -> Inputs:
        """Put some windows into one batch, each a row of its own."""
        return pad([self[i] for i in rows], min_length)

    def of_documents(
        self, documents: Sequence[int] | np.ndarray
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the windows of some texts, and the place of each one's text in `documents`."""
        rows = []
        for document in documents:
            window_numbers = range(self.firsts[document], self.firsts[document + 1])
            rows += [self[i] for i in window_numbers]
        return rows, np.repeat(np.arange(len(documents)), self.counts[documents])

    def pool(self, values: np.ndarray) -> np.ndarray:
        """Compute the mean over the windows of each text: (W, L) -> float32 (D, L)."""
        if len(values) == 0:
            return values
        sums = np.add.reduceat(values, self.firsts[:-1], axis=0, dtype=np.float64)  # (D, L)
        return np.asarray(sums / self.counts[:, None], np.float32)

    def truncation(self) -> dict[str, float]:
        """The fraction of the texts of which tokens are in no window, and that of these tokens."""
        ends_of_texts = self.texts.starts + self.texts.lengths  # (D,)
        has_sep = int(self.texts.sep_id is not None)
        ends = self.starts + self.lengths - has_sep  # (W,), where the tokens read end
        next_starts = np.append(self.starts[1:] + 1, 0)  # after the [CLS] of the next window
        last_windows = self.firsts[1:] - 1
        next_starts[last_windows] = ends_of_texts - has_sep
        unread = np.maximum(next_starts - ends, 0)  # (W,), between a window and the next
        lost = np.add.reduceat(unread, self.firsts[:-1])  # (D,)
        texts_cut = float((lost > 0).mean())
        return {"texts_cut": texts_cut, "tokens_lost": int(lost.sum()) / self.texts.total}


@dataclass(frozen=True)
class WindowedTexts:
    """Texts in windows, for training: a row is a text, and its windows are read in one batch."""

    windows: Windows

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens in all windows of each text: int64 (D,)."""
        windows = self.windows
        return np.asarray(windows.counts * windows.lengths[windows.firsts[:-1]])

    @property
    def total(self) -> int:
        """The number of tokens of all windows."""
        return self.windows.total

    def __len__(self) -> int:
        return len(self.windows.texts)

    def batch(self, rows: Sequence[int] | np.ndarray, min_length: int = 0) -> Inputs:
        """Put all windows of some texts into one batch, which says whose they are."""
        windows, numbers = self.windows.of_documents(rows)
        return pad(windows, min_length)._replace(documents=torch.from_numpy(numbers))

    def truncation(self) -> dict[str, float]:
        """The fractions of `Windows.truncation`."""
        return self.windows.truncation()


def by_text(tokens: Tokens) -> Tokens:
    """Return tokens with a row for each text, which those in windows do not have."""
    if isinstance(tokens, Windows):
        return WindowedTexts(tokens)
    return tokens


def fit_length(
    texts: TokenizedTexts | TokenizedPairs, config: ResolvedModel, most_windows: int | None = None
) -> Tokens:
    """Fit texts to the length that the model reads, as `long_texts` says; pairs are truncated.

    Args:
        texts: The texts, whole or, for `head`, truncated to no less than `max_length`.
        config: The settings of the model.
        most_windows: The maximum number of windows of a text; by default there is none.
    """
    if isinstance(texts, TokenizedPairs):
        return texts.truncate(config.max_length)
    if config.long_texts == "windows":
        return Windows.over(texts, config.max_length, most_windows)
    if config.long_texts == "head-tail":
        return join_head_and_tail(texts, config.max_length)
    return texts.truncate(config.max_length)


def tokens_in_windows(lengths: np.ndarray, max_length: int, *, has_sep: bool) -> int:
    """Count the tokens that training would read in windows of texts of these lengths."""
    stride = _stride(max_length, has_sep=has_sep)
    counts = np.minimum(_count_windows(lengths, max_length, stride), MOST_IN_TRAINING)
    return int((counts * np.minimum(lengths, max_length)).sum())


def _stride(max_length: int, *, has_sep: bool) -> int:
    """The distance between two windows, at most the number of tokens that a window adds."""
    own_tokens = max_length - 1 - int(has_sep)
    return max(1, math.floor(own_tokens * STRIDE_FRACTION))


def _count_windows(lengths: np.ndarray, max_length: int, stride: int) -> np.ndarray:
    """Count the windows of texts of these lengths: int64 (D,)."""
    beyond_first = np.maximum(lengths - max_length, 0)
    return np.asarray(1 + np.ceil(beyond_first / stride).astype(np.int64))
