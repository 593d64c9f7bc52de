from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
import torch
from helpers import tokenizer_config

from selfattn_lm.features.batching import pad
from selfattn_lm.features.hashing import ngram_hash
from selfattn_lm.features.ngrams import add_ngrams, hashes_within
from selfattn_lm.features.pair_ngrams import PARTNERS, token_roles, token_types
from selfattn_lm.features.pairs import TokenizedPairs, tokenize_pairs, truncated_lengths
from selfattn_lm.features.tokenizer import SEP_ID, train_tokenizer
from selfattn_lm.inputs import Inputs

CLS = 2
FIRST = ["a red apple falls", "plum", "a plum falls from a tree onto the grass"]
SECOND = ["a green apple falls", "the tree has a plum", "grass"]
BUCKETS = 1 << 20


def batch_of(*pairs: tuple[Sequence[int], Sequence[int]]) -> Inputs:
    """A batch of pairs of token ids, without [CLS] and [SEP]."""
    texts = []
    for first, second in pairs:
        texts.append(np.array([CLS, *first, SEP_ID, *second, SEP_ID]))
    inputs = pad(texts)
    return inputs._replace(types=token_types(inputs.tokens, SEP_ID))


def test_a_pair_is_cls_first_text_sep_second_text_sep() -> None:
    tokenizer, tokens = tokenize_pairs(FIRST, SECOND, tokenizer_config("word"), None, 64)
    assert tokenizer.token_to_id("[SEP]") == SEP_ID
    words = [tokenizer.id_to_token(i) for i in tokens[0].tolist()]
    assert words == [
        "[CLS]",
        "a",
        "[UNK]",
        "apple",
        "falls",
        "[SEP]",
        "a",
        "[UNK]",
        "apple",
        "falls",
        "[SEP]",
    ]
    for i, (first, second) in enumerate(zip(FIRST, SECOND, strict=True)):
        assert tokens[i].tolist() == tokenizer.encode(first, second).ids
        assert len(tokens[i]) == tokens.lengths[i]
    assert tokens.total == tokens.lengths.sum()


@pytest.mark.parametrize("unit", ["word", "wordpiece", "bpe", "character"])
def test_a_tokenizer_of_pairs_has_sep_and_the_same_other_tokens(unit: str) -> None:
    texts = FIRST + SECOND
    config = tokenizer_config(unit, min_frequency=1)
    single = train_tokenizer(texts, config)
    of_pairs = train_tokenizer(texts, config, for_pairs=True)
    assert single.token_to_id("[SEP]") is None
    expected = {token: i + (i >= SEP_ID) for token, i in single.get_vocab().items()}
    assert of_pairs.get_vocab() == {**expected, "[SEP]": SEP_ID}


def test_a_sep_in_a_users_text_does_not_end_it() -> None:
    config = tokenizer_config("word", min_frequency=1)
    tokenizer = train_tokenizer(["a [SEP] b"], config, for_pairs=True)
    tokens = TokenizedPairs.from_texts(tokenizer, ["a [SEP] b"], ["b"], 64)
    assert tokens[0].tolist().count(SEP_ID) == 2


def truncated_by_hand(first: int, second: int, limit: int) -> tuple[int, int]:
    """Drop one token at a time from the longer text; of two equally long ones from the first."""
    second_was_longer = second >= first
    while first + second > limit:
        if first > second or (first == second and second_was_longer):
            first -= 1
        else:
            second -= 1
    return first, second


def test_truncation_takes_tokens_from_the_longer_text() -> None:
    for limit in range(2, 12):
        for first, second in product(range(1, 14), repeat=2):
            found = truncated_lengths(np.array([first]), np.array([second]), limit)
            assert (found[0][0], found[1][0]) == truncated_by_hand(first, second, limit)


@pytest.mark.parametrize("max_length", [5, 6, 7, 8, 9, 12, 13, 40])
def test_pairs_are_truncated_as_transformers_does(max_length: int) -> None:
    transformers = pytest.importorskip("transformers")
    words = ["the", "man", "is", "playing", "a", "guitar", "outdoors", "in", "heavy", "rain"]
    random = np.random.default_rng(0)
    first: list[str] = []
    second: list[str] = []
    for texts in (first, second):
        for _ in range(200):
            texts.append(" ".join(random.choice(words, random.integers(1, 20))))
    tokenizer = train_tokenizer(first, tokenizer_config(), for_pairs=True)
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    encoded = theirs(
        first, second, truncation="longest_first", max_length=max_length, return_token_type_ids=True
    )
    # Truncated at once, and truncated twice.
    at_once = TokenizedPairs.from_texts(tokenizer, first, second, max_length)
    twice = TokenizedPairs.from_texts(tokenizer, first, second, 64).truncate(max_length)
    for i, (ids, types) in enumerate(
        zip(encoded["input_ids"], encoded["token_type_ids"], strict=True)
    ):
        assert at_once[i].tolist() == ids
        assert twice[i].tolist() == ids
        assert token_types(torch.tensor([ids]), SEP_ID)[0].tolist() == types


def test_truncation_is_reported_for_pairs() -> None:
    _, tokens = tokenize_pairs(FIRST, SECOND, tokenizer_config("word"), None, 64)
    assert tokens.truncation() == {"texts_cut": 0.0, "tokens_lost": 0.0}
    lengths = tokens.lengths.tolist()
    assert lengths == [11, 9, 13]
    shorter = tokens.truncate(10)
    assert shorter.lengths.tolist() == [10, 9, 10]
    assert shorter.truncation() == {"texts_cut": 2 / 3, "tokens_lost": 4 / 33}


def test_types_are_those_of_pairs_alone() -> None:
    inputs = batch_of(([5, 6], [7]), ([5], [6, 7, 8]))
    assert inputs.types is not None
    assert inputs.types.tolist() == [[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1]]
    assert pad([np.array([CLS, 5])]).types is None


def test_a_role_says_which_texts_have_the_token() -> None:
    inputs = batch_of(([5, 6, 6], [6, 7]), ([5], [5]))
    expected = [[0, 1, 2, 2, 0, 4, 3, 0], [0, 2, 0, 4, 0, 0, 0, 0]]
    assert token_roles(inputs).tolist() == expected


def test_masked_and_unknown_tokens_have_no_role() -> None:
    inputs = batch_of(([3, 1, 9], [3, 1, 8]))
    assert token_roles(inputs).tolist() == [[0, 0, 0, 1, 0, 0, 0, 3, 0]]


@pytest.mark.parametrize("max_ngram", [2, 3, 5])
def test_ngrams_never_cross_the_border(max_ngram: int) -> None:
    inputs = add_ngrams(batch_of(([5, 6], [7, 8])), max_ngram, BUCKETS)
    assert inputs.ngrams is not None
    single = hashes_within(inputs.tokens, max_ngram).remainder(BUCKETS)
    for n, row in product(range(2, max_ngram + 1), range(7)):
        found = int(inputs.ngrams[0, row, n - 2])
        begins_in_first = row - n + 1 <= 3
        if row > 3 and begins_in_first:
            assert found == BUCKETS
        else:
            assert found == int(single[0, row, n - 2])


def test_a_token_of_the_first_text_meets_those_of_the_second_text_alone() -> None:
    inputs = add_ngrams(batch_of(([5, 6], [6, 7, 8])), 2, BUCKETS)
    assert inputs.ngrams is not None
    crossed = inputs.ngrams[0, :, 6:]
    expected = []
    for partner in (7, 8):
        hashed = ngram_hash(torch.tensor(5), torch.tensor(partner), 103)
        expected.append(int(hashed) % BUCKETS)
    assert crossed[1].tolist()[:2] == expected
    # All other places are empty: 6 is shared, and the second text has no partners of its own.
    assert int((crossed != BUCKETS).sum()) == 2


def test_partners_are_bounded_in_long_pairs() -> None:
    first, second = range(10, 110), range(200, 300)
    inputs = add_ngrams(batch_of((first, second)), 2, BUCKETS)
    assert inputs.ngrams is not None
    assert inputs.ngrams.shape == (1, 203, 6 + PARTNERS)
    assert int((inputs.ngrams[0, 1:101, 6:] != BUCKETS).sum()) == 100 * PARTNERS


def test_each_token_says_how_many_tokens_only_one_text_has() -> None:
    same = batch_of(([5, 6], [6, 5]), ([5, 6, 7], [5]), ([8, 9, 5], [5]), ([5], [5, 6, 7]))
    found = add_ngrams(same, 2, BUCKETS).ngrams
    assert found is not None
    counts = found[:, :, 1:4]
    assert torch.equal(counts, counts[:, :1].expand_as(counts))
    none, two_and_none, also_two_and_none, none_and_two = counts[:, 0].tolist()
    assert two_and_none == also_two_and_none
    assert two_and_none[1] == none[1]
    assert none_and_two[0] == none[0]
    assert len({*none, *two_and_none, *none_and_two}) == 7


def test_swapping_the_texts_changes_what_the_model_reads() -> None:
    one = add_ngrams(batch_of(([5, 6], [6, 7])), 2, BUCKETS).ngrams
    other = add_ngrams(batch_of(([6, 7], [5, 6])), 2, BUCKETS).ngrams
    assert one is not None
    assert other is not None
    assert set(one.flatten().tolist()) != set(other.flatten().tolist())


def test_padding_changes_nothing() -> None:
    alone = add_ngrams(batch_of(([5, 6], [6, 7])), 2, BUCKETS).ngrams
    beside = add_ngrams(batch_of(([5, 6], [6, 7]), ([5] * 9, [6] * 9)), 2, BUCKETS).ngrams
    assert alone is not None
    assert beside is not None
    width = min(alone.shape[-1], beside.shape[-1])
    assert torch.equal(alone[0, :, :width], beside[0, : alone.shape[1], :width])
