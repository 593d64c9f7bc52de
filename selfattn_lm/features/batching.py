"""Batches of texts of similar length, in an order that depends on seed and epoch alone.

B batch, T tokens.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler

from selfattn_lm.inputs import Inputs


def pad(texts: Sequence[np.ndarray], min_length: int = 0) -> Inputs:
    """Put the token ids of some texts into one batch, padded with 0 to the longest text.

    Args:
        texts: The token ids of each text, at least one.
        min_length: The batch has at least this many columns.
    """
    lengths = np.array([len(text) for text in texts])
    assert lengths.min() > 0, "the tokenizer gives each text its [CLS]"
    columns = np.arange(max(min_length, lengths.max()))
    attention_mask = columns < lengths[:, None]  # (B, T)
    ids = np.zeros(attention_mask.shape, dtype=np.int64)
    ids[attention_mask] = np.concatenate(texts)
    return Inputs(torch.from_numpy(ids), torch.from_numpy(attention_mask))


def cut_by_budget(lengths: np.ndarray, batch_size: int, batch_tokens: int) -> list[slice]:
    """Divide texts, sorted by rising length, into batches under two limits.

    A batch has at most `batch_size` texts and `batch_tokens` tokens.

    Padding counts as tokens: a batch has its number of texts times the length of the longest.
    """
    batches = []
    start = 0
    for end, length in enumerate(lengths.tolist()):
        texts = end - start
        if texts > 0 and (texts == batch_size or (texts + 1) * length > batch_tokens):
            batches.append(slice(start, end))
            start = end
    if start < len(lengths):
        batches.append(slice(start, len(lengths)))
    return batches


def rounded_up(lengths: np.ndarray) -> np.ndarray:
    """Round each length up by at most an eighth, so that texts of similar length have the same."""
    exponent = np.floor(np.log2(np.maximum(lengths, 1)))
    step = 2 ** np.maximum(exponent - 3, 0).astype(np.int64)
    steps = np.ceil(lengths / step).astype(np.int64)
    return np.asarray(steps * step)


class LengthBuckets(Sampler[list[int]]):
    """Samples batches of texts of similar length under a token budget, shuffled by (seed, epoch).

    The number of batches is the same in every epoch. A resumed run skips the batches that it has
    finished, so the order is that of a run that was never interrupted. With several devices each
    one takes every `world`-th batch.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        batch_size: int,
        batch_tokens: int,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.padded = rounded_up(lengths)
        self.batches = cut_by_budget(np.sort(self.padded), batch_size, batch_tokens)
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0
        self.done = 0  # batches of this epoch that were handed out

    def __len__(self) -> int:
        return math.ceil(len(self.batches) / self.world)

    def set_epoch(self, epoch: int) -> None:
        """Start an epoch; the trainer calls it."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.done = 0

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self.seed, self.epoch])
        shuffled = random.permutation(len(self.padded))
        rows = shuffled[np.argsort(self.padded[shuffled], kind="stable")]
        order = random.permutation(len(self.batches))
        order = np.resize(order, len(self) * self.world)  # the same number for each device
        own = order[self.rank :: self.world]
        for batch in own[self.done :]:
            self.done += 1
            yield rows[self.batches[batch]].tolist()
