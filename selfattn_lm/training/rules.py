"""What `auto` becomes: decisions by the size and kind of the data."""

from typing import Any

import numpy as np
import torch

from selfattn_lm.config import Settings, TrainingConfig

MOST_TOKENS = 512  # of a text where max_tokens is `auto`


def vocab_size(unit: str, rows: int) -> int:
    """Enough for all words that occur twice; bpe is best with few where texts are few, so that each is seen often."""
    return int(np.clip(rows // 4, 4000, 30_000)) if unit == "bpe" else 30_000


def max_tokens(lengths: np.ndarray) -> int:
    """The length of the longest training text but one in a hundred, from 16 to `MOST_TOKENS`."""
    return int(np.clip(np.quantile(lengths, 0.99), 16, MOST_TOKENS))


def training_changes(settings: Settings, rows: int, tokens: int, steps_per_epoch: int) -> dict[str, Any]:
    """What `auto` became among the training's settings."""
    config = settings.training
    rounds = epochs(rows, tokens) if config.epochs == "auto" else config.epochs
    values = {
        "epochs": rounds,
        "ema": ema(steps_per_epoch * rounds),
        "validations": max(1, -(-steps_per_epoch // 1000)),
        "precision": precision(config),
    }
    return {name: value for name, value in values.items() if getattr(config, name) == "auto"}


def epochs(rows: int, tokens: int) -> int:
    """About 350,000 texts or 7 million tokens in all, in 3 to 16 rounds: few texts are seen more often."""
    return int(np.clip(round(min(350_000 / rows, 7e6 / tokens)), 3, 16))


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
