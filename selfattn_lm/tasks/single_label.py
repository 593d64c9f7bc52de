"""One label per text. N texts, B batch, L labels."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfattn_lm.config import TrainingConfig
from selfattn_lm.data.examples import Split
from selfattn_lm.data.targets import Target
from selfattn_lm.errors import UserError
from selfattn_lm.phrases import counted
from selfattn_lm.tasks.base import LinearTargets
from selfattn_lm.tasks.columns import PredictionOptions, label_columns, label_values
from selfattn_lm.tasks.label_names import named_counts
from selfattn_lm.tasks.named_labels import TOO_FEW_ROWS, NamedLabels, find_labels
from selfattn_lm.tasks.scores import score_labels
from selfattn_lm.tasks.strata import few_rows, held_out_rows

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True)
class SingleLabel(NamedLabels):
    """One label of several per text."""

    kind: ClassVar[str] = "single_label"
    scores: ClassVar[tuple[str, ...]] = ("macro_f1", "accuracy")
    learning_rate: ClassVar[float] = 3e-3
    decides_by_validation: ClassVar[bool] = False

    @classmethod
    def from_plain(cls, labels: Sequence[str | int], values: Mapping[str, Any]) -> "SingleLabel":
        """Build the task from the labels and other values that a run records."""
        are_integers = isinstance(labels[0], int)
        return cls([str(label) for label in labels], are_integers)

    @classmethod
    def from_splits(cls, splits: Mapping[str, Split]) -> "SingleLabel":
        """Find the labels of all splits, whole numbers in their order, others by name.

        Raises UserError if the training split has too few labels or rows to learn from.
        """
        train = splits["train"]
        trained = set(train.targets)
        if len(trained) == 1:
            reason = f"every row has the label {train.targets[0]!r}"
            raise UserError(f"{train.source}: {reason}; a classifier needs two or more.")
        names, are_integers = find_labels(splits)
        if len(train) < len(names) or len(train) == len(trained):
            reason = f"{counted(len(train), 'row')} for {counted(len(names), 'label')}"
            raise UserError(f"{train.source}: {reason}; {TOO_FEW_ROWS}.")
        return cls(names, are_integers)

    def to_plain(self) -> dict[str, Any]:
        """Return the kind: all else are labels."""
        return {"kind": self.kind}

    def encode(self, targets: Sequence[Target]) -> np.ndarray:
        """Encode label names as their numbers: int64 (N,)."""
        numbers = {name: number for number, name in enumerate(self.names)}
        return np.array([numbers[target] for target in targets], dtype=np.int64)

    def describe(self, targets: Sequence[str]) -> dict[str, Any]:
        """Count the rows of each label."""
        return {"labels": dict(sorted(Counter(targets).items()))}

    def summary(self, targets: Sequence[str]) -> str:
        """Name the labels with their rows; of many, the most frequent and the rarest."""
        return f"labels      {self.outputs}: {named_counts(Counter(targets))}"

    def card(self) -> str:
        """Count the labels."""
        return counted(self.outputs, "label")

    def hold_out(self, targets: Sequence[str], fraction: float, seed: int) -> list[int]:
        """Choose a fraction of the rows of each label."""
        return held_out_rows(targets, fraction, seed)

    def few_shot(self, targets: Sequence[str], shots: int, seed: int) -> list[int]:
        """Choose at most `shots` rows of each label."""
        return few_rows(targets, shots, seed)

    def initial_bias(self, targets: np.ndarray) -> Tensor | None:
        """Return None: all labels start as equally probable."""
        return None

    def training_loss(self, config: TrainingConfig, targets: np.ndarray) -> "LabelLoss":
        """Build the cross-entropy, with the settings' label smoothing and class weights."""
        weights = None
        if config.class_weights == "balanced":
            weights = balanced_weights(targets, self.outputs)
        return LabelLoss(config.label_smoothing, weights)

    def linear_targets(self, config: TrainingConfig, targets: np.ndarray) -> LinearTargets:
        """Return 1 for the label of a row and -1 for all others, with the settings' weights."""
        labels = torch.from_numpy(targets)
        weights = torch.ones(len(labels), 1)
        if config.class_weights == "balanced":
            weights = balanced_weights(targets, self.outputs)[labels][:, None]
        scores = torch.full((len(labels), self.outputs), -1.0)
        scores[torch.arange(len(labels)), labels] = 1
        return LinearTargets(scores, weights, has_margin=True)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the plain cross-entropy: (B, L), (B,) -> ()."""
        return F.cross_entropy(logits, targets)

    def metrics(self) -> "MetricCollection":
        """Build accuracy and macro-F1."""
        from torchmetrics import MetricCollection  # prediction does not need it
        from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

        accuracy = MulticlassAccuracy(self.outputs, average="micro")
        macro_f1 = MulticlassF1Score(self.outputs, average="macro")
        return MetricCollection({"accuracy": accuracy, "macro_f1": macro_f1})

    def with_decision(self, outputs: np.ndarray, targets: np.ndarray) -> "SingleLabel":
        """Return the task as it is: the most probable label is predicted."""
        return self

    def activate(self, logits: Tensor) -> Tensor:
        """Compute the probability of each label: (B, L) -> (B, L)."""
        return logits.softmax(-1)

    def decide(self, outputs: np.ndarray) -> list[Any]:
        """Choose the most probable label of each text: (N, L) -> N labels."""
        labels = self.labels
        return [labels[number] for number in outputs.argmax(1)]

    def columns(self, options: PredictionOptions) -> dict[str, type]:
        """Name a column for each predicted label and its probability."""
        return label_columns(self.names, options)

    def column_values(self, options: PredictionOptions, outputs: np.ndarray) -> list[Any]:
        """Compute the values of these columns from the probabilities of one text (L,)."""
        return label_values(self.names, options, outputs)

    def score(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """Score probabilities (N, L) against label numbers (N,)."""
        return score_labels(torch.from_numpy(outputs), torch.from_numpy(targets), self.names)


class LabelLoss(nn.Module):
    """Cross-entropy with smoothed labels, a weighted mean over the rows.

    Σ w[yᵢ] · loss(i) / Σ w[yᵢ]: the weight is that of the row, and not of the labels over which its
    target is smoothed. Torch's own `weight` weighs these too, so that every text would be given a
    rare label.

    Args:
        smoothing: The fraction of a target that is spread over all labels.
        weights: The weight of the rows of each label, (L,); None: all equal.
    """

    weights: Tensor | None

    def __init__(self, smoothing: float, weights: Tensor | None = None) -> None:
        super().__init__()
        self.smoothing = smoothing
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss: (B, L), (B,) -> ()."""
        # The loss of each text, (B,).
        losses = F.cross_entropy(logits, targets, reduction="none", label_smoothing=self.smoothing)
        if self.weights is None:
            return losses.mean()
        weights = self.weights[targets]  # (B,)
        return (weights * losses).sum() / weights.sum()


def balanced_weights(targets: np.ndarray, labels: int) -> Tensor:
    """Compute weights with which each label counts the same in the loss: (L,).

    Over the rows they are one on average. A label without rows has the weight 0, and changes no
    other's.
    """
    rows = np.bincount(targets, minlength=labels)  # (L,)
    occurs = rows > 0
    weights = np.zeros(labels, dtype=np.float32)
    weights[occurs] = len(targets) / (rows[occurs] * np.count_nonzero(occurs))
    return torch.from_numpy(weights)
