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


def three_labels(rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of 100 texts, and their targets: the first `rows[i]` of them have label i."""
    random = np.random.default_rng(0)
    targets = np.zeros((100, len(rows)), dtype=np.float32)
    for label, count in enumerate(rows):
        targets[:count, label] = 1
    return np.clip(0.4 * targets + 0.5 * random.random(targets.shape), 0, 1), targets


def test_a_label_with_ten_rows_has_a_threshold_of_its_own() -> None:
    probabilities, targets = three_labels([40, 10, 9])
    is_true = targets > 0
    of_all = best_threshold(probabilities.ravel(), is_true.ravel(), 0.5)
    first, second, third = fit_thresholds(probabilities, targets)
    assert first == best_threshold(probabilities[:, 0], is_true[:, 0], of_all)
    assert second == best_threshold(probabilities[:, 1], is_true[:, 1], of_all)
    assert third == of_all, "alone, 9 rows are too few"


def test_labels_with_fewer_rows_share_the_threshold_of_their_pooled_rows() -> None:
    probabilities, targets = three_labels([40, 9, 1])
    is_true = targets > 0
    of_all = best_threshold(probabilities.ravel(), is_true.ravel(), 0.5)
    pooled = best_threshold(probabilities[:, 1:].ravel(), is_true[:, 1:].ravel(), of_all)
    assert pooled != of_all
    assert fit_thresholds(probabilities, targets)[1:] == [pooled, pooled]


def test_the_thresholds_of_a_frequent_and_of_two_rare_labels_by_hand() -> None:
    probabilities = np.full((20, 3), 0.01)
    targets = np.zeros((20, 3))
    targets[:12, 0] = 1
    probabilities[:12, 0] = 0.9
    targets[:6, 1] = 1
    probabilities[:6, 1] = 0.3
    probabilities[6:9, 1] = 0.2  # three texts without the label
    targets[:4, 2] = 1
    probabilities[:4, 2] = 0.1
    # The frequent label is separated at (0.9 + 0.01) / 2. Of the two others together, at 0.25 six
    # of ten are found (F1 12/16), and below 0.1 all ten and the three others (F1 20/23).
    expected = [(0.9 + 0.01) / 2, (0.1 + 0.01) / 2, (0.1 + 0.01) / 2]
    assert fit_thresholds(probabilities, targets) == pytest.approx(expected)


def test_without_any_label_the_default_remains() -> None:
    probabilities, targets = three_labels([0, 0, 0])
    assert fit_thresholds(probabilities, targets) == [0.5, 0.5, 0.5]
