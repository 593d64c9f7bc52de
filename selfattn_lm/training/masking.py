"""Masking tokens in training, before n-grams are computed of them, and predicting them.

B batch, T tokens, C width, M masked tokens, N distinct tokens of a batch.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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


class MaskedTokenHead(nn.Module):
    """Predicts which of the tokens of a batch stood where the model has read [MASK].

    A classifier that also learns this must understand the context of each token, and overfits less
    to the labels. All tokens of the vocabulary would take longer to score than to encode. The
    vectors of the tokens get no gradient here: they would forget what single words say.

    Args:
        width: The width C of hidden states and of token vectors.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.transform = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, width)
        )

    def loss(
        self,
        hidden_states: Tensor,
        ids: Tensor,
        masked: Tensor,
        attention_mask: Tensor,
        embed: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Compute the mean cross-entropy of the masked tokens; 0 if there is none: -> ().

        Args:
            hidden_states: The encoder's vectors: (B, T, C).
            ids: The tokens before they were masked: (B, T).
            masked: Which tokens were masked: (B, T) bool.
            attention_mask: Which tokens are real: (B, T) bool.
            embed: Token ids to vectors: (N,) -> (N, C).
        """
        candidates = torch.unique(ids[attention_mask])  # (N,)
        with torch.no_grad():
            vectors = embed(candidates)
        scores = self.transform(hidden_states[masked].float()) @ vectors.T  # (M, N)
        places = torch.searchsorted(candidates, ids[masked])
        count = max(1, len(places))
        return F.cross_entropy(scores, places, reduction="sum") / count
