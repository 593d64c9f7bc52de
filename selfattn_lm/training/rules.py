"""What `auto` becomes: decisions by the size and kind of the data."""

from typing import Any

import numpy as np
import torch

from selfattn_lm.config import ModelConfig, Settings, TrainingConfig
from selfattn_lm.text.tokenization import mostly_unspaced

MOST_TOKENS = 512  # of a text where max_tokens is `auto`


def tokenizer_unit(texts: list[str]) -> str:
    """Characters for scripts without spaces between words, else words: small data has too few of each rarer piece."""
    return "character" if mostly_unspaced(texts) else "word"


def max_tokens(lengths: np.ndarray) -> int:
    """The length of the longest training text but one in a hundred, from 16 to `MOST_TOKENS`."""
    return int(np.clip(np.quantile(lengths, 0.99), 16, MOST_TOKENS))


def model_changes(config: ModelConfig, max_tokens: int) -> dict[str, Any]:
    """What `auto` became among the model's settings."""
    changes: dict[str, Any] = {}
    if config.max_tokens == "auto":
        changes["max_tokens"] = max_tokens
    if config.pooling == "auto":
        changes["pooling"] = "max" if config.kind == "cnn" else "mean"
    return changes


def training_changes(settings: Settings, rows: int, steps_per_epoch: int) -> dict[str, Any]:
    """What `auto` became among the training's settings."""
    config = settings.training
    changes: dict[str, Any] = {}
    rounds = epochs(rows) if config.epochs == "auto" else config.epochs
    if config.epochs == "auto":
        changes["epochs"] = rounds
    if config.ema == "auto":
        changes["ema"] = ema(steps_per_epoch * rounds)
    if config.validations == "auto":
        changes["validations"] = max(1, -(-steps_per_epoch // 1000))
    if config.precision == "auto":
        changes["precision"] = precision(config)
    return changes


def epochs(rows: int) -> int:
    """About 250,000 texts in all, in 5 to 30 rounds: few texts are seen more often."""
    return int(np.clip(round(250_000 / rows), 5, 30))


def ema(steps: int) -> float:
    """An average over the last twentieth of the steps, 1,000 at most."""
    return round(1 - 1 / float(np.clip(steps / 20, 2, 1000)), 5)


def precision(config: TrainingConfig) -> str:
    """Half precision where the hardware computes in it; elsewhere it is emulated and slow."""
    if config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"
    abilities = torch.cpu.get_capabilities()
    on_cpu = config.accelerator == "cpu" or not torch.backends.mps.is_available()
    return "bf16" if on_cpu and (abilities.get("amx_bf16") or abilities.get("avx512_bf16")) else "32"
