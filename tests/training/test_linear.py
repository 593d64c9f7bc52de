from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.naive_bayes import MultinomialNB
from sklearn.svm import LinearSVC

from selfattn_lm.inputs import SparseRows
from selfattn_lm.tasks import LinearTargets
from selfattn_lm.training.linear import LinearSolver, log_count_ratios, transposed

RANDOM = np.random.default_rng(0)
DENSE = (RANDOM.random((60, 12)) * (RANDOM.random((60, 12)) < 0.4)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 60)


def sparse(dense: np.ndarray) -> SparseRows:
    matrix = torch.from_numpy(dense).to_sparse()
    offsets = np.append(0, (dense != 0).sum(1).cumsum())
    return SparseRows(
        columns=matrix.indices()[1].int(),
        offsets=torch.from_numpy(offsets).int(),
        values=matrix.values(),
    )


def label_targets(labels: np.ndarray, weights: np.ndarray | None = None) -> LinearTargets:
    scores = np.where(labels[:, None] == np.arange(3), 1, -1).astype(np.float32)
    if weights is None:
        weights = np.ones(len(labels), np.float32)
    return LinearTargets(torch.from_numpy(scores), torch.from_numpy(weights)[:, None], True)


def scores_of(solution: torch.Tensor) -> np.ndarray:
    scores: np.ndarray = DENSE @ solution[:-1].numpy() + solution[-1].numpy()
    return scores


def solver_of(targets: LinearTargets) -> LinearSolver:
    ones = torch.ones(DENSE.shape[1], targets.scores.shape[1])
    rows = sparse(DENSE)
    return LinearSolver(rows, transposed(rows, 12), targets, ones, tolerance=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("cost", [0.1, 1.0])
def test_the_scores_are_those_of_scikit_learns_linear_svc(cost: float, weighted: bool) -> None:
    weights = np.ones(60, np.float32)
    if weighted:
        weights = np.linspace(0.5, 1.5, 60, dtype=np.float32)
    solver = solver_of(label_targets(LABELS, weights))
    scores = scores_of(solver.solve(cost))
    svc = LinearSVC(C=cost, tol=1e-8, max_iter=100_000).fit(DENSE, LABELS, weights)
    np.testing.assert_allclose(scores, svc.decision_function(DENSE), atol=1e-3)


def test_numbers_are_those_of_scikit_learns_ridge() -> None:
    numbers = RANDOM.random((60, 1)).astype(np.float32)
    targets = LinearTargets(torch.from_numpy(numbers), torch.ones(60, 1), has_margin=False)
    solver = solver_of(targets)
    with_ones = np.hstack([DENSE, np.ones((60, 1), np.float32)])
    ridge = Ridge(alpha=1.0, fit_intercept=False).fit(with_ones, numbers[:, 0])
    scores = scores_of(solver.solve(0.5))
    np.testing.assert_allclose(scores[:, 0], ridge.predict(with_ones), atol=1e-3)


def test_each_output_is_a_problem_of_its_own() -> None:
    targets = label_targets(LABELS)
    alone = LinearTargets(targets.scores[:, 1:2], targets.weights, has_margin=True)
    together = solver_of(targets).solve(0.5)[:, 1:2]
    torch.testing.assert_close(together, solver_of(alone).solve(0.5), atol=1e-3, rtol=0)


def test_the_solution_hardly_depends_on_where_it_starts() -> None:
    solver = solver_of(label_targets(LABELS))
    solver.solve(0.1)
    started = solver.solve(1.0)
    alone = solver_of(label_targets(LABELS)).solve(1.0)
    torch.testing.assert_close(started, alone, atol=1e-3, rtol=0)


def test_the_solution_is_the_same_bytes_each_time() -> None:
    first, again = (solver_of(label_targets(LABELS)).solve(1.0) for _ in range(2))
    assert first.numpy().tobytes() == again.numpy().tobytes()


def test_rows_without_features_are_decided_by_the_bias() -> None:
    empty: Any = sparse(np.zeros((60, 12), np.float32))
    columns = transposed(empty, 12)
    solver = LinearSolver(empty, columns, label_targets(LABELS), torch.ones(12, 3))
    solution = solver.solve(1.0)
    assert (solution[:-1] == 0).all()
    assert int(solution[-1].argmax()) == int(np.bincount(LABELS).argmax())


def test_weighted_features_are_multiplied_features() -> None:
    weights = RANDOM.random(12).astype(np.float32) + 0.5
    solver = LinearSolver(
        sparse(DENSE),
        transposed(sparse(DENSE), 12),
        label_targets(LABELS),
        torch.from_numpy(weights)[:, None].expand(12, 3),
        tolerance=1e-5,
    )
    svc = LinearSVC(C=0.5, tol=1e-8, max_iter=100_000).fit(DENSE * weights, LABELS)
    expected = svc.decision_function(DENSE * weights)
    np.testing.assert_allclose(scores_of(solver.solve(0.5)), expected, atol=1e-3)


def test_rare_labels_are_solved_as_exactly_as_frequent_ones() -> None:
    rare = np.zeros(60, np.int64)
    rare[:2] = 1
    rare[30:] = 2
    ones = torch.ones(12, 3)
    columns = transposed(sparse(DENSE), 12)
    solver = LinearSolver(sparse(DENSE), columns, label_targets(rare), ones)
    svc = LinearSVC(C=1.0, tol=1e-8, max_iter=100_000).fit(DENSE, rare)
    for cost in (0.1, 1.0):
        scores = scores_of(solver.solve(cost))
    np.testing.assert_allclose(scores, svc.decision_function(DENSE), atol=0.02)


def test_the_log_count_ratios_are_those_of_naive_bayes() -> None:
    has_label = (LABELS[:, None] == np.arange(3)).astype(np.float32)
    weights = log_count_ratios(transposed(sparse(DENSE), 12), torch.from_numpy(has_label))
    for label in range(3):
        bayes = MultinomialNB(alpha=1.0).fit(DENSE > 0, has_label[:, label])
        ratios = np.abs(bayes.feature_log_prob_[1] - bayes.feature_log_prob_[0])
        expected = (1 + ratios / np.sqrt((ratios**2).mean())) / 2
        np.testing.assert_allclose(weights[:, label], expected, rtol=1e-4)


def test_a_transposed_matrix_is_that_of_numpy() -> None:
    columns = transposed(sparse(DENSE), 12)
    torch.testing.assert_close(columns.times(torch.eye(60)), torch.from_numpy(DENSE.T.copy()))


def test_rows_are_selected_in_the_order_given() -> None:
    chosen = sparse(DENSE).select([5, 0, 5, 59])
    expected = torch.from_numpy(DENSE[[5, 0, 5, 59]])
    torch.testing.assert_close(chosen.times(torch.eye(12)), expected)
    assert sparse(DENSE).select([]).height == 0
