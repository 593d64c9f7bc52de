"""Batches of texts of like length, in an order that is a function of seed and epoch. B batch, T tokens."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler


class Batch(NamedTuple):
    """Texts of different length, padded to the longest."""

    ids: Tensor  # (B, T)
    attention_mask: Tensor  # which of the ids are real: (B, T) bool
    labels: Tensor  # one a text: (B,)


def pad(texts: Sequence[np.ndarray], labels: Sequence[int] | np.ndarray, width: int = 0) -> Batch:
    """Put the token ids of texts of different length into one batch; padding has id 0 and is not kept.

    The batch is as wide as its longest text, or as `width` if that is more.
    """
    lengths = np.array([len(text) for text in texts])
    assert lengths.min() > 0, "the tokenizer gives each text its [CLS]"
    attention_mask = np.arange(max(width, lengths.max())) < lengths[:, None]  # (B, T)
    ids = np.zeros(attention_mask.shape, dtype=np.int64)
    ids[attention_mask] = np.concatenate(texts)
    return Batch(torch.from_numpy(ids), torch.from_numpy(attention_mask), torch.as_tensor(labels, dtype=torch.long))


def cut_by_budget(padded: np.ndarray, batch_size: int, batch_tokens: int) -> list[slice]:
    """Cut texts sorted by rising padded length into batches of at most so many texts and tokens."""
    batches, start = [], 0
    for i, length in enumerate(padded.tolist()):
        if i > start and (i - start >= batch_size or (i - start + 1) * length > batch_tokens):
            batches.append(slice(start, i))
            start = i
    return [*batches, slice(start, len(padded))] if len(padded) else []


def rounded_up(lengths: np.ndarray) -> np.ndarray:
    """Each length rounded up to one of few, at most an eighth longer: texts of like length fall together."""
    step = 2 ** np.maximum(np.floor(np.log2(np.maximum(lengths, 1))) - 3, 0).astype(np.int64)
    return np.asarray(-(-lengths // step) * step)


class LengthBuckets(Sampler[list[int]]):
    """Batches of texts of like length under a token budget, shuffled by (seed, epoch).

    Their number is the same in every epoch. A run that is taken up again skips the batches that it has done, so that
    the order is that of a run which never stopped. With several devices each takes every `world`-th batch.
    """

    def __init__(
        self, lengths: np.ndarray, batch_size: int, batch_tokens: int, *, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        self.padded = rounded_up(lengths)
        self.batches = cut_by_budget(np.sort(self.padded), batch_size, batch_tokens)
        self.seed, self.rank, self.world = seed, rank, world
        self.epoch, self.done = 0, 0  # done: batches of this epoch that were handed out

    def __len__(self) -> int:
        return -(-len(self.batches) // self.world)

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch; the trainer calls it."""
        if epoch != self.epoch:
            self.epoch, self.done = epoch, 0

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self.seed, self.epoch])
        shuffled = random.permutation(len(self.padded))
        rows = shuffled[np.argsort(self.padded[shuffled], kind="stable")]
        order = np.resize(random.permutation(len(self.batches)), len(self) * self.world)  # as many for each device
        for batch in order[self.rank :: self.world][self.done :]:
            self.done += 1
            yield rows[self.batches[batch]].tolist()
