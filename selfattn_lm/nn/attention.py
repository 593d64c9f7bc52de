"""Multi-head self-attention, written out once for reading and once fused for speed (Vaswani et al. 2017, 1706.03762).

A word's vector must depend on its context: "bank" beside "river" is not "bank" beside "loan". So each token asks a
question (its query), and offers a description of itself (its key) and something to say (its value); a token's new
vector is the mean of all values, weighted by how well their keys answer its query.

B batch, T tokens, C width, H heads, D = C / H.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Up to so many tokens the written-out path is also the fast one in bf16 on a CPU: forward and backward took a sixth of
# the fused kernel's time at 22 tokens, a quarter at 128, as much at 512. In fp32 the fused kernel took 3/4 of
# the written-out path's time at 22 tokens, and less beyond (torch 2.13, AMD EPYC with avx512_bf16).
FUSED_BEYOND = 256
# The softmax of bf16 numbers took up to twice the time of that of fp32 numbers where T is no multiple of 32, as long as
# they stay in the cache; with the backward pass it did not, so this is for prediction.
EXACT_UP_TO = 128


def attention_weights(query: Tensor, key: Tensor, attention_mask: Tensor) -> Tensor:
    """Softmax(Q Kᵀ / √D): how much each token takes from each: (B, H, T, D) twice, (B, T) -> (B, H, T, T).

    Each row sums to one; a token that is not kept (padding) is given nothing.
    """
    query = query / math.sqrt(query.shape[-1])  # else the softmax saturates as D grows
    scores = query @ key.transpose(-2, -1)  # (B, H, T, T): every query · every key
    if not scores.requires_grad and attention_mask.shape[1] <= EXACT_UP_TO:
        scores = scores.float()
    padding = torch.where(attention_mask, 0.0, -math.inf).to(scores.dtype)  # (B, T)
    return (scores + padding[:, None, None, :]).softmax(dim=-1)


class SelfAttention(nn.Module):
    """Self-attention with several heads, each looking for something of its own.

    Args:
        width: Width C of a token's vector, in and out.
        heads: Number of heads H; must divide `width`.
        rotate: Applied to queries and keys (B, H, T, D), such as `positions.Rotary`; the identity by default.
    """

    def __init__(self, width: int, heads: int, rotate: nn.Module | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide width {width}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)  # query, key and value of all heads at once
        self.rotate = rotate or nn.Identity()
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, attention_mask: Tensor, with_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """New vectors, and the weights if asked for: (B, T, C), (B, T) -> (B, T, C), (B, H, T, T) or None."""
        query, key, value = self.project_qkv(x)
        short = x.shape[1] <= FUSED_BEYOND and query.dtype == torch.bfloat16 and query.device.type == "cpu"
        if with_weights or short:
            weights = attention_weights(query, key, attention_mask)  # (B, H, T, T)
            mixed = weights.to(value.dtype) @ value  # (B, H, T, D)
        else:
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask[:, None, None, :])
        mixed = self.out(mixed.transpose(1, 2).flatten(2))  # heads side by side again: (B, T, C)
        return mixed, weights if with_weights else None

    def project_qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Each token's query, key and value in each head: (B, T, C) -> (B, H, T, D) three times."""
        query, key, value = (self.split_heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        return self.rotate(query), self.rotate(key), value

    def split_heads(self, x: Tensor) -> Tensor:
        """Give each head its part of the width: (B, T, C) -> (B, H, T, D)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)
