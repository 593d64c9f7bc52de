"""What `auto` becomes: decisions by the size and kind of the data."""

import math
from typing import Any

import numpy as np
from torch import nn

from selfattn_lm import hardware
from selfattn_lm.config import Settings, TokenizerConfig, TrainingConfig
from selfattn_lm.errors import UserError
from selfattn_lm.nn.classifier import MAX_NGRAM_BUCKETS, Classifier, each

MOST_TOKENS = 512  # of a text where max_length is `auto`


def vocab_size(unit: str, rows: int) -> int:
    """Enough for all words that occur twice; bpe is best with few where texts are few, so that each is seen often."""
    return int(np.clip(rows // 4, 4000, 30_000)) if unit == "bpe" else 30_000


def max_length(lengths: np.ndarray) -> int:
    """The length of the longest training text but one in a hundred, from 16 to `MOST_TOKENS`."""
    return int(np.clip(np.quantile(lengths, 0.99), 16, MOST_TOKENS))


def tokenizer_changes(config: TokenizerConfig, unspaced: bool, rows: int) -> dict[str, Any]:
    """What `auto` became among the tokenizer's settings."""
    unit = config.type if config.type != "auto" else "character" if unspaced else "wordpiece"
    values = {"type": unit, "vocab_size": vocab_size(unit, rows)}
    return {name: value for name, value in values.items() if getattr(config, name) == "auto"}


def model_changes(settings: Settings, lengths: np.ndarray, unit: str) -> dict[str, Any]:
    """What `auto` became among the model's settings, for training texts of so many tokens."""
    config = settings.model
    limit = max_length(lengths) if config.max_length == "auto" else config.max_length
    pooling, ngrams = "max" if config.kind == "cnn" else "mean", 3 if unit == "character" else 2
    rows = int(np.clip(2 ** np.ceil(np.log2(lengths.sum())), 1024, MAX_NGRAM_BUCKETS))
    values = {"pooling": pooling, "max_ngram": ngrams, "ngram_buckets": rows, "max_length": limit}
    if (budget := settings.training.batch_tokens) < limit:
        raise UserError(f"training.batch_tokens: {budget} hold no text of {limit} tokens; lower model.max_length.")
    return {name: value for name, value in values.items() if getattr(config, name) == "auto"}


def training_changes(config: TrainingConfig, rule: int, batches: int, rate: float = 3e-3) -> dict[str, Any]:
    """What `auto` became among the training's settings, where `rule` says how many epochs of so many batches."""
    rounds = rule if config.epochs == "auto" else config.epochs
    steps_per_epoch = -(-batches // config.accumulate_batches)
    values = {
        "epochs": rounds,
        "learning_rate": rate,
        "patience": max(5, rounds // 3),
        "ema_decay": ema(steps_per_epoch * rounds),
        "validations_per_epoch": max(1, -(-steps_per_epoch // 1000)),
        "devices": hardware.choose_device_count(config.devices),
    }
    return {name: value for name, value in values.items() if getattr(config, name) == "auto"}


def epochs(rows: int, labels: int, tokens: int) -> int:
    """About 9,000 texts of each label in 5 to 15 rounds, of at most 30 million tokens in all.

    With 100 or 600 rows a label 15 rounds validated best, with 1,200 seven, with 2,000 and more five. Few rows of many
    labels need more, 100 at most: 1,500 rows of 150 labels validated at 78.6 after 30 rounds and at 82.5 after 66.
    """
    most = np.clip(100_000 / rows, 15, 100)
    rounds = np.clip(9000 * labels / rows, 5, most)
    return int(max(3, round(min(float(rounds), 30e6 / tokens))))


def finetuning_epochs(rows: int, labels: int) -> int:
    """From a pretrained BERT: 2 rounds where a label has many rows, more where it has few, 30 at most.

    Of 3 rounds on 1,700 rows a label the second validated best each time, of 4 on 100 rows the third or the fourth.
    """
    return int(min(30, round(2 + 200 * labels / rows)))


def finetuning_rate(width: int) -> float:
    """From a pretrained BERT, at its head: of 1e-4 to 4e-4 3e-4 validated best at width 384; the wider, the less."""
    return round(0.1 / width, 6)


def pretraining_epochs(tokens: int) -> int:
    """About 10 million tokens in all, in 1 to 15 rounds: guessing hidden tokens is learned slowly."""
    return int(np.clip(round(10e6 / tokens), 1, 15))


def ema(steps: int) -> float:
    """An average over the last twentieth of the steps, 1,000 at most."""
    return round(1 - 1 / float(np.clip(steps / 20, 2, 1000)), 5)


def validation_interval(batches: int, validations: int, accumulate: int) -> int:
    """How many batches of an epoch lie between two validations, so that there are as many as asked for, or can be.

    A validation, and with it a checkpoint, never falls between batches whose gradients add up to one step. Where only
    one fits into the epoch it comes at the end, which always ends a step, so that no step is left out.
    """
    steps = math.ceil(batches / accumulate)
    steps_between = steps // min(validations, steps)
    between = steps_between * accumulate
    if 2 * between > batches:
        return batches
    return between


def precision(config: TrainingConfig, model: Classifier, recorded: str) -> dict[str, Any]:
    """What an `auto` precision becomes: what an earlier run `recorded`, if it is repeated, else what the model needs.

    That is the faster one for the matrix products of its encoders, and for those of its head if it scores each token.
    """
    if config.precision != "auto":
        return {}
    device = hardware.choose_device(config.accelerator)
    if recorded:
        return {"precision": hardware.repeat_precision(recorded, device)}
    modules: list[nn.Module] = []
    for branch in model.branches.values():
        modules.append(branch.encoder)
        if branch.pool is each:
            modules.append(branch.head)
    return {"precision": hardware.choose_precision(modules, device)}
