"""Masking tokens in training, before n-grams are computed of them. B batch, T tokens."""

import torch
from torch import Tensor

from selfattn_lm.features.tokenizer import MASK_ID

MLM_FRACTION = 0.15  # of the tokens, which are predicted


def drop_tokens(tokens: Tensor, p: float) -> Tensor:
    """Replace each token by [MASK] with probability `p`: (B, T) -> (B, T).

    Special tokens, which have the lowest ids, stay. Vectors (B, T, F) are replaced by zeros, the
    mean of all.
    """
    if p == 0:
        return tokens
    is_drawn = torch.rand(tokens.shape[:2], device=tokens.device) < p
    if tokens.is_floating_point():
        return tokens.masked_fill(is_drawn[..., None], 0)
    return torch.where(is_drawn & (tokens > MASK_ID), MASK_ID, tokens)


def mask_tokens(
    ids: Tensor, attention_mask: Tensor, vocab_size: int, random: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Choose 15 % of the tokens to be predicted, and mask most of them (Devlin et al. 2018).

    Of the chosen tokens 80 % become [MASK], 10 % another token, and 10 % stay, so that the model
    cannot rely on any token. At least one is chosen if there are others than special tokens.

    Returns:
        The ids with masked tokens, and which tokens were chosen: (B, T) and (B, T) bool.
    """
    chance = torch.rand(ids.shape, generator=random, device=ids.device)
    way = torch.rand(ids.shape, generator=random, device=ids.device)
    cannot_be_chosen = ~attention_mask | (ids <= MASK_ID)
    chance = chance.masked_fill(cannot_be_chosen, 1.0)
    threshold = chance.min().clamp(min=MLM_FRACTION)  # of the token with the lowest, if need be
    chosen = (chance <= threshold) & (chance < 1)
    others = torch.randint(MASK_ID + 1, vocab_size, ids.shape, generator=random, device=ids.device)
    replaced = torch.where(way < 0.9, others, ids)
    replaced = torch.where(way < 0.8, MASK_ID, replaced)
    return torch.where(chosen, replaced, ids), chosen
