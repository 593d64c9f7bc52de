"""Multi-head self-attention (Vaswani et al. 2017, 1706.03762).

A word's vector must depend on its context: "bank" beside "river" is not "bank" beside "loan". So
each token has a query (what it looks for), a key (what it is found by) and a value (what it says).
A token's new vector is the mean of all values, weighted by how well their keys match its query.
B batch, T tokens, C width, H heads, D = C / H.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def attention_weights(query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
    """Compute softmax(QKᵀ / √D), (B, H, T, D) twice, (B, T) -> (B, H, T, T); rows sum to one."""
    query = query / math.sqrt(query.shape[-1])  # else the softmax saturates as D grows
    scores = query @ key.transpose(-2, -1)  # (B, H, T, T): every query · every key
    if not scores.requires_grad and mask.shape[1] <= 128:
        scores = scores.float()  # in prediction softmax took up to twice as long in bf16
    padding = torch.where(mask, 0.0, -math.inf).to(scores.dtype)  # nothing attends to padding
    return (scores + padding[:, None, None, :]).softmax(dim=-1)


def written_out(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Compute softmax(QKᵀ / √D) V: (B, H, T, D) three times, (B, T) -> (B, H, T, D)."""
    return attention_weights(query, key, mask).to(value.dtype) @ value


def fastest(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Compute the same by torch's fused kernel, or written out where that was measured faster.

    Forward and backward in bf16 on a CPU (AMD EPYC, torch 2.13) took a sixth of the kernel's time
    at 22 tokens, a quarter at 128 and the same at 512. In fp32 the kernel is always faster.
    """
    if query.dtype == torch.bfloat16 and query.device.type == "cpu" and mask.shape[1] <= 256:
        return written_out(query, key, value, mask)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])


class SelfAttention(nn.Module):
    """Self-attention of `heads` heads over vectors of `width` numbers.

    `rotate` is applied to queries and keys (B, H, T, D), such as `positions.Rotary`.
    """

    def __init__(self, width: int, heads: int, rotate: nn.Module | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide width {width}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)  # query, key and value of all heads at once
        self.rotate = rotate or nn.Identity()
        self.out = nn.Linear(width, width)
        self.backend = fastest  # may be set to `written_out`

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Attend: (B, T, C), (B, T) True = a token -> (B, T, C)."""
        return self.combine_heads(self.backend(*self.project_qkv(x), mask))

    def attend(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Attend, and return the attention weights too: -> (B, T, C), (B, H, T, T)."""
        query, key, value = self.project_qkv(x)
        weights = attention_weights(query, key, mask)
        return self.combine_heads(weights.to(value.dtype) @ value), weights

    def project_qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the queries, keys and values of all heads: (B, T, C) -> (B, H, T, D) each."""
        query, key, value = (self.split_heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        return self.rotate(query), self.rotate(key), value

    def split_heads(self, x: Tensor) -> Tensor:
        """Give each head its part of the width: (B, T, C) -> (B, H, T, D)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def combine_heads(self, x: Tensor) -> Tensor:
        """Put the heads side by side and project: (B, H, T, D) -> (B, T, C)."""
        return self.out(x.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]
