"""The settings of one run after `auto` has been decided: the same fields, without `auto`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from selfattn_lm.config.nested import merge
from selfattn_lm.config.schema import build
from selfattn_lm.config.settings import (
    DataConfig,
    ModelConfig,
    Settings,
    TokenizerConfig,
    TrainingConfig,
)


@dataclass(frozen=True, kw_only=True)
class ResolvedTokenizer(TokenizerConfig):
    """How texts become tokens."""

    type: Literal["word", "wordpiece", "bpe", "character"] = field()
    vocab_size: int = field()


@dataclass(frozen=True, kw_only=True)
class ResolvedModel(ModelConfig):
    """The classifier."""

    pooling: Literal["mean", "cls", "max"] = field()
    max_ngram: int = field()
    ngram_buckets: int = field()
    max_length: int = field()


@dataclass(frozen=True, kw_only=True)
class ResolvedTraining(TrainingConfig):
    """How Lightning trains."""

    epochs: int = field()
    learning_rate: float = field()
    ema_decay: float = field()
    patience: int = field()
    validations_per_epoch: int = field()
    monitor: Literal["macro_f1", "micro_f1", "accuracy", "r2", "pearson", "spearman"] = field()
    precision: Literal["32", "bf16"] = field()
    devices: int = field()


@dataclass(frozen=True, kw_only=True)
class PredictionSettings:
    """What prediction needs of a run's settings: the columns, the tokenizer and the model."""

    data: DataConfig
    tokenizer: ResolvedTokenizer
    model: ResolvedModel

    @property
    def has_pairs(self) -> bool:
        """Whether the run reads pairs of texts, and not single ones."""
        return self.data.pair_column not in ("auto", "none")


@dataclass(frozen=True, kw_only=True)
class Resolved(PredictionSettings):
    """All that a run is trained with."""

    seed: int
    training: ResolvedTraining


def resolved_from(settings: Settings, changes: Mapping[str, Any], where: str) -> PredictionSettings:
    """Build the resolved settings of a run from those asked for and what `auto` became.

    Args:
        settings: The settings asked for.
        changes: What `auto` became, nested, as `differences` gives it and a run folder records it.
        where: The beginning of error messages.

    Returns:
        `Resolved`, or `PredictionSettings` for a run that was not trained here, such as a BERT.

    Raises:
        UserError: A setting that prediction needs is still `auto`.
    """
    values = merge(asdict(settings), changes)
    is_trained = "auto" not in [values["training"][name] for name in _AUTO_IN_TRAINING]
    if is_trained:
        resolved: PredictionSettings = build(Resolved, values, where)
        return resolved
    values = {name: values[name] for name in ("data", "tokenizer", "model")}
    resolved = build(PredictionSettings, values, where)
    return resolved


def differences(settings: Settings, resolved: PredictionSettings) -> dict[str, dict[str, Any]]:
    """Find what `auto` became: the resolved settings, nested, that are not as asked for."""
    asked = asdict(settings)
    found: dict[str, dict[str, Any]] = {}
    for section in ("data", "tokenizer", "model", "training"):
        values = asdict(resolved).get(section, {})
        changed = {name: value for name, value in values.items() if value != asked[section][name]}
        if changed:
            found[section] = changed
    return found


_AUTO_IN_TRAINING = tuple(ResolvedTraining.__annotations__)
