"""A number per text. N texts, B batch; the head has one output."""

import math
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
from selfattn_lm.tasks.base import LinearTargets, Task
from selfattn_lm.tasks.columns import PredictionOptions
from selfattn_lm.tasks.number_checks import number_warnings
from selfattn_lm.tasks.number_scores import score_numbers

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

ACTIVATIONS = ("identity", "sigmoid")


@dataclass(frozen=True)
class Regression:
    """A number per text, such as a rating.

    The model learns the standardized number: targets are encoded as it, and logits are it. So the
    learning rate suits any unit, and so does the head of another run.

    Attributes:
        mean: The mean of the training targets; 0 if they were not standardized.
        std: Their standard deviation, above 0; 1 if they were not standardized.
        activation: `identity`; or `sigmoid`, for checkpoints that were trained to give a score from
            0 to 1. With it the mean is 0 and the standard deviation 1.

    Raises:
        ValueError: A value is out of its range.
    """

    mean: float
    std: float
    activation: str = "identity"
    kind: ClassVar[str] = "regression"
    scores: ClassVar[tuple[str, ...]] = ("r2", "pearson", "spearman")
    decides_by_validation: ClassVar[bool] = False
    learning_rate: ClassVar[float] = 3e-3

    def __post_init__(self) -> None:
        if not math.isfinite(self.mean):
            raise ValueError(f"the mean {self.mean!r} is not a finite number")
        if not (math.isfinite(self.std) and self.std > 0):
            raise ValueError(f"the standard deviation {self.std!r} is not a number above 0")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"the activation {self.activation!r} is not identity or sigmoid")
        if self.activation == "sigmoid" and (self.mean, self.std) != (0.0, 1.0):
            raise ValueError("with a sigmoid, the mean must be 0 and the standard deviation 1")

    @classmethod
    def from_plain(cls, labels: Sequence[str | int], values: Mapping[str, Any]) -> "Regression":
        """Build the task from what a run records.

        Raises:
            ValueError: The values are not those of a regression.
        """
        if labels:
            raise ValueError(f"a regression has no labels, but there are {len(labels)}")
        for name in ("mean", "std"):
            number = values.get(name)
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise ValueError(f"{name} {number!r} is not a number")
        activation = values.get("activation", "identity")
        return cls(float(values["mean"]), float(values["std"]), activation)

    @classmethod
    def from_splits(cls, splits: Mapping[str, Split]) -> "Regression":
        """Compute the mean and the standard deviation of the training targets.

        Raises:
            UserError: All targets are the same number, or some are too large.
        """
        train = splits["train"]
        numbers = np.array(train.targets, dtype=np.float64)
        if numbers.min() == numbers.max():
            reason = f"every row has the number {numbers[0]:g}"
            raise UserError(f"{train.source}: {reason}; a regression needs two or more.")
        with np.errstate(over="ignore"):
            mean, std = float(numbers.mean()), float(numbers.std())
        try:
            return cls(mean, std)
        except ValueError as error:
            advice = "write the numbers in another unit"
            raise UserError(f"{train.source}: of the targets, {error}; {advice}.") from None

    def to_plain(self) -> dict[str, Any]:
        """Return the kind, the scaling of the targets and the activation."""
        return {
            "kind": self.kind,
            "mean": self.mean,
            "std": self.std,
            "activation": self.activation,
        }

    @property
    def names(self) -> list[str]:
        """There are no labels."""
        return []

    @property
    def labels(self) -> list[Any]:
        """There are no labels."""
        return []

    @property
    def outputs(self) -> int:
        """The number alone."""
        return 1

    @property
    def is_standardized(self) -> bool:
        """Whether the head predicts standardized numbers; those of other libraries do not."""
        return (self.mean, self.std) != (0.0, 1.0)

    # Targets

    def encode(self, targets: Sequence[Target]) -> np.ndarray:
        """Standardize the numbers: float32 (N,)."""
        numbers = np.array(targets, dtype=np.float64)
        return ((numbers - self.mean) / self.std).astype(np.float32)

    def unknown(self, targets: Sequence[Target]) -> dict[str, int]:
        """Return nothing: each number is known."""
        return {}

    def is_known(self, target: Target) -> bool:
        """Return whether a target can be encoded, as each number can."""
        return True

    def describe(self, targets: Sequence[Target]) -> dict[str, Any]:
        """Return the range, the mean and the standard deviation."""
        numbers = np.array(targets, dtype=np.float64)
        return {
            "target": {
                "min": float(numbers.min()),
                "max": float(numbers.max()),
                "mean": float(numbers.mean()),
                "std": float(numbers.std()),
            }
        }

    def summary(self, targets: Sequence[Target]) -> str:
        """Give the range and the mean, and how to take the numbers as labels."""
        facts = self.describe(targets)["target"]
        described = f"a number, {facts['min']:g} to {facts['max']:g}, mean {facts['mean']:.3g}"
        return f"target      {described}; --data.task single_label takes the values as labels"

    def card(self) -> str:
        """Name what is predicted."""
        return "a number"

    def warnings(self, splits: Mapping[str, Split]) -> list[str]:
        """Find numbers that are far from the others, out of the training range, or in conflict."""
        return number_warnings(splits)

    def hold_out(self, targets: Sequence[Target], fraction: float, seed: int) -> list[int]:
        """Choose a fraction of the rows, spread evenly over the quantiles of their numbers.

        In ascending order, the numbers are divided into as many parts as rows are to be chosen; of
        each part one row is drawn.
        """
        rows = len(targets)
        count = min(max(1, round(fraction * rows)), rows - 1)
        if count < 1:
            return []
        random = np.random.default_rng(seed)
        shuffled = random.permutation(rows)  # so that equal numbers are in no order
        ascending = shuffled[np.argsort(np.array(targets)[shuffled], kind="stable")]
        chosen = []
        for part in np.array_split(ascending, count):
            chosen.append(int(random.choice(part)))
        return sorted(chosen)

    def few_shot(self, targets: Sequence[Target], shots: int, seed: int) -> list[int]:
        """Refuse, since numbers have no kinds of which a few rows could be chosen."""
        reason = f"{counted(shots, 'row')} of each label, but the targets are numbers"
        raise UserError(f"data.shots: {reason}; leave it out, or give a smaller file.")

    # Learning

    def initial_bias(self, targets: np.ndarray) -> Tensor | None:
        """Return None: a standardized number is around zero."""
        return None

    def head_problem(self, initial: Task) -> str:
        """Say why the head of another task does not suit; empty if it predicts such numbers."""
        if not isinstance(initial, Regression):
            return f"the model to start from was trained for {initial.card()}"
        if not initial.is_standardized:
            return "the model to start from predicts numbers that are not standardized"
        return ""

    def training_loss(self, config: TrainingConfig, targets: np.ndarray) -> nn.Module:
        """Build the mean squared error; label smoothing has no effect.

        Raises:
            UserError: The settings ask for class weights.
        """
        if config.class_weights != "none":
            reason = f"{config.class_weights} weights labels, but the targets are numbers"
            raise UserError(f"training.class_weights: {reason}; leave it out.")
        return NumberLoss()

    def linear_targets(self, config: TrainingConfig, targets: np.ndarray) -> LinearTargets:
        """Return the standardised numbers."""
        numbers = torch.from_numpy(targets)[:, None]
        return LinearTargets(numbers, torch.ones_like(numbers), has_margin=False)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the mean squared error: (B, 1), (B,) -> ()."""
        return F.mse_loss(logits[:, 0], targets)

    def metrics(self) -> "MetricCollection":
        """Build R² and the two correlations."""
        from torchmetrics import MetricCollection  # prediction does not need it

        from selfattn_lm.tasks.number_metrics import NumberScore

        scores: dict[str, Any] = {}
        for name in self.scores:
            scores[name] = NumberScore(name)
        return MetricCollection(scores)

    def with_decision(self, outputs: np.ndarray, targets: np.ndarray) -> "Regression":
        """Return the task as it is: nothing is decided by the validation split."""
        return self

    # Predictions

    def activate(self, logits: Tensor) -> Tensor:
        """Turn logits into numbers in their unit, in fp32: (B, 1) -> (B, 1)."""
        logits = logits.float()  # bfloat16 would round 2,019 to 2,016
        if self.activation == "sigmoid":
            return logits.sigmoid()
        return logits * self.std + self.mean

    def decide(self, outputs: np.ndarray) -> list[Any]:
        """Return the number of each text: (N, 1) -> N numbers."""
        return [float(number) for number in outputs[:, 0]]

    def columns(self, options: PredictionOptions) -> dict[str, type]:
        """Name the only column, `prediction`.

        Raises:
            UserError: The options ask for what labels alone have.
        """
        defaults = PredictionOptions()
        for name in ("top_k", "probabilities", "min_probability"):
            if getattr(options, name) != getattr(defaults, name):
                flag = "--" + name.replace("_", "-")
                reason = "the run predicts a number, which has no probabilities"
                raise UserError(f"{flag}: {reason}; leave it out.")
        return {"prediction": float}

    def column_values(self, options: PredictionOptions, outputs: np.ndarray) -> list[Any]:
        """Return the number of one text (1,), with the seven digits that fp32 has."""
        return [float(f"{outputs[0]:.7g}")]

    def score(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """Score numbers (N, 1), and the mean of the training targets, against encoded targets (N,).

        The mean of the training targets of a checkpoint from elsewhere is unknown.
        """
        numbers = targets.astype(np.float64) * self.std + self.mean
        baseline = None
        if self.is_standardized:
            baseline = self.mean
        return score_numbers(outputs[:, 0], numbers, baseline)


class NumberLoss(nn.Module):
    """The mean squared error of a number per text."""

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss: (B, 1), (B,) -> ()."""
        return F.mse_loss(logits[:, 0], targets)
