"""How much each branch of the classifier counts in its prediction, chosen on the validation split."""

from collections.abc import Sequence

BRANCH_WEIGHTS = [
    step / 10 for step in range(11)
]  # candidates for the encoder's weight; the bag has the rest


def choose_branch_weight(accuracy: Sequence[float]) -> int:
    """Choose the candidate with the best validation accuracy; returns its index in `BRANCH_WEIGHTS`.

    Each candidate is judged by the mean of its own accuracy and its neighbours', since single ones differ by chance.
    At a tie the candidate nearest to equal weights is chosen.

    Args:
        accuracy: The validation accuracy with each of `BRANCH_WEIGHTS`, in that order.
    """
    padded = [accuracy[0], *accuracy, accuracy[-1]]
    best, best_rank = 0, (-1.0, 0.0)
    for i, weight in enumerate(BRANCH_WEIGHTS):
        smoothed = sum(padded[i : i + 3]) / 3
        rank = (round(smoothed, 6), -abs(weight - 0.5))
        if rank > best_rank:
            best, best_rank = i, rank
    return best
