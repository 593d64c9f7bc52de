"""The n-gram branch of a classifier: counted, and solved before the first step of training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from selfattn_lm.config import TrainingConfig
from selfattn_lm.data.targets import Target
from selfattn_lm.features.pairs import TokenizedPairs
from selfattn_lm.features.sequences import TokenizedTexts
from selfattn_lm.features.weighted_ngrams import NgramVocabulary
from selfattn_lm.inputs import SparseRows
from selfattn_lm.nn import NgramClassifier
from selfattn_lm.tasks import Task
from selfattn_lm.training.branches import best_factor
from selfattn_lm.training.linear import LinearSolver

MAX_BYTES = 8_000_000  # of the branch in the file
_BYTES_PER_FEATURE = 6  # of its hash and its inverse document frequency; each weight has one more
# The weight of the errors, C: on short texts with many labels the largest validated best, on 8,500
# sentences of vague sentiment the smallest.
_COSTS = (0.1, 0.25, 0.5, 1.0)
_HELD_OUT = 0.2  # of the training rows, to choose among the costs


@dataclass(frozen=True)
class CountedNgrams:
    """The weighted n-grams of the training and of the validation split.

    Attributes:
        vocabulary: The n-grams that count, of the training split.
        train: Those of each training text: (N, F).
        validation: Those of each validation text.
    """

    vocabulary: NgramVocabulary
    train: SparseRows
    validation: SparseRows


def count_ngrams(
    train: TokenizedTexts | TokenizedPairs,
    validation: TokenizedTexts | TokenizedPairs,
    max_ngram: int,
    outputs: int,
) -> CountedNgrams | None:
    """Count the n-grams of whole texts; None if no n-gram of the training split counts.

    Args:
        train: The training texts.
        validation: The validation texts.
        max_ngram: The number of tokens of the longest n-gram.
        outputs: The number L of outputs, by which the number of features is limited.
    """
    most = MAX_BYTES // (_BYTES_PER_FEATURE + outputs)
    vocabulary = NgramVocabulary.from_texts(train, max_ngram, most)
    if len(vocabulary.hashes) == 0:
        return None
    return CountedNgrams(vocabulary, vocabulary.rows(train), vocabulary.rows(validation))


def solve_branch(
    ngrams: CountedNgrams,
    task: Task,
    config: TrainingConfig,
    raw_targets: Sequence[Target],
    seed: int,
) -> NgramClassifier:
    """Solve the n-gram branch on the training split.

    A fifth of the rows is held out at first, to choose the cost by their score, and the factor
    that makes logits of the scores by their loss. Then all rows are fitted.

    Args:
        ngrams: The n-grams of the training split.
        task: What is predicted.
        config: The settings of the training, among them class weights.
        raw_targets: The targets of the training split.
        seed: The seed by which rows are held out.
    """
    targets = task.encode(raw_targets)
    features = len(ngrams.vocabulary.hashes)
    held_out = np.array(task.hold_out(raw_targets, _HELD_OUT, seed), dtype=np.int64)
    cost, factor = 1.0, 1.0
    if len(held_out) > 0:
        cost, factor = _choose_cost(ngrams.train, features, task, config, targets, held_out)
    solver = LinearSolver(ngrams.train, features, task.linear_targets(config, targets))
    solution = factor * solver.solve(cost)
    branch = NgramClassifier(features, task.outputs)
    hashes = ngrams.vocabulary.hashes.view(np.int32)  # the same bits: torch has few uses for uint32
    branch.hashes.copy_(torch.from_numpy(hashes))
    branch.idf.copy_(torch.from_numpy(ngrams.vocabulary.idf))
    branch.set_weights(solution[:-1], solution[-1])
    return branch


def _choose_cost(
    rows: SparseRows,
    features: int,
    task: Task,
    config: TrainingConfig,
    targets: np.ndarray,
    held_out: np.ndarray,
) -> tuple[float, float]:
    """Choose the cost that scores best on held-out rows, and the factor of its scores."""
    rest = np.setdiff1d(np.arange(len(targets)), held_out)
    solver = LinearSolver(rows.select(rest), features, task.linear_targets(config, targets[rest]))
    unseen, answers = rows.select(held_out), torch.from_numpy(targets[held_out])
    metrics = task.metrics()
    best_score, best_cost, best_logits = float("-inf"), _COSTS[0], torch.zeros(0)
    solution: Tensor | None = None
    for cost in _COSTS:
        solution = solver.solve(cost, start=solution)
        logits = unseen.times(solution[:-1]) + solution[-1]
        score = float(metrics(logits, answers)[task.branch_score])
        metrics.reset()
        if score > best_score:
            best_score, best_cost, best_logits = score, cost, logits
    return best_cost, best_factor(task, best_logits, answers)
