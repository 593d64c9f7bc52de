"""How much each branch counts in a prediction, chosen on the validation split."""

from collections.abc import Sequence

# Candidates for the encoder's weight; the bag has the rest.
BRANCH_WEIGHTS = [step / 10 for step in range(11)]


def choose_branch_weight(accuracy: Sequence[float]) -> int:
    """Choose the candidate with the best validation accuracy.

    Each candidate is judged by the mean of its own accuracy and its neighbours', since single ones
    differ by chance. At a tie the candidate nearest to equal weights is chosen.

    Args:
        accuracy: The validation accuracy with each of `BRANCH_WEIGHTS`, in that order.

    Returns:
        The index of the candidate in `BRANCH_WEIGHTS`.
    """
    padded = [accuracy[0], *accuracy, accuracy[-1]]
    best, best_rank = 0, (-1.0, 0.0)
    for i, weight in enumerate(BRANCH_WEIGHTS):
        smoothed = sum(padded[i : i + 3]) / 3
        rank = (round(smoothed, 6), -abs(weight - 0.5))
        if rank > best_rank:
            best, best_rank = i, rank
    return best
