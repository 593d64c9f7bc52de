"""Several labels per text, or none. N texts, B batch, L labels."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfattn_lm.config import TrainingConfig
from selfattn_lm.data.examples import Split
from selfattn_lm.errors import UserError
from selfattn_lm.phrases import counted, listed
from selfattn_lm.tasks.columns import PredictionOptions
from selfattn_lm.tasks.label_checks import label_warnings
from selfattn_lm.tasks.multi_scores import score_label_sets
from selfattn_lm.tasks.multi_strata import few_rows, held_out_rows
from selfattn_lm.tasks.thresholds import DEFAULT_THRESHOLD, fit_thresholds

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

_MAX_NAMED = 8  # labels in a summary
_MAX_WEIGHT = 20.0  # of the rows with a label; a higher one makes a few rows most of the loss


@dataclass(frozen=True)
class MultiLabel:
    """Any number of labels per text.

    A label is predicted if its probability reaches its threshold.

    Attributes:
        names: The names of the labels, in the order of the head's outputs.
        are_integers: Whether the labels were given in Python, all as integers, and predictions in
            Python are to be integers too. Files show them as text.
        thresholds: The threshold of each label; empty before they are fitted, when all are 0.5.
    """

    names: list[str]
    are_integers: bool = False
    thresholds: list[float] = field(default_factory=list)
    kind = "multi_label"
    scores = ("micro_f1", "macro_f1")

    @classmethod
    def from_splits(cls, splits: Mapping[str, Split]) -> "MultiLabel":
        """Find the labels of all splits, whole numbers in their order, others by name.

        Raises UserError if all training rows have the same labels, or if no two share a label.
        """
        train = splits["train"]
        if len({frozenset(labels) for labels in train.targets}) == 1:
            raise UserError(_all_rows_alike(train))
        counts = Counter(name for labels in train.targets for name in labels)
        if max(counts.values()) == 1:
            reason = f"no two of the {len(train):,} rows have a label in common"
            advice = "name the right column with --data.label-column"
            raise UserError(f"{train.source}: {reason}; {advice}.")
        return cls([])

    @property
    def labels(self) -> list[Any]:
        """The labels as predictions in Python give them."""
        if self.are_integers:
            return [int(name) for name in self.names]
        return self.names

    @property
    def outputs(self) -> int:
        """The number of labels."""
        return len(self.names)

    def encode(self, targets: Sequence[Sequence[str]]) -> np.ndarray:
        """Encode the labels of each text as 1, the others as 0: float32 (N, L)."""
        numbers = {name: number for number, name in enumerate(self.names)}
        encoded = np.zeros((len(targets), self.outputs), dtype=np.float32)
        for row, labels in enumerate(targets):
            for label in labels:
                encoded[row, numbers[label]] = 1
        return encoded

    def hold_out(self, targets: Sequence[Sequence[str]], fraction: float, seed: int) -> list[int]:
        return held_out_rows(self.encode(targets) > 0, fraction, seed)

    def describe(self, targets: Any) -> dict[str, Any]:
        return {}

    def training_loss(self, config: TrainingConfig, targets: np.ndarray) -> nn.Module:
        weights = None
        if config.class_weights == "balanced":
            weights = positive_weights(targets)
        return LabelSetLoss(config.label_smoothing, weights)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, targets)

    def metrics(self) -> "MetricCollection":
        from torchmetrics import MetricCollection  # prediction does not need it

        from selfattn_lm.tasks.multi_metrics import BestMacroF1, BestMicroF1

        micro_f1 = BestMicroF1(self.outputs)
        macro_f1 = BestMacroF1(self.outputs)
        return MetricCollection({"micro_f1": micro_f1, "macro_f1": macro_f1})

    @property
    def branch_score(self) -> str:
        return "micro_f1"

    def with_decision(self, outputs: np.ndarray, targets: np.ndarray) -> "MultiLabel":
        """Fit the thresholds on the probabilities (N, L) of a validation split."""
        return replace(self, thresholds=fit_thresholds(outputs, targets))

    def activate(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def is_predicted(self, outputs):
        return outputs >= np.array(self.thresholds)

    def score(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        return score_label_sets(outputs, self.is_predicted(outputs), targets, self.names)


class LabelSetLoss(nn.Module):
    weights: Tensor | None

    def __init__(self, smoothing: float, weights: Tensor | None = None) -> None:
        super().__init__()
        self.smoothing = smoothing
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        smoothed = targets.lerp(torch.full_like(targets, 0.5), self.smoothing)
        return F.binary_cross_entropy_with_logits(logits, smoothed, pos_weight=self.weights)


def positive_weights(targets: np.ndarray) -> Tensor:
    """Compute how much the rows with each label count in its loss: (N, L) -> (L,)."""
    rows = targets.sum(0)
    weights = (len(targets) - rows) / np.maximum(rows, 1)
    return torch.from_numpy(np.minimum(weights, _MAX_WEIGHT).astype(np.float32))
