import numpy as np
import pytest

from selfattn_lm.tasks.multi_label import MultiLabel
from selfattn_lm.tasks.multi_strata import few_rows, held_out_rows


def label_rows(rows: int, labels: int, seed: int = 0) -> np.ndarray:
    """Rows with labels that are ever rarer, and some rows without any: (rows, labels)."""
    probabilities = 0.3 / np.arange(1, labels + 1)
    return np.random.default_rng(seed).random((rows, labels)) < probabilities


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5])
def test_each_label_and_none_has_its_fraction_held_out(fraction: float) -> None:
    has_label = label_rows(2000, 40)
    held_out = held_out_rows(has_label, fraction, seed=0)
    assert held_out == sorted(set(held_out))
    counts = has_label.sum(0)
    found = has_label[held_out].sum(0)
    assert np.abs(found - fraction * counts).max() <= 2
    without = has_label.sum(1) == 0
    assert np.count_nonzero(without[held_out]) == round(fraction * np.count_nonzero(without))


def test_the_rows_held_out_depend_on_the_seed_alone() -> None:
    has_label = label_rows(200, 5)
    assert held_out_rows(has_label, 0.1, seed=1) == held_out_rows(has_label, 0.1, seed=1)
    assert held_out_rows(has_label, 0.1, seed=1) != held_out_rows(has_label, 0.1, seed=2)


@pytest.mark.parametrize("seed", range(20))
def test_a_label_of_two_rows_or_more_is_on_both_sides(seed: int) -> None:
    has_label = label_rows(60, 12, seed)
    counts = has_label.sum(0)
    found = has_label[held_out_rows(has_label, 0.1, seed)].sum(0)
    assert (found[counts < 2] == 0).all()
    assert (found[counts >= 2] >= 1).all()
    assert (found[counts >= 2] < counts[counts >= 2]).all()


def test_where_labels_contradict_each_other_training_has_them_all() -> None:
    has_label = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]], dtype=bool)
    for seed in range(10):
        held_out = held_out_rows(has_label, 0.5, seed)
        assert len(held_out) == 1


def test_nothing_is_held_out_where_no_label_has_two_rows() -> None:
    assert held_out_rows(np.eye(4, dtype=bool), 0.5, seed=0) == []


def test_many_rows_and_labels_are_divided() -> None:
    has_label = label_rows(20_000, 200)
    assert len(held_out_rows(has_label, 0.1, seed=0)) == pytest.approx(2000, abs=100)


@pytest.mark.parametrize("seed", range(5))
def test_no_label_has_more_than_a_few_rows(seed: int) -> None:
    has_label = label_rows(500, 20)
    chosen = few_rows(has_label, 4, seed)
    assert chosen == sorted(set(chosen))
    assert has_label[chosen].sum(0).max() == 4
    assert np.count_nonzero(~has_label[chosen].any(1)) == 4
    rare = has_label.sum(0) <= 4
    assert (has_label[chosen].sum(0)[~rare] > 0).all()


def test_rare_labels_keep_their_rows_beside_frequent_ones() -> None:
    targets = [("frequent",)] * 50 + [("frequent", "rare")] * 2 + [("frequent",)] * 50
    task = MultiLabel(["frequent", "rare"])
    chosen = task.few_shot(targets, 3, seed=0)
    assert [targets[row] for row in chosen].count(("frequent", "rare")) == 2
    assert len(chosen) == 3
    held_out = task.hold_out(targets, 0.1, seed=0)
    assert [targets[row] for row in held_out].count(("frequent", "rare")) == 1
    assert len(held_out) == 10
