"""From the vectors of a text's tokens to one vector. B batch, T tokens, C width."""

import math

import torch
from torch import Tensor


def mean_pooling(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    """Compute the mean over the tokens of each text: (B, T, C), (B, T) -> (B, C)."""
    masked = hidden_states * attention_mask[..., None]  # (B, T, C)
    return masked.sum(1) / attention_mask.sum(1, keepdim=True)


def cls_pooling(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    """Take the vector of the first token, `[CLS]` (1810.04805): (B, T, C), (B, T) -> (B, C)."""
    return hidden_states[:, 0]


def max_pooling(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    """Take the largest value of each feature over the tokens: (B, T, C), (B, T) -> (B, C)."""
    return torch.where(attention_mask[..., None], hidden_states, -math.inf).amax(1)


def no_pooling(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    """Return each token's vector, to predict masked tokens: (B, T, C), (B, T) -> (B, T, C)."""
    return hidden_states


POOLINGS = {"mean": mean_pooling, "cls": cls_pooling, "max": max_pooling}
