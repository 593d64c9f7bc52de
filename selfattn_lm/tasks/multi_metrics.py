"""Scores of several labels per text during training, from counts that processes can add up.

B batch, L labels.
"""


import torch
from torch import Tensor
from torchmetrics import Metric

_BINS = 100  # of probabilities


class _BinnedF1(Metric):
    """F1 scores at the threshold with the best micro-F1, among 0.01, 0.02, …, 0.99.

    The thresholds of a run are fitted after training. Scores at any fixed threshold would rather
    show how far the probabilities have moved than how well they separate.

    Args:
        labels: The number of labels.
    """

    higher_is_better = True
    full_state_update = False
    counts: Tensor

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.labels = labels
        # Pairs of text and label: by whether the text has the label, label, and probability.
        counts = torch.zeros(2, labels, _BINS, dtype=torch.int64)
        self.add_state("counts", counts, dist_reduce_fx="sum")

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Count the pairs of a batch: (B, L), (B, L)."""
        bins = (logits.sigmoid() * _BINS).long().clamp(max=_BINS - 1)
        labels = torch.arange(self.labels, device=logits.device)
        cells = (targets.long() * self.labels + labels) * _BINS + bins
        counts = torch.bincount(cells.flatten(), minlength=self.counts.numel())
        self.counts += counts.view_as(self.counts)

    def best_counts(self) -> tuple[Tensor, Tensor]:
        """Count at the threshold with the best micro-F1.

        Returns:
            For each label, twice the texts that are rightly predicted it, and the texts that have
            it plus those that are predicted it: (L,) each. F1 is their quotient.
        """
        negatives, positives = self.counts.double()
        right = _sum_from(positives)  # (L, bins)
        predicted = right + _sum_from(negatives)
        support = positives.sum(1, keepdim=True)
        occurrences = support + predicted
        micro_f1 = 2 * right.sum(0) / occurrences.sum(0).clamp(min=1)
        best = micro_f1[1:].argmax() + 1  # at a threshold of 0, all labels would be predicted
        return 2 * right[:, best], occurrences[:, best]


class BestMicroF1(_BinnedF1):
    """Micro-F1 at the single threshold where it is best."""

    def compute(self) -> Tensor:
        """Compute the score: -> ()."""
        right, occurrences = self.best_counts()
        return right.sum() / occurrences.sum().clamp(min=1)


class BestMacroF1(_BinnedF1):
    """The mean F1 of the labels, 0 where it is undefined, at the threshold of `BestMicroF1`."""

    def compute(self) -> Tensor:
        """Compute the score: -> ()."""
        right, occurrences = self.best_counts()
        return (right / occurrences.clamp(min=1)).mean()


def _sum_from(counts: Tensor) -> Tensor:
    """Sum the counts of each bin and those above it: (L, bins) -> (L, bins)."""
    return counts.flip(1).cumsum(1).flip(1)
