"""Every setting, with its type, default, bounds and help text; no torch."""

from selfattn_lm.config.bert import BertConfig
from selfattn_lm.config.io import ConfigFile, read_config
from selfattn_lm.config.nested import flatten, merge, nest
from selfattn_lm.config.presets import (
    FINETUNING,
    PRESETS,
    PRETRAINING,
    STUDIED,
    STUDIED_PERCENTAGES,
    Preset,
)
from selfattn_lm.config.resolved import (
    PredictionSettings,
    Resolved,
    ResolvedModel,
    ResolvedTokenizer,
    ResolvedTraining,
    differences,
    resolved_from,
)
from selfattn_lm.config.schema import architecture_fields
from selfattn_lm.config.settings import (
    DataConfig,
    ModelConfig,
    Pooling,
    Precision,
    Quoting,
    Settings,
    TaskKind,
    TokenizerConfig,
    TrainingConfig,
    settings_from,
)

__all__ = [
    "FINETUNING",
    "PRESETS",
    "PRETRAINING",
    "STUDIED",
    "STUDIED_PERCENTAGES",
    "BertConfig",
    "ConfigFile",
    "DataConfig",
    "ModelConfig",
    "Pooling",
    "Precision",
    "PredictionSettings",
    "Preset",
    "Quoting",
    "Resolved",
    "ResolvedModel",
    "ResolvedTokenizer",
    "ResolvedTraining",
    "Settings",
    "TaskKind",
    "TokenizerConfig",
    "TrainingConfig",
    "architecture_fields",
    "differences",
    "flatten",
    "merge",
    "nest",
    "read_config",
    "resolved_from",
    "settings_from",
]
