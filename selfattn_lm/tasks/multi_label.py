"""Several labels per text, or none. N texts, B batch, L labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfattn_lm.config import TrainingConfig
from selfattn_lm.data.examples import Split
from selfattn_lm.errors import UserError
from selfattn_lm.phrases import counted, listed
from selfattn_lm.tasks.base import LinearTargets
from selfattn_lm.tasks.columns import PredictionOptions
from selfattn_lm.tasks.label_names import count_labels, named_counts
from selfattn_lm.tasks.multi_columns import label_set_columns, label_set_values, predicted_labels
from selfattn_lm.tasks.multi_scores import score_label_sets
from selfattn_lm.tasks.multi_strata import few_rows, held_out_rows
from selfattn_lm.tasks.named_labels import TOO_FEW_ROWS, NamedLabels, find_labels
from selfattn_lm.tasks.thresholds import DEFAULT_THRESHOLD, check_thresholds, fit_thresholds

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

Labels = tuple[str, ...]  # those of one text
_MAX_WEIGHT = 10.0  # of the rows with a label; with more, a few rows would be most of the loss


@dataclass(frozen=True)
class MultiLabel(NamedLabels):
    """Any number of labels per text.

    A label is predicted if its probability reaches its threshold.

    Attributes:
        thresholds: The threshold of each label; none before they are fitted, when all are 0.5.
    """

    thresholds: list[float] = field(default_factory=list)
    kind: ClassVar[str] = "multi_label"
    scores: ClassVar[tuple[str, ...]] = ("micro_f1", "macro_f1")
    # A rare label starts far from 0 and moves only in the few batches that have it.
    learning_rate: ClassVar[float] = 2e-2
    decides_by_validation: ClassVar[bool] = True

    @classmethod
    def from_plain(cls, labels: Sequence[str | int], values: Mapping[str, Any]) -> "MultiLabel":
        """Build the task from the labels and the thresholds that a run records.

        Raises ValueError if there are no labels, or if the thresholds are not one number from 0 to
        1 per label.
        """
        if not labels:
            raise ValueError("there are no labels")
        thresholds = check_thresholds(values.get("thresholds", []), len(labels))
        are_integers = isinstance(labels[0], int)
        return cls([str(label) for label in labels], are_integers, thresholds)

    @classmethod
    def from_splits(cls, splits: Mapping[str, Split]) -> "MultiLabel":
        """Find the labels of all splits, whole numbers in their order, others by name.

        A single label is enough if some rows have it and others do not.

        Raises UserError if all training rows have the same labels, or if no two share a label.
        """
        train = splits["train"]
        distinct = {frozenset(labels) for labels in train.targets}
        if len(distinct) == 1:
            reason = "no row has a label"
            if train.targets[0]:
                reason = f"every row has the same labels, {listed(train.targets[0])}"
            raise UserError(f"{train.source}: {reason}; a classifier needs rows that differ.")
        if max(count_labels(train.targets).values()) == 1:
            reason = f"no two of {counted(len(train), 'row')} have a label in common"
            raise UserError(f"{train.source}: {reason}; {TOO_FEW_ROWS}.")
        names, are_integers = find_labels(splits)
        return cls(names, are_integers)

    def to_plain(self) -> dict[str, Any]:
        """Return the kind and the thresholds."""
        return {"kind": self.kind, "thresholds": self.thresholds}

    def encode(self, targets: Sequence[Labels]) -> np.ndarray:
        """Encode the labels of each text as 1, all others as 0: float32 (N, L)."""
        numbers = {name: number for number, name in enumerate(self.names)}
        encoded = np.zeros((len(targets), self.outputs), dtype=np.float32)
        for row, labels in enumerate(targets):
            for label in labels:
                encoded[row, numbers[label]] = 1
        return encoded

    def describe(self, targets: Sequence[Labels]) -> dict[str, Any]:
        """Count the rows of each label, and those without."""
        counts = count_labels(targets)
        return {"labels": dict(sorted(counts.items())), "without_labels": targets.count(())}

    def summary(self, targets: Sequence[Labels]) -> str:
        """Say how many labels a text has, and name them with their rows."""
        counts = count_labels(targets)
        per_text = f"{counts.total() / len(targets):.1f} per text"
        without = targets.count(())
        if without:
            per_text += f", none in {without:,}"
        return f"labels      {self.outputs}, {per_text}: {named_counts(counts)}"

    def card(self) -> str:
        """Count the labels."""
        return f"{counted(self.outputs, 'label')}, several per text"

    def hold_out(self, targets: Sequence[Labels], fraction: float, seed: int) -> list[int]:
        """Choose a fraction of the rows of each label, and of those without."""
        return held_out_rows(self.encode(targets) > 0, fraction, seed)

    def few_shot(self, targets: Sequence[Labels], shots: int, seed: int) -> list[int]:
        """Choose at most `shots` rows of each label, and of those without."""
        return few_rows(self.encode(targets) > 0, shots, seed)

    def initial_bias(self, targets: np.ndarray) -> Tensor:
        """Return the log-odds of the labels' frequencies: (L,).

        From a head that gives each of many labels to half of the texts, training takes epochs to
        learn only how rare they are (Lin et al. 2017, 1708.02002).
        """
        frequencies = (targets.sum(0) + 1) / (len(targets) + 2)
        return torch.from_numpy(np.log(frequencies / (1 - frequencies)))

    def training_loss(self, config: TrainingConfig, targets: np.ndarray) -> "LabelSetLoss":
        """Build the binary cross-entropy, with the settings' class weights.

        Labels are not smoothed, whatever the settings say: smoothing spreads a probability that all
        labels share, and here each label has a probability of its own.
        """
        weights = None
        if config.class_weights == "balanced":
            weights = positive_weights(targets)
        return LabelSetLoss(weights)

    def linear_targets(self, config: TrainingConfig, targets: np.ndarray) -> LinearTargets:
        """Return 1 for each label of a row and -1 for all others, with the settings' weights."""
        labels = torch.from_numpy(targets)
        weights = torch.ones(len(labels), 1)
        if config.class_weights == "balanced":
            weights = torch.where(labels > 0, positive_weights(targets), 1.0)
        return LinearTargets(2 * labels - 1, weights, has_margin=True)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the mean of the binary cross-entropy: (B, L), (B, L) -> ()."""
        return F.binary_cross_entropy_with_logits(logits, targets)

    def metrics(self) -> "MetricCollection":
        """Build micro-F1 and macro-F1, at the single threshold where micro-F1 is best."""
        from torchmetrics import MetricCollection  # prediction does not need it

        from selfattn_lm.tasks.multi_metrics import BestMacroF1, BestMicroF1

        micro_f1 = BestMicroF1(self.outputs)
        macro_f1 = BestMacroF1(self.outputs)
        return MetricCollection({"micro_f1": micro_f1, "macro_f1": macro_f1})

    def with_decision(self, outputs: np.ndarray, targets: np.ndarray) -> "MultiLabel":
        """Fit the thresholds on the probabilities (N, L) of the validation split."""
        return replace(self, thresholds=fit_thresholds(outputs, targets))

    def activate(self, logits: Tensor) -> Tensor:
        """Compute the probability of each label by itself: (B, L) -> (B, L)."""
        return logits.sigmoid()

    def decide(self, outputs: np.ndarray) -> list[Any]:
        """Choose the labels of each text, the most probable first, perhaps none: (N, L) -> N."""
        labels = self.labels
        thresholds = self._thresholds()
        decided = []
        for probabilities in outputs:
            numbers = predicted_labels(probabilities, thresholds)
            decided.append([labels[number] for number in numbers])
        return decided

    def columns(self, options: PredictionOptions) -> dict[str, Any]:
        """Name a column for the predicted labels and one for their probabilities."""
        return label_set_columns(self.names, options)

    def column_values(self, options: PredictionOptions, outputs: np.ndarray) -> list[Any]:
        """Compute the values of these columns from the probabilities of one text (L,)."""
        return label_set_values(self.names, options, outputs, self._thresholds())

    def score(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """Score probabilities (N, L) against encoded targets (N, L)."""
        predicted = outputs >= self._thresholds()
        return score_label_sets(outputs, predicted, targets, self.names)

    def _thresholds(self) -> np.ndarray:
        """The threshold of each label: (L,)."""
        if self.thresholds:
            return np.array(self.thresholds)
        return np.full(self.outputs, DEFAULT_THRESHOLD)


class LabelSetLoss(nn.Module):
    """Binary cross-entropy of each label, the mean over texts and labels.

    Args:
        weights: The weight of the texts with each label, (L,), against 1 of those without; None: 1.
    """

    weights: Tensor | None

    def __init__(self, weights: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss: (B, L), (B, L) -> ()."""
        return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=self.weights)


def positive_weights(targets: np.ndarray) -> Tensor:
    """Compute weights with which the rows with a label count as much as those without: (L,).

    They are at most 10.
    """
    rows = targets.sum(0)  # (L,)
    weights = (len(targets) - rows) / np.maximum(rows, 1)
    return torch.from_numpy(np.minimum(weights, _MAX_WEIGHT).astype(np.float32))
