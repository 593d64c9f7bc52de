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

NO_NGRAM = -1  # in the place of a hash
DIFFERENCES = 3  # columns of how many tokens only one text has
# Partners of a token at most: the first tokens that only the second text has.
PARTNERS = 16
# Roles of tokens: of the first text alone, of both, and the same for tokens of the second text.
_ONLY_FIRST, _FIRST_OF_BOTH, _ONLY_SECOND, _SECOND_OF_BOTH = range(1, 5)
_NO_ROLE = 0
# Beyond the n of any n-gram, which enters its hash.
_ROLE, _TOKEN_IN_ROLE, _PARTNERS, _COUNT = 101, 102, 103, 104
_MAX_COUNT = 8  # tokens that only one text has; more count as 8


def token_types(ids: Tensor, sep_id: int) -> Tensor:
    """The number of each token's text: 0 up to the first [SEP], then 1: (B, T) -> (B, T)."""
    seps = (ids == sep_id).cumsum(1)
    before = F.pad(seps, (1, 0))[:, :-1]  # the number of [SEP] before each token
    return before.clamp(max=1)


def token_roles(inputs: Inputs) -> Tensor:
    """The role of each token of a pair; 0 for special tokens and padding: (B, T) int64."""
    ids, types = inputs.tokens, inputs.types
    assert types is not None
    same = ids[:, :, None] == ids[:, None, :]  # (B, T, T)
    other_text = types[:, :, None] != types[:, None, :]
    is_shared = (same & other_text).any(2)  # (B, T)
    roles = torch.where(types == 0, _ONLY_FIRST, _ONLY_SECOND) + is_shared.long()
    is_special = ids <= SEP_ID  # also padding
    return roles.masked_fill(is_special, _NO_ROLE)


def pair_ngram_hashes(inputs: Inputs) -> Tensor:
    """Hash what compares the texts.

    Returns:
        The hashes of the differences of the texts, the same for each token, of the token's role,
        of the token in its role, and of its partners; NO_NGRAM where there is none:
        (B, T, 5 + P) int64.
    """
    ids = inputs.tokens
    roles = token_roles(inputs)  # (B, T)
    role = ngram_hash(roles, torch.zeros_like(roles), _ROLE)
    in_role = ngram_hash(ids, roles, _TOKEN_IN_ROLE)
    of_tokens = torch.stack([role, in_role], dim=-1)  # (B, T, 2)
    of_tokens = of_tokens.masked_fill((roles == _NO_ROLE)[..., None], NO_NGRAM)
    differences = difference_hashes(roles)[:, None].expand(-1, ids.shape[1], -1)  # (B, T, 3)
    return torch.cat([differences, of_tokens, partner_hashes(ids, roles)], dim=-1)


def difference_hashes(roles: Tensor) -> Tensor:
    """Hash how many tokens only one text has: (B, T) -> (B, 3).

    They are the hashes of the number in the first text, of that in the second, and of both numbers.
    """
    first = (roles == _ONLY_FIRST).sum(1).clamp(max=_MAX_COUNT)  # (B,)
    second = (roles == _ONLY_SECOND).sum(1).clamp(max=_MAX_COUNT)
    both = ngram_hash(first, second, _COUNT)
    none = torch.full_like(first, _MAX_COUNT + 1)  # in the place of a number
    columns = [ngram_hash(first, none, _COUNT), ngram_hash(none, second, _COUNT), both]
    return torch.stack(columns, dim=-1)


def partner_hashes(ids: Tensor, roles: Tensor) -> Tensor:
    """Hash each token beside each of its partners: (B, T), (B, T) -> (B, T, P).

    Partners of a token that only the first text has are the tokens that only the second has, the
    first `PARTNERS` of them.
    """
    is_partner = roles == _ONLY_SECOND  # (B, T)
    partners_first = is_partner.long().argsort(dim=1, descending=True, stable=True)[:, :PARTNERS]
    partner_ids = ids.gather(1, partners_first)  # (B, P)
    is_empty = ~is_partner.gather(1, partners_first)
    crossed = ngram_hash(ids[:, :, None], partner_ids[:, None, :], _PARTNERS)  # (B, T, P)
    crossed = crossed.masked_fill((roles != _ONLY_FIRST)[:, :, None], NO_NGRAM)
    return crossed.masked_fill(is_empty[:, None, :], NO_NGRAM)
