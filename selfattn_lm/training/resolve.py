"""What `auto` becomes: decisions by the size and the kind of the data.

`resolve_tokenizer` needs the texts, `resolve_model` their lengths in tokens, `resolve_training` the
model: so a fit calls them in this order, and puts the results together as `Resolved`.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from torch import nn

from selfattn_lm import hardware
from selfattn_lm.config import (
    ModelConfig,
    ResolvedModel,
    ResolvedTokenizer,
    ResolvedTraining,
    TokenizerConfig,
    TrainingConfig,
)
from selfattn_lm.errors import UserError
from selfattn_lm.precision import FloatPrecision, choose_precision, repeat_precision

# Tokens of a text at most where max_length is `auto`.
MAX_LENGTH, MAX_LENGTH_BESIDE_NGRAMS = 512, 256
# Tokens of all epochs: about five minutes of one core with attention, and two without.
MAX_TOKENS, MAX_TOKENS_OF_BAG = 6e6, 15e6
MAX_NGRAM_BUCKETS = 131_072  # with 30,000 tokens of 128 numbers: 41 MB in half precision


def resolve_tokenizer(config: TokenizerConfig, *, unspaced: bool, rows: int) -> ResolvedTokenizer:
    """Decide on the tokenizer.

    Args:
        config: The settings asked for.
        unspaced: Whether the script of the texts has no spaces between words.
        rows: The number of training texts.
    """
    values = asdict(config)
    if config.type == "auto":
        values["type"] = "character" if unspaced else "wordpiece"
    if config.vocab_size == "auto":
        values["vocab_size"] = vocab_size(values["type"], rows)
    return ResolvedTokenizer(**values)


def resolve_model(
    config: ModelConfig, tokenizer: ResolvedTokenizer, lengths: np.ndarray, batch_tokens: int
) -> ResolvedModel:
    """Decide on the model.

    Args:
        config: The settings asked for.
        tokenizer: The tokenizer's settings.
        lengths: The number of tokens of each training text, (texts,).
        batch_tokens: The largest number of tokens of a batch.

    Raises:
        UserError: A batch cannot hold one text of the greatest length, or windows are too short.
    """
    values = asdict(config)
    if config.pooling == "auto":
        values["pooling"] = "max" if config.kind == "cnn" else "mean"
    if config.max_ngram == "auto":
        values["max_ngram"] = 3 if tokenizer.type == "character" else 2
    if config.ngram_buckets == "auto":
        values["ngram_buckets"] = ngram_buckets(int(lengths.sum()))
    if config.max_length == "auto":
        values["max_length"] = max_length(lengths, longest_automatic(config))
    if batch_tokens < values["max_length"]:
        raise UserError(
            f"training.batch_tokens={batch_tokens} is smaller than"
            f" model.max_length={values['max_length']}; raise one or lower the other."
        )
    if config.long_texts == "windows" and values["max_length"] < 3:
        reason = "leaves no token of the text between the [CLS] and the [SEP] of a window"
        raise UserError(f"model.max_length={values['max_length']} {reason}; raise it.")
    return ResolvedModel(**values)


@dataclass(frozen=True)
class TrainingFacts:
    """What the training's settings depend on.

    Attributes:
        start: What is trained: a classifier from scratch or from a run, one from a BERT, or a model
            that predicts masked tokens.
        rows: The number of training texts.
        tokens: The number of their tokens.
        batches: The number of batches of an epoch.
        labels: The number of labels; 0 in pretraining.
        width: The width of the model.
        modules: The modules whose matrix products training computes.
        learning_rate: The highest learning rate from scratch.
        recorded_precision: The precision of the run that is repeated or resumed, or nothing.
        is_bag: Whether the only encoder is the bag, of which an epoch takes seconds.
    """

    start: Literal["scratch", "bert", "pretraining"]
    rows: int
    tokens: int
    batches: int
    labels: int
    width: int
    modules: Sequence[nn.Module]
    learning_rate: float = 3e-3
    recorded_precision: str = ""
    is_bag: bool = False


def resolve_training(
    config: TrainingConfig, facts: TrainingFacts, scores: Sequence[str]
) -> ResolvedTraining:
    """Decide on the training.

    Args:
        config: The settings asked for.
        facts: What else it depends on.
        scores: The validation scores by which weights can be chosen, the default first.

    Raises:
        UserError: Weights are to be chosen by another score.
    """
    values = asdict(config)
    if config.monitor == "auto":
        values["monitor"] = scores[0]
    elif config.monitor not in scores:
        reason = f"{config.monitor} is not a score of this task"
        raise UserError(f"training.monitor: {reason}; choose {' or '.join(scores)}.")
    if config.epochs == "auto":
        values["epochs"] = epochs(facts)
    steps_per_epoch = math.ceil(facts.batches / config.accumulate_batches)
    device = hardware.choose_device(config.accelerator)
    decided: dict[str, Any] = {
        "learning_rate": learning_rate(facts),
        "patience": max(5, values["epochs"] // 3),
        "ema_decay": ema_decay(steps_per_epoch * values["epochs"]),
        "validations_per_epoch": max(1, math.ceil(steps_per_epoch / 1000)),
        "devices": hardware.choose_device_count(config.devices),
    }
    for name, value in decided.items():
        if values[name] == "auto":
            values[name] = value
    if config.precision == "auto":
        values["precision"] = precision(facts, device)
    return ResolvedTraining(**values)


def vocab_size(type: str, rows: int) -> int:
    """Choose a size that holds all words that occur twice.

    With bpe a small vocabulary is best for few texts, so that each token occurs often.
    """
    if type == "bpe":
        return int(np.clip(rows // 4, 4000, 30_000))
    return 30_000


def longest_automatic(config: ModelConfig) -> int:
    """The greatest length that `max_length` auto becomes; an n-gram branch reads whole texts."""
    if config.ngram_branch:
        return MAX_LENGTH_BESIDE_NGRAMS
    return MAX_LENGTH


def max_length(lengths: np.ndarray, most: int) -> int:
    """Choose a length that 99 in 100 training texts do not exceed, from 16 to `most` tokens."""
    return int(np.clip(np.quantile(lengths, 0.99), 16, most))


def ngram_buckets(tokens: int) -> int:
    """Choose about one bucket per training token: a power of two from 1,024 to 131,072."""
    return int(np.clip(2 ** np.ceil(np.log2(tokens)), 1024, MAX_NGRAM_BUCKETS))


def epochs(facts: TrainingFacts) -> int:
    """Choose the number of epochs."""
    if facts.start == "bert":
        return finetuning_epochs(facts.rows, facts.labels)
    if facts.start == "pretraining":
        return pretraining_epochs(facts.tokens)
    most_tokens = MAX_TOKENS
    if facts.is_bag:
        most_tokens = MAX_TOKENS_OF_BAG
    return scratch_epochs(facts.rows, facts.labels, facts.tokens, most_tokens)


def scratch_epochs(rows: int, labels: int, tokens: int, most_tokens: float) -> int:
    """Choose 5 to 15 epochs, so that each label has about 9,000 texts in all of them.

    With 100 or 600 rows per label 15 epochs validated best, with 1,200 seven, with 2,000 and more
    five. Few rows of many labels need more, at most 100: 1,500 rows of 150 labels validated at 78.6
    after 30 epochs and at 82.5 after 66. All epochs together have at most `most_tokens`, but at
    least three epochs are trained.
    """
    most = np.clip(100_000 / rows, 15, 100)
    wanted = float(np.clip(9000 * labels / rows, 5, most))
    affordable = most_tokens / tokens
    return max(3, round(min(wanted, affordable)))


def finetuning_epochs(rows: int, labels: int) -> int:
    """Choose 2 epochs where a label has many rows, more where it has few, at most 30.

    Of 3 epochs on 1,700 rows per label the second validated best each time; of 4 epochs on 100 rows
    per label the third or the fourth did.
    """
    return min(30, round(2 + 200 * labels / rows))


def pretraining_epochs(tokens: int) -> int:
    """Choose 1 to 15 epochs of about 10 million tokens in all: masked tokens are learned slowly."""
    return int(np.clip(round(10e6 / tokens), 1, 15))


def learning_rate(facts: TrainingFacts) -> float:
    """Choose the highest learning rate: the task's; for a BERT the lower, the wider it is.

    Of 1e-4 to 4e-4 for the head of a BERT of width 384, 3e-4 validated best.
    """
    if facts.start == "bert":
        return round(0.1 / facts.width, 6)
    return facts.learning_rate


def ema_decay(steps: int) -> float:
    """Choose a moving average over the last twentieth of the steps, at most 1,000 of them."""
    averaged = float(np.clip(steps / 20, 2, 1000))
    return round(1 - 1 / averaged, 5)


def precision(facts: TrainingFacts, device: hardware.Device) -> FloatPrecision:
    """Choose the faster precision, or the one that the repeated or resumed run recorded."""
    if facts.recorded_precision:
        return repeat_precision(facts.recorded_precision, device)
    return choose_precision(facts.modules, device)


def validation_interval(batches: int, validations: int, accumulate_batches: int) -> int:
    """Choose how many batches lie between two of the `validations` of an epoch.

    A validation, and with it a checkpoint, never comes between batches whose gradients add up to
    one step. Where the epoch has room for one only, it comes at the end, which always ends a step.
    """
    steps = math.ceil(batches / accumulate_batches)
    steps_between = steps // min(validations, steps)
    interval = steps_between * accumulate_batches
    if 2 * interval > batches:
        return batches
    return interval
