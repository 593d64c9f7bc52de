"""One vector for a text from its tokens' vectors: (B, T, C), (B, T) -> (B, C). B batch, T tokens, C width."""

import math

import torch
from torch import Tensor


def mean(states: Tensor, keep: Tensor) -> Tensor:
    """The mean over the text's own tokens."""
    kept = states * keep[..., None]  # (B, T, C)
    return kept.sum(1) / keep.sum(1, keepdim=True)


def cls(states: Tensor, keep: Tensor) -> Tensor:
    """The vector of the first token, `[CLS]`, which stands for the text (Devlin et al. 2018, 1810.04805)."""
    return states[:, 0]


def max(states: Tensor, keep: Tensor) -> Tensor:
    """The largest value of each feature over the text's own tokens."""
    return torch.where(keep[..., None], states, -math.inf).amax(1)


POOLINGS = {"mean": mean, "cls": cls, "max": max}
