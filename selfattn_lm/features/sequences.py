"""The token ids of many texts in one flat array."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from tokenizers import Tokenizer

from selfattn_lm.features.batching import pad
from selfattn_lm.features.tokenizer import SEP
from selfattn_lm.inputs import Inputs

_AT_ONCE = 1000  # texts that the tokenizer encodes in one call


class Tokens(Protocol):
    """What the model reads: tokens of texts, of pairs, of windows of texts; or vectors.

    A row is a text, a pair, a window or a sequence.
    """

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each row: int64 (rows,)."""

    @property
    def total(self) -> int:
        """The number of tokens of all rows."""

    def __len__(self) -> int:
        """The number of rows."""

    def batch(self, rows: Sequence[int] | np.ndarray, min_length: int = 0) -> Inputs:
        """Put some rows into one batch, padded to the longest or to `min_length` tokens."""

    def truncation(self) -> dict[str, float]:
        """The fraction of the texts that are shortened, and the fraction of all tokens lost."""


@dataclass(frozen=True)
class TokenizedTexts:
    """Token ids of texts, one text after the other: compact, and quick to build batches from.

    Truncating and chunking compute other lengths and copy no ids, so the array may be a file that
    is larger than memory.

    Attributes:
        ids: The token ids of all texts: int32 (tokens,).
        starts: Where each text begins in `ids`: int64 (texts,).
        lengths: How many tokens of each text are read: int64 (texts,).
        full_lengths: How many tokens each text had before it was truncated: int64 (texts,).
        sep_id: The token that ends every text, also one that is truncated; None if there is none.
    """

    ids: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    full_lengths: np.ndarray
    sep_id: int | None

    @classmethod
    def from_texts(
        cls, tokenizer: Tokenizer, texts: Iterable[str], max_length: int, file: Path | None = None
    ) -> "TokenizedTexts":
        """Tokenize texts, read once; with a `file` the ids are written there and mapped."""
        lengths = [np.zeros(0, np.int64)]
        with io.BytesIO() if file is None else file.open("wb") as flat:
            for encoded in _encoded(tokenizer, texts):
                lengths.append(np.array([len(ids) for ids in encoded]))
                truncated = [np.array(ids[:max_length], np.int32) for ids in encoded]
                flat.write(np.concatenate(truncated).tobytes())
            if isinstance(flat, io.BytesIO):
                ids = np.frombuffer(flat.getvalue(), np.int32)
        if file is not None:
            ids = map_ids(file)
        return cls.from_flat(ids, np.concatenate(lengths), max_length, tokenizer.token_to_id(SEP))

    @classmethod
    def from_flat(
        cls, ids: np.ndarray, full_lengths: np.ndarray, max_length: int, sep_id: int | None
    ) -> "TokenizedTexts":
        """Divide `ids` among texts, each of which has its first `max_length` tokens there."""
        lengths = np.minimum(full_lengths, max_length)
        starts = np.cumsum(lengths) - lengths
        return cls(ids, starts, lengths, full_lengths, sep_id)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> np.ndarray:
        start, length = self.starts[i], self.lengths[i]
        ids = self.ids[start : start + length]
        if self.sep_id is None or length == self.full_lengths[i]:
            return ids
        return np.append(ids[:-1], np.int32(self.sep_id))

    def batch(self, rows: Sequence[int] | np.ndarray, min_length: int = 0) -> Inputs:
        """Put some texts into one batch, padded to the longest or to `min_length` tokens."""
        return pad([self[i] for i in rows], min_length)

    @property
    def total(self) -> int:
        """The number of tokens of all texts."""
        return int(self.lengths.sum())

    def truncate(self, max_length: int) -> "TokenizedTexts":
        """Truncate every text to at most `max_length` tokens."""
        return replace(self, lengths=np.minimum(self.lengths, max_length))

    def chunk(self, max_length: int) -> tuple["TokenizedTexts", np.ndarray]:
        """Divide every text into chunks of at most `max_length` tokens, so that no token is lost.

        Returns the chunks, and for each chunk the number of its text: int64 (chunks,).
        """
        chunks_per_text = np.ceil(self.lengths / max_length).astype(np.int64)  # (texts,)
        owner = np.repeat(np.arange(len(self)), chunks_per_text)  # (chunks,)
        first_chunk = np.cumsum(chunks_per_text) - chunks_per_text  # (texts,)
        number_in_text = np.arange(len(owner)) - first_chunk[owner]  # (chunks,)
        offset = number_in_text * max_length
        lengths = np.minimum(self.lengths[owner] - offset, max_length)
        starts = self.starts[owner] + offset
        chunks = TokenizedTexts(self.ids, starts, lengths, full_lengths=lengths, sep_id=self.sep_id)
        return chunks, owner

    def truncation(self) -> dict[str, float]:
        """The fraction of the texts that are truncated, and the fraction of all tokens lost."""
        lost = self.full_lengths - self.lengths  # (texts,)
        texts_cut = float((lost > 0).mean())
        tokens_lost = int(lost.sum()) / int(self.full_lengths.sum())
        return {"texts_cut": texts_cut, "tokens_lost": tokens_lost}


def _encoded(tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[list[list[int]]]:
    """The token ids of the texts, those of some texts at a time."""
    remaining = iter(texts)
    while True:
        some = list(islice(remaining, _AT_ONCE))
        if not some:
            return
        yield [encoding.ids for encoding in tokenizer.encode_batch_fast(some)]


def map_ids(file: Path) -> np.ndarray:
    """Map the token ids in a file, which are read when they are needed."""
    if file.stat().st_size == 0:  # an empty file cannot be mapped
        return np.zeros(0, np.int32)
    return np.memmap(file, np.int32, "r")
