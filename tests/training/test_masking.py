import numpy as np
import torch
from helpers import model_config, resolved_settings

from selfattn_lm.build import build_classifier
from selfattn_lm.config import ResolvedModel
from selfattn_lm.features.tokenizer import MASK_ID
from selfattn_lm.inputs import Inputs
from selfattn_lm.tasks import SingleLabel
from selfattn_lm.training.masking import drop_tokens, mask_tokens
from selfattn_lm.training.modules import ClassifierModule


def module_of(config: ResolvedModel) -> ClassifierModule:
    task = SingleLabel(["a", "b"])
    model = build_classifier(config, 30, task.outputs)
    return ClassifierModule(model, resolved_settings(config), task, np.array([0, 1]))


def test_chosen_tokens_are_a_fraction_of_the_real_ones_and_mostly_masked() -> None:
    torch.manual_seed(0)
    ids = torch.randint(4, 1000, (50, 200))
    ids[:, 0], attention_mask = 2, torch.arange(200) < 150
    attention_mask = attention_mask.expand(50, 200)
    seen, chosen = mask_tokens(ids, attention_mask, 1000)
    assert not chosen[:, 0].any()
    assert not chosen[:, 150:].any()
    assert 0.14 < chosen[:, 1:150].float().mean() < 0.16
    assert torch.equal(seen[~chosen], ids[~chosen])
    masked, same = (seen[chosen] == 3).float().mean(), (seen[chosen] == ids[chosen]).float().mean()
    assert 0.77 < masked < 0.83
    assert 0.08 < same < 0.12
    assert seen[chosen].min() == 3
    assert seen.max() < 1000


def test_chosen_tokens_are_repeatable_and_never_none() -> None:
    ids, attention_mask = torch.tensor([[2, 9, 8, 7]]), torch.ones(1, 4, dtype=torch.bool)
    draws = [
        mask_tokens(ids, attention_mask, 20, torch.Generator().manual_seed(5)) for _ in range(2)
    ]
    assert torch.equal(draws[0][0], draws[1][0])
    for seed in range(30):
        assert mask_tokens(ids, attention_mask, 20, torch.Generator().manual_seed(seed))[1].any()
    nothing = mask_tokens(torch.tensor([[2, 1]]), torch.ones(1, 2, dtype=torch.bool), 20)[1]
    assert not nothing.any()  # only special tokens


def test_tokens_are_dropped_at_random_and_special_ones_never() -> None:
    torch.manual_seed(0)
    ids = torch.randint(MASK_ID + 1, 20, (50, 400))
    ids[:, 0] = 2
    dropped = drop_tokens(ids, 0.3)
    assert torch.equal(dropped[:, 0], ids[:, 0])
    is_masked = dropped[:, 1:] == MASK_ID
    assert 0.28 < is_masked.float().mean() < 0.32
    assert torch.equal(dropped[:, 1:][~is_masked], ids[:, 1:][~is_masked])
    assert torch.equal(drop_tokens(ids, 0.0), ids)


def test_batches_that_differ_in_a_masked_token_alone_give_the_same_inputs() -> None:
    """N-grams are computed after masking, so they know no more than the ids."""
    config = model_config(max_ngram=3, token_dropout=0.5)
    module = module_of(config)
    ids = torch.tensor([[2, 10, 11, 12, 13, 14, 15, 16, 17]])
    mask = torch.ones_like(ids, dtype=torch.bool)
    torch.manual_seed(0)
    masked = module.prepare(Inputs(ids, mask))
    differs = masked.tokens == MASK_ID
    assert differs.any()
    other = torch.where(differs, ids + 8, ids)
    torch.manual_seed(0)
    prepared = module.prepare(Inputs(other, mask))
    assert masked.ngrams is not None
    assert prepared.ngrams is not None
    assert torch.equal(prepared.tokens, masked.tokens)
    assert torch.equal(prepared.ngrams, masked.ngrams)


def test_nothing_is_masked_in_validation() -> None:
    config = model_config(token_dropout=0.5)
    module = module_of(config)
    ids = torch.randint(MASK_ID + 1, 30, (4, 16))
    prepared = module.eval().prepare(Inputs(ids, torch.ones_like(ids, dtype=torch.bool)))
    assert torch.equal(prepared.tokens, ids)
