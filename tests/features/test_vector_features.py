"""Standardisation, subsampling and batches of sequences of vectors."""

import numpy as np
import pytest
import torch

from selfattn_lm.data.vectors import Vectors
from selfattn_lm.features.vectors import Standardization, VectorSequences, subsample
from selfattn_lm.training.masking import drop_tokens


def sequences(*lengths: int, features: int = 3) -> list[Vectors]:
    random = np.random.default_rng(0)
    found = []
    for length in lengths:
        values = random.normal(5, 3, (length, features)).astype(np.float32)
        found.append(Vectors(values))
    return found


def test_the_standardisation_is_that_of_scikit_learn() -> None:
    from sklearn.preprocessing import StandardScaler

    given = sequences(4, 9, 2)
    together = np.concatenate([item.values for item in given])
    together[:, 1] = 7  # constant
    items = [Vectors(part) for part in np.split(together, [4, 13])]
    scaler = StandardScaler().fit(together)
    ours = Standardization.fit(items)
    np.testing.assert_allclose(ours.apply(together), scaler.transform(together), atol=1e-5)


def test_a_standardisation_survives_its_plain_values_exactly() -> None:
    fitted = Standardization.fit(sequences(8))
    again = Standardization.from_plain(fitted.to_plain())
    np.testing.assert_array_equal(again.mean, fitted.mean)
    np.testing.assert_array_equal(again.std, fitted.std)


@pytest.mark.parametrize("values", [{"mean": [1.0], "std": []}, {"mean": [0.0], "std": [0.0]}])
def test_wrong_plain_values_are_refused(values: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="not the mean and the standard deviation"):
        Standardization.from_plain(values)


def test_each_vector_of_a_subsampled_sequence_is_the_mean_of_its_neighbours() -> None:
    vectors = np.arange(7, dtype=np.float32)[:, None]
    assert subsample(vectors, 3)[:, 0].tolist() == [0.5, 2.5, 5.0]
    assert subsample(vectors, 7) is vectors
    for length in range(1, 40):
        assert len(subsample(np.ones((39, 1), np.float32), length)) == length


def test_a_batch_holds_vectors_and_zeros_behind_them() -> None:
    given = sequences(2, 4, 9)
    fitted = Standardization.fit(given)
    tokens = VectorSequences.of(given, fitted, max_length=5)
    assert tokens.lengths.tolist() == [2, 4, 5]
    assert tokens.truncation() == {"texts_cut": 1 / 3, "tokens_lost": 4 / 15}
    batch = tokens.batch([1, 0], min_length=6)
    assert batch.tokens.shape == (2, 6, 3)
    assert batch.attention_mask.sum(1).tolist() == [4, 2]
    np.testing.assert_array_equal(batch.tokens[1, :2], fitted.apply(given[0].values))
    assert not batch.tokens[~batch.attention_mask].any()


def test_token_dropout_replaces_whole_vectors_by_zeros() -> None:
    torch.manual_seed(0)
    vectors = torch.ones(20, 50, 3)
    dropped = drop_tokens(vectors, 0.2)
    is_zero = (dropped == 0).all(-1)
    assert torch.equal(is_zero, (dropped == 0).any(-1))
    assert 0.15 < is_zero.float().mean() < 0.25
    assert drop_tokens(vectors, 0.0) is vectors
