import numpy as np
import pytest
from sklearn.metrics import f1_score

from selfattn_lm.tasks.thresholds import best_threshold, fit_thresholds


def some(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities in steps of 0.05, and which of them are right."""
    random = np.random.default_rng(seed)
    is_true = random.random(rows) < 0.3
    probabilities = np.clip(0.3 * is_true + random.random(rows) * 0.7, 0, 1)
    return np.round(probabilities * 20) / 20, is_true


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_has_a_better_f1(seed: int) -> None:
    probabilities, is_true = some(60, seed)
    threshold = best_threshold(probabilities, is_true, 0.5)
    found = f1_score(is_true, probabilities >= threshold)
    for other in np.linspace(0, 1, 201):
        assert found >= f1_score(is_true, probabilities >= other, zero_division=0) - 1e-9


def test_a_threshold_lies_in_the_middle_between_two_probabilities() -> None:
    probabilities = np.array([0.9, 0.7, 0.2, 0.1])
    is_true = np.array([True, True, False, False])
    assert best_threshold(probabilities, is_true, 0.5) == pytest.approx(0.45)


def test_of_equally_good_thresholds_the_nearest_to_the_preferred_one_is_chosen() -> None:
    probabilities = np.array([0.9, 0.7, 0.5, 0.3, 0.1])
    is_true = np.array([True, False, False, True, False])  # F1 is 2/3 with one and with four
    assert best_threshold(probabilities, is_true, 0.9) == pytest.approx(0.8)
    assert best_threshold(probabilities, is_true, 0.1) == pytest.approx(0.2)


def test_a_threshold_is_never_between_equal_probabilities() -> None:
    probabilities = np.array([0.6, 0.6, 0.6, 0.2], dtype=np.float32)
    is_true = np.array([True, False, False, False])
    assert best_threshold(probabilities, is_true, 0.5) == pytest.approx(0.4)


def test_where_nothing_is_true_the_preferred_threshold_remains() -> None:
    assert best_threshold(np.array([0.9, 0.8]), np.array([False, False]), 0.37) == 0.37


def test_where_all_probabilities_are_equal_all_are_predicted() -> None:
    threshold = best_threshold(np.full(4, 0.2), np.array([True, False, True, False]), 0.5)
    assert 0 < threshold < 0.2


def test_labels_with_few_rows_share_the_threshold_of_all() -> None:
    random = np.random.default_rng(0)
    targets = np.zeros((100, 3), dtype=np.float32)
    targets[:40, 0] = 1
    targets[:10, 1] = 1
    targets[:9, 2] = 1
    probabilities = np.clip(0.4 * targets + 0.5 * random.random((100, 3)), 0, 1)
    first, second, third = fit_thresholds(probabilities, targets)
    is_true = targets > 0
    shared = best_threshold(probabilities.ravel(), is_true.ravel(), 0.5)
    assert third == shared
    assert first == best_threshold(probabilities[:, 0], is_true[:, 0], shared)
    assert second == best_threshold(probabilities[:, 1], is_true[:, 1], shared)
    assert fit_thresholds(probabilities, np.zeros((100, 3))) == [0.5] * 3
