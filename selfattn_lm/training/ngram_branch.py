"""The n-gram branch of a classifier: counted, and solved before the first step of training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

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
from selfattn_lm.tasks import LinearTargets, Task
from selfattn_lm.training.branches import best_factor
from selfattn_lm.training.linear import LinearSolver, log_count_ratios, transposed

MAX_BYTES = 8_000_000  # of the branch in the file
_BYTES_PER_FEATURE = 6  # of its hash and its inverse document frequency; each weight has one more
# The weight of the errors, C: of vague sentiment the smallest validated best, of 150 intents the
# largest.
_COSTS = (0.1, 0.25, 0.5, 1.0)
# Rows by which the cost and the weights of the features are chosen, and the fraction of them that
# is held out for that.
_CHOOSING_ROWS = 10_000
_HELD_OUT = 0.2
_SCORES_AT_ONCE = 20_000_000  # of all rows and some outputs; the solver needs ten times the memory


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

    A fifth of at most 10,000 rows is held out at first, to choose by its loss the cost, whether
    features are weighted by their log-count ratios, and the factor that makes logits of the scores.
    Then all rows are fitted.

    Args:
        ngrams: The n-grams of the training split.
        task: What is predicted.
        config: The settings of the training, among them class weights.
        raw_targets: The targets of the training split.
        seed: The seed by which rows are held out.
    """
    features = len(ngrams.vocabulary.hashes)
    problem = _Problem(ngrams.train, features, task, config, task.encode(raw_targets))
    random = np.random.default_rng(seed)
    chosen = np.sort(random.permutation(len(raw_targets))[:_CHOOSING_ROWS])
    held_out = task.hold_out([raw_targets[row] for row in chosen], _HELD_OUT, seed)
    choice = _Choice()
    if held_out:
        rest = np.delete(chosen, held_out)
        choice = _choose(problem.select(rest), problem.select(chosen[held_out]))
    solution = choice.factor * problem.solve(choice)
    branch = NgramClassifier(features, task.outputs)
    hashes = ngrams.vocabulary.hashes.view(np.int32)  # the same bits: torch has few uses for uint32
    branch.hashes.copy_(torch.from_numpy(hashes))
    branch.idf.copy_(torch.from_numpy(ngrams.vocabulary.idf))
    branch.set_weights(solution[:-1], solution[-1])
    return branch


@dataclass(frozen=True)
class _Problem:
    """Rows with their targets, to fit or to score.

    Attributes:
        rows: The weighted n-grams: (N, F).
        features: The number of features F.
        task: What is predicted.
        config: The settings of the training.
        targets: The encoded targets: (N, …).
    """

    rows: SparseRows
    features: int
    task: Task
    config: TrainingConfig
    targets: np.ndarray

    def select(self, rows: np.ndarray) -> "_Problem":
        """Return the problem of some rows."""
        return replace(self, rows=self.rows.select(rows), targets=self.targets[rows])

    @cached_property
    def columns(self) -> SparseRows:
        """The transposed rows: (F, N)."""
        return transposed(self.rows, self.features)

    @cached_property
    def linear_targets(self) -> LinearTargets:
        """What the scores are to be: (N, L)."""
        return self.task.linear_targets(self.config, self.targets)

    def solver(self, outputs: slice, *, weighted: bool) -> LinearSolver:
        """Prepare to solve some outputs, with n-grams weighted by log-count ratios or alike."""
        targets = self.linear_targets.select(outputs)
        weights = torch.ones(self.features, targets.scores.shape[1])
        if weighted:
            weights = log_count_ratios(self.columns, (targets.scores > 0).float())
        return LinearSolver(self.rows, self.columns, targets, weights)

    def solve(self, choice: "_Choice") -> Tensor:
        """Solve all outputs, a few at a time where there are many rows: (F + 1, L)."""
        at_once = max(1, _SCORES_AT_ONCE // len(self.targets))
        solutions = []
        for start in range(0, self.task.outputs, at_once):
            solver = self.solver(slice(start, start + at_once), weighted=choice.weighted)
            solutions.append(solver.solve(choice.cost))
        return torch.cat(solutions, dim=1)


@dataclass(frozen=True)
class _Choice:
    """How to solve the branch.

    Attributes:
        cost: The weight of the errors.
        weighted: Whether features are weighted by their log-count ratios.
        factor: What scores are multiplied by.
    """

    cost: float = 0.5
    weighted: bool = False
    factor: float = 1.0


def _choose(rest: _Problem, held_out: _Problem) -> _Choice:
    """Fit some rows in each way, and choose the one with the smallest loss on held-out rows."""
    task = rest.task
    answers = torch.from_numpy(held_out.targets)
    ways = [False]
    if task.names:  # a number has no label to occur with
        ways.append(True)
    best, smallest = _Choice(), float("inf")
    for weighted in ways:
        solver = rest.solver(slice(None), weighted=weighted)
        for cost in _COSTS:
            solution = solver.solve(cost)
            scores = held_out.rows.times(solution[:-1]) + solution[-1]
            factor = best_factor(task, scores, answers)
            loss = float(task.loss(factor * scores, answers))
            if loss < smallest:
                best, smallest = _Choice(cost, weighted, factor), loss
    return best
