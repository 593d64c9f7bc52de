import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from selfattn_lm.features import weighted_ngrams
from selfattn_lm.features.ngrams import hashes_within
from selfattn_lm.features.sequences import TokenizedTexts
from selfattn_lm.features.weighted_ngrams import NgramVocabulary, _text_ngrams
from selfattn_lm.inputs import SparseRows

CLS = 2
TEXTS = ["a b a b c", "b c d", "c d a b b b", "e", "a a a", "e d"]
WORDS = sorted({word for text in TEXTS for word in text.split()})


def tokenized(texts: list[str]) -> TokenizedTexts:
    ids = [np.array([CLS, *(10 + WORDS.index(word) for word in text.split())]) for text in texts]
    lengths = np.array([len(text) for text in ids])
    flat = np.concatenate(ids).astype(np.int32)
    return TokenizedTexts.from_flat(flat, lengths, 2**31, sep_id=None)


def dense(rows: SparseRows, features: int) -> np.ndarray:
    return rows.times(torch.eye(features)).numpy()


@pytest.mark.parametrize("at_once", [1, 9, 1000])
def test_the_rows_are_those_of_scikit_learns_vectorizer(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weighted_ngrams, "_TOKENS_AT_ONCE", at_once)
    texts = tokenized(TEXTS)
    vocabulary = NgramVocabulary.from_texts(texts, max_ngram=3, most=1000)
    ours = dense(vocabulary.rows(texts), len(vocabulary.hashes))
    with_start = [f"^ {text}" for text in TEXTS]
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 3), sublinear_tf=True, token_pattern=r"\S+", min_df=2, max_df=5
    )
    theirs = vectorizer.fit_transform(with_start).toarray()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=2e-3)
    np.testing.assert_allclose(np.sort(ours, axis=1), np.sort(theirs, axis=1), atol=2e-3)


def test_the_hashes_are_those_that_the_embedding_finds() -> None:
    ids = np.array([CLS, 29_999, 7, 7, 12])
    hashes, rows = _text_ngrams([ids, ids[:2]], max_ngram=3)
    found = hashes_within(torch.from_numpy(ids)[None], 3)[0]  # (T, 2)
    expected = [*ids, *found[1:, 0].tolist(), *found[2:, 1].tolist()]
    assert sorted(hashes[rows == 0].tolist()) == sorted(expected)
    assert sorted(hashes[rows == 1].tolist()) == sorted([*ids[:2], int(found[1, 0])])


@pytest.mark.parametrize("max_ngram", range(1, 9))
@pytest.mark.parametrize("length", range(1, 9))
def test_texts_shorter_than_an_ngram_have_those_that_fit(length: int, max_ngram: int) -> None:
    hashes, _ = _text_ngrams([np.arange(10, 10 + length)], max_ngram)
    assert len(hashes) == sum(length - n + 1 for n in range(1, min(length, max_ngram) + 1))


def test_what_one_text_or_all_texts_have_is_no_feature() -> None:
    texts = tokenized(TEXTS)
    vocabulary = NgramVocabulary.from_texts(texts, max_ngram=1, most=1000)
    assert vocabulary.hashes.tolist() == [10, 11, 12, 13, 14]  # not [CLS]
    alone = tokenized(["a", "b", "a", "b c"])
    assert NgramVocabulary.from_texts(alone, 1, 1000).hashes.tolist() == [10, 11]


def test_only_the_most_frequent_ngrams_are_kept() -> None:
    vocabulary = NgramVocabulary.from_texts(tokenized(TEXTS), max_ngram=1, most=2)
    assert vocabulary.hashes.tolist() == [10, 11]


def test_a_text_of_other_ngrams_has_an_empty_row() -> None:
    vocabulary = NgramVocabulary.from_texts(tokenized(["a b", "a c", "b c", "d"]), 1, 1000)
    rows = vocabulary.rows(tokenized(["e", "a", "e e"]))
    assert rows.offsets.tolist() == [0, 0, 1, 1]
    assert rows.values.tolist() == [1.0]


def test_no_texts_have_no_rows() -> None:
    vocabulary = NgramVocabulary.from_texts(tokenized(TEXTS), 2, 1000)
    assert vocabulary.rows(tokenized(TEXTS).truncate(5)).height == 6
    empty = TokenizedTexts.from_flat(np.zeros(0, np.int32), np.zeros(0, np.int64), 10, None)
    assert vocabulary.rows(empty).height == 0
