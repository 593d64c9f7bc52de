from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from selfattn_lm.tasks import MultiLabel, Regression, SingleLabel
from selfattn_lm.training.branches import MIN_ROWS, best_factor, choose_branch_weights

LABELS = SingleLabel(["a", "b", "c"])
SEVERAL = MultiLabel(["a", "b", "c"])
NUMBER = Regression(mean=0.0, std=1.0)


def drawn(rows: int) -> tuple[Tensor, Tensor]:
    """Logits, and labels that are drawn with the probabilities that they stand for."""
    random = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(rows, 3, generator=random)
    labels = torch.multinomial(logits.softmax(1), 1, generator=random)[:, 0]
    return logits, labels


def noisy(logits: Tensor, size: float, seed: int) -> Tensor:
    noise = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed))
    return logits + size * noise


@pytest.mark.parametrize("times", [0.2, 1.0, 5.0])
def test_the_factor_undoes_a_temperature(times: float) -> None:
    logits, labels = drawn(20_000)
    assert best_factor(LABELS, times * logits, labels) == pytest.approx(1 / times, rel=0.05)


def test_no_factor_of_a_fine_grid_has_a_smaller_loss() -> None:
    logits, labels = drawn(500)
    exponents = np.linspace(-2, 2, 4001)
    losses = []
    for exponent in exponents:
        loss = float(F.cross_entropy(logits.double() * np.exp(exponent), labels))
        losses.append(500 * loss + exponent**2)
    expected = np.exp(exponents[np.argmin(losses)])
    assert best_factor(LABELS, logits, labels) == pytest.approx(expected, rel=0.01)


def test_the_factor_stays_finite_where_all_texts_are_right() -> None:
    labels = torch.arange(300) % 3
    factor = best_factor(LABELS, F.one_hot(labels).float(), labels)
    assert 3 < factor < 20


@pytest.mark.parametrize("task", [LABELS, SEVERAL, NUMBER])
def test_with_few_rows_each_branch_counts_the_same(task: Any) -> None:
    rows = MIN_ROWS - 1
    logits = torch.randn(3, rows, task.outputs)
    targets = torch.randint(2, (rows, 3)).float()
    if task is LABELS:
        targets = torch.randint(3, (rows,))
    elif task is NUMBER:
        targets = torch.randn(rows)
    torch.testing.assert_close(choose_branch_weights(task, logits, targets), torch.ones(3) / 3)


def test_equally_good_branches_weigh_the_same_whatever_their_scale() -> None:
    logits, labels = drawn(3000)
    branches = torch.stack([noisy(logits, 0.5, 1), 10 * noisy(logits, 0.5, 2)])
    first, second = choose_branch_weights(LABELS, branches, labels).tolist()
    assert first == pytest.approx(10 * second, rel=0.15)


def test_a_better_branch_weighs_more_and_the_sum_is_calibrated() -> None:
    logits, labels = drawn(5000)
    branches = torch.stack([noisy(logits, 0.3, 1), noisy(logits, 3.0, 2)])
    weights = choose_branch_weights(LABELS, branches, labels)
    assert weights[0] > 3 * weights[1] > 0
    combined = torch.tensordot(weights, branches, dims=1)
    assert best_factor(LABELS, combined, labels) == pytest.approx(1, abs=0.02)


def test_a_branch_that_knows_nothing_hardly_counts() -> None:
    logits, labels = drawn(5000)
    branches = torch.stack([logits, torch.randn(5000, 3)])
    weights = choose_branch_weights(LABELS, branches, labels)
    assert weights[0] > 10 * weights[1]


def test_the_labels_of_a_text_are_weighed_together() -> None:
    logits, _ = drawn(5000)
    targets = torch.bernoulli(logits.sigmoid(), generator=torch.Generator().manual_seed(3))
    branches = torch.stack([noisy(logits, 0.3, 1), noisy(logits, 3.0, 2)])
    weights = choose_branch_weights(SEVERAL, branches, targets)
    assert weights[0] > 2 * weights[1] > 0


def test_many_labels_of_a_text_are_as_much_evidence_as_they_are() -> None:
    random = torch.Generator().manual_seed(5)
    logits = 2 * torch.randn(400, 300, generator=random) - 5
    targets = torch.bernoulli(logits.sigmoid(), generator=random)
    task = MultiLabel([str(number) for number in range(300)])
    branches = torch.stack([0.2 * logits, torch.randn(400, 300, generator=random)])
    weights = choose_branch_weights(task, branches, targets)
    assert weights[0] == pytest.approx(5, rel=0.1)
    assert weights[1] < 0.5


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_choose_nothing(value: float) -> None:
    logits, labels = drawn(300)
    logits[7, 1] = value
    weights = choose_branch_weights(LABELS, torch.stack([logits, logits]), labels)
    assert weights.tolist() == [0.5, 0.5]


def test_numbers_are_weighed_by_their_squared_error() -> None:
    numbers = torch.randn(2000, generator=torch.Generator().manual_seed(4))
    near, far = numbers[:, None] / 2, torch.randn(2000, 1)
    weights = choose_branch_weights(NUMBER, torch.stack([near, far]), numbers)
    assert weights[0] == pytest.approx(2, rel=0.05)
    assert abs(weights[1]) < 0.05


def test_the_weights_can_be_chosen_where_no_gradients_are_recorded() -> None:
    logits, labels = drawn(300)
    with torch.inference_mode():
        branches = torch.stack([logits, logits * 2])
        inside = choose_branch_weights(LABELS, branches, labels * 1)
    torch.testing.assert_close(inside, choose_branch_weights(LABELS, branches, labels))
