import pytest
from helpers import tokenizer_config

from selfattn_lm.features.char_ngrams import char_ngram_ids
from selfattn_lm.features.tokenizer import MASK, MASK_ID, train_tokenizer

TEXTS = ["unload the loader", "load a loaded truck", "the truck is unloaded"] * 3


@pytest.mark.parametrize("unit", ["word", "wordpiece", "bpe", "character"])
def test_the_mask_token_has_the_same_id_in_every_vocabulary(unit: str) -> None:
    tokenizer = train_tokenizer(TEXTS, tokenizer_config(unit))
    assert tokenizer.token_to_id(MASK) == MASK_ID


def test_similar_tokens_share_ngrams_and_special_tokens_have_none() -> None:
    tokenizer = train_tokenizer(TEXTS, tokenizer_config("word"))
    table = char_ngram_ids(tokenizer, "word")
    assert table.shape[0] == tokenizer.get_vocab_size()
    assert not table[: MASK_ID + 1].any()
    ids = [tokenizer.token_to_id(word) for word in ("load", "loaded", "truck")]
    load, loaded, truck = [set(table[i]) - {0} for i in ids]
    assert load <= loaded  # " lo", "loa", "oad", " loa", "load", " load"
    assert len(load) == 6
    assert not load & truck
