"""How much each branch counts in a prediction, chosen on the validation split."""

import math
from collections.abc import Sequence

# Candidates for the encoder's weight; the bag has the rest.
BRANCH_WEIGHTS = [step / 10 for step in range(11)]


def choose_branch_weight(scores: Sequence[float]) -> int:
    """Choose the candidate with the best validation score.

    Each candidate is judged by the mean of its own score and its neighbours', since single ones
    differ by chance. At a tie the candidate nearest to equal weights is chosen.

    Args:
        scores: The validation score with each of `BRANCH_WEIGHTS`, in that order.

    Returns:
        The index of the candidate in `BRANCH_WEIGHTS`.
    """
    padded = [scores[0], *scores, scores[-1]]
    best, best_rank = 0, (-math.inf, 0.0)
    for i, weight in enumerate(BRANCH_WEIGHTS):
        smoothed = sum(padded[i : i + 3]) / 3
        rank = (round(smoothed, 6), -abs(weight - 0.5))
        if rank > best_rank:
            best, best_rank = i, rank
    return best
