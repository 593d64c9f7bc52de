"""What a task is: what is predicted of an input, and all that follows from it.

N inputs, B batch, L outputs of the head.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from torch import Tensor, nn

from selfattn_lm.config import TrainingConfig
from selfattn_lm.data.examples import Split
from selfattn_lm.data.targets import Target
from selfattn_lm.tasks.columns import PredictionOptions

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True)
class LinearTargets:
    """What the scores of a linear model are to be.

    Attributes:
        scores: 1 for a label that a row has and -1 for one that it has not, or a number: (N, L).
        weights: The weight of each error, (N, L), or of each row's errors, (N, 1).
        has_margin: Whether scores beyond 1 and -1 are no errors, as with labels.
    """

    scores: Tensor
    weights: Tensor
    has_margin: bool

    def select(self, outputs: slice) -> "LinearTargets":
        """Return those of some outputs."""
        weights = self.weights
        if weights.shape[1] > 1:
            weights = weights[:, outputs]
        return LinearTargets(self.scores[:, outputs], weights, self.has_margin)


class Task(Protocol):
    """One kind of prediction, such as one label per text.

    Readers yield raw targets. Training, evaluation and prediction ask the task what they mean, how
    the model learns them, how its outputs are decided and scored, and how predictions are written.

    Attributes:
        kind: The name of the kind of task.
        scores: The validation scores by which the best weights can be chosen, greater being better;
            the default first.
        learning_rate: The highest learning rate of a model that is trained from scratch.
        decides_by_validation: Whether something is decided by the validation split, once the model
            is trained.
    """

    kind: ClassVar[str]
    scores: ClassVar[tuple[str, ...]]
    learning_rate: ClassVar[float]
    decides_by_validation: ClassVar[bool]

    @property
    def names(self) -> list[str]:
        """The names of the labels, in the order of the head's outputs; none for a number."""

    @property
    def labels(self) -> list[Any]:
        """The labels as predictions in Python give them."""

    @property
    def outputs(self) -> int:
        """The number L of outputs of the head."""

    def to_plain(self) -> dict[str, Any]:
        """Return what a run records beside the labels: the kind, and what was decided."""

    # Targets

    def encode(self, targets: Sequence[Target]) -> np.ndarray:
        """Encode raw targets as the loss needs them: (N, …)."""

    def unknown(self, targets: Sequence[Target]) -> dict[str, int]:
        """Count the labels that the task does not know, the most frequent first."""

    def is_known(self, target: Target) -> bool:
        """Return whether a target can be encoded."""

    def describe(self, targets: Sequence[Target]) -> dict[str, Any]:
        """Return plain facts about targets, for `data.json`."""

    def summary(self, targets: Sequence[Target]) -> str:
        """Describe the targets of the training split in one line."""

    def card(self) -> str:
        """Name what is predicted, as a phrase for the model card."""

    def warnings(self, splits: Mapping[str, Split]) -> list[str]:
        """Find what is odd about the targets of some splits, a sentence each."""

    def hold_out(self, targets: Sequence[Target], fraction: float, seed: int) -> list[int]:
        """Choose the rows to hold out, as similar as possible to the others, in order."""

    def few_shot(self, targets: Sequence[Target], shots: int, seed: int) -> list[int]:
        """Choose a few rows of each kind, in order."""

    # Learning

    def initial_bias(self, targets: np.ndarray) -> Tensor | None:
        """Return the bias (L,) with which a new head starts, or None for one around zero."""

    def head_problem(self, initial: "Task") -> str:
        """Say why the head of the model that training starts from does not suit; empty if it does.

        Args:
            initial: The task of that model.
        """

    def training_loss(self, config: TrainingConfig, targets: np.ndarray) -> nn.Module:
        """Build the loss of training: logits (B, L), encoded targets (B, …) -> ()."""

    def linear_targets(self, config: TrainingConfig, targets: np.ndarray) -> LinearTargets:
        """Return what a linear model is to score, given the encoded targets (N, …)."""

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of a validation, the same for all settings: -> ()."""

    def metrics(self) -> "MetricCollection":
        """Build the scores of a validation, updated by logits (B, L) and encoded targets."""

    def with_decision(self, outputs: np.ndarray, targets: np.ndarray) -> "Task":
        """Return the task with what is decided by a validation, such as thresholds.

        Args:
            outputs: The outputs for the validation split: (N, L).
            targets: Its encoded targets: (N, …).
        """

    # Predictions

    def activate(self, logits: Tensor) -> Tensor:
        """Turn logits into outputs, such as probabilities: (B, L) -> (B, L)."""

    def decide(self, outputs: np.ndarray) -> list[Any]:
        """Turn outputs into predictions, as Python values: (N, L) -> N."""

    def columns(self, options: PredictionOptions) -> dict[str, Any]:
        """Name the columns that predictions add to a file, with the type of their values.

        The types are str, float, list[str] and list[float].
        """

    def column_values(self, options: PredictionOptions, outputs: np.ndarray) -> list[Any]:
        """Compute the values of these columns for one input, given its outputs (L,)."""

    def score(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """Score outputs (N, L) against encoded targets, in plain values, with intervals."""
