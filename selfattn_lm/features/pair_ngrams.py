"""What the two texts of a pair share and do not share, as further columns of their n-grams.

A mean of token vectors does not say whether one text repeats the other. So each token has a role,
by its text and by whether the other text has it too, and vectors for its role, for itself in this
role, and for itself beside each of the tokens that only the second text has.

B batch, T tokens, P partners of a token.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from selfattn_lm.features.hashing import ngram_hash
from selfattn_lm.features.tokenizer import SEP_ID
from selfattn_lm.inputs import Inputs

# Partners of a token at most: the first tokens that only the second text has.
PARTNERS = 16
# Roles of tokens: of the first text alone, of both, and the same for tokens of the second text.
_ONLY_FIRST, _FIRST_OF_BOTH, _ONLY_SECOND, _SECOND_OF_BOTH = range(1, 5)
_NO_ROLE = 0
# Beyond the n of any n-gram, which enters its hash.
_ROLE, _TOKEN_IN_ROLE, _PARTNERS = 101, 102, 103


def token_types(ids: Tensor, sep_id: int) -> Tensor:
    """The number of each token's text: 0 up to the first [SEP], then 1: (B, T) -> (B, T)."""
    seps = (ids == sep_id).cumsum(1)
    before = F.pad(seps, (1, 0))[:, :-1]  # the number of [SEP] before each token
    return before.clamp(max=1)


def token_roles(inputs: Inputs) -> Tensor:
    """The role of each token of a pair; 0 for special tokens and padding: (B, T) int64."""
    ids, types = inputs.ids, inputs.types
    assert types is not None
    same = ids[:, :, None] == ids[:, None, :]  # (B, T, T)
    other_text = types[:, :, None] != types[:, None, :]
    is_shared = (same & other_text).any(2)  # (B, T)
    roles = torch.where(types == 0, _ONLY_FIRST, _ONLY_SECOND) + is_shared.long()
    is_special = ids <= SEP_ID  # also padding
    return roles.masked_fill(is_special, _NO_ROLE)


def pair_ngram_buckets(inputs: Inputs, buckets: int) -> Tensor:
    """Find the buckets of each token's role, of the token in its role, and of its partners.

    Partners of a token that only the first text has are the tokens that only the second has, the
    first `PARTNERS` of them. A place without any is `buckets`, one beyond the last bucket.

    Returns:
        The buckets: (B, T, 2 + P) int64.
    """
    ids = inputs.ids
    roles = token_roles(inputs)  # (B, T)
    role = ngram_hash(roles, torch.zeros_like(roles), _ROLE).remainder(buckets)
    in_role = ngram_hash(ids, roles, _TOKEN_IN_ROLE).remainder(buckets)
    columns = torch.stack([role, in_role], dim=-1)  # (B, T, 2)
    columns = columns.masked_fill((roles == _NO_ROLE)[..., None], buckets)

    is_partner = roles == _ONLY_SECOND  # (B, T)
    partners_first = is_partner.long().argsort(dim=1, descending=True, stable=True)[:, :PARTNERS]
    partner_ids = ids.gather(1, partners_first)  # (B, P)
    is_empty = ~is_partner.gather(1, partners_first)
    crossed = ngram_hash(ids[:, :, None], partner_ids[:, None, :], _PARTNERS).remainder(buckets)
    crossed = crossed.masked_fill((roles != _ONLY_FIRST)[:, :, None], buckets)  # (B, T, P)
    crossed = crossed.masked_fill(is_empty[:, None, :], buckets)
    return torch.cat([columns, crossed], dim=-1)
