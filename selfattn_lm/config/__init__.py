"""Every setting, with its type, default, bounds and help text; no torch."""

from selfattn_lm.config.resolved import (
    PredictionSettings as PredictionSettings,
    Resolved as Resolved,
    ResolvedModel as ResolvedModel,
    ResolvedTokenizer as ResolvedTokenizer,
    ResolvedTraining as ResolvedTraining,
    differences as differences,
    resolved_from as resolved_from,
)
from selfattn_lm.config.settings import (
    FINETUNING as FINETUNING,
    PRESETS as PRESETS,
    PRETRAINING as PRETRAINING,
    STUDIED as STUDIED,
    BertConfig as BertConfig,
    DataConfig as DataConfig,
    ModelConfig as ModelConfig,
    Pooling as Pooling,
    Precision as Precision,
    Quoting as Quoting,
    Settings as Settings,
    TokenizerConfig as TokenizerConfig,
    TrainingConfig as TrainingConfig,
    flatten as flatten,
    merge as merge,
    nest as nest,
    settings_from as settings_from,
    with_changes as with_changes,
)
