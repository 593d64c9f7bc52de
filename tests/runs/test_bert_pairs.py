"""Pairs of texts become the same tokens, types and logits as in `transformers`."""

from pathlib import Path

import pytest
import torch
from bert_checkpoints import TEXTS, checkpoint, is_distilbert, no_dropout, transformers

from selfattn_lm.features.pairs import TokenizedPairs
from selfattn_lm.runs import read_bert

SECOND = TEXTS[1:] + TEXTS[:1]


@pytest.mark.parametrize("max_length", [7, 12, 13, 24])
def test_token_ids_and_types_of_pairs_equal_those_of_transformers(
    max_length: int, tmp_path: Path
) -> None:
    checkpoint(tmp_path)
    theirs = transformers.BertTokenizerFast.from_pretrained(tmp_path)
    run = read_bert(tmp_path)
    tokens = TokenizedPairs.from_texts(run.tokenizer, TEXTS, SECOND, max_length)
    encoded = theirs(TEXTS, SECOND, truncation="longest_first", max_length=max_length)
    for i, expected in enumerate(encoded["input_ids"]):
        assert tokens[i].tolist() == expected
        types = tokens.batch([i]).types
        assert types is not None
        assert types[0].tolist() == encoded["token_type_ids"][i]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "name", ["BertForSequenceClassification", "DistilBertForSequenceClassification"]
)
def test_logits_of_pairs_equal_those_of_transformers(
    name: str, training: bool, tmp_path: Path
) -> None:
    theirs = checkpoint(tmp_path, name, **no_dropout(name)).train(training)
    run = read_bert(tmp_path)
    tokens = TokenizedPairs.from_texts(run.tokenizer, TEXTS, SECOND, 24)
    inputs = tokens.batch(range(len(tokens)))
    types = {"token_type_ids": inputs.types}
    if is_distilbert(name):  # which has no types
        types = {}
    expected = theirs(inputs.tokens, attention_mask=inputs.attention_mask.long(), **types).logits
    found = run.model.train(training)(inputs)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
