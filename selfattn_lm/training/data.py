"""From splits to what the model is trained on: labels, tokenizer, token ids, loaders."""

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, Dataset

from selfattn_lm.config import DataConfig, PredictionSettings, Settings, TrainingConfig
from selfattn_lm.data.checks import leaked_texts, warnings_about
from selfattn_lm.data.holdout import few, hold_out
from selfattn_lm.data.labels import encode_labels, label_names
from selfattn_lm.data.sources import Split
from selfattn_lm.features.batching import LengthBuckets, cut_by_budget, pad
from selfattn_lm.features.cache import tokenize
from selfattn_lm.features.sequences import TokenizedTexts
from selfattn_lm.features.tokenizer import mostly_unspaced
from selfattn_lm.inputs import Batch
from selfattn_lm.training.resolve import MAX_LENGTH, resolve_model, resolve_tokenizer

log = logging.getLogger(__name__)


class TokenizedDataset(Dataset[Batch]):
    """Token ids and target of each text; indexed by a list of rows, it returns a batch."""

    def __init__(self, tokens: TokenizedTexts, targets: np.ndarray) -> None:
        self.tokens = tokens
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, rows: list[int]) -> Batch:
        inputs = pad([self.tokens[i] for i in rows])
        return Batch(inputs, torch.as_tensor(self.targets[rows]))


@dataclass(frozen=True)
class TrainingData:
    """All that a classifier is trained on.

    Attributes:
        splits: The splits, among them train and validation.
        labels: The names of the labels.
        tokenizer: The tokenizer.
        train: The tokenized training split.
        validation: The tokenized validation split.
        settings: The settings that the data has resolved: columns, tokenizer and model.
        is_held_out: Whether the validation split was held out of train.
    """

    splits: dict[str, Split]
    labels: list[str]
    tokenizer: Tokenizer
    train: TokenizedDataset
    validation: TokenizedDataset
    settings: PredictionSettings
    is_held_out: bool

    def summary(self) -> dict[str, Any]:
        """Plain facts for `data.json`: rows, fingerprints, label counts, truncation."""
        facts = {name: split.describe() for name, split in self.splits.items()}
        facts["train"].update(self.train.tokens.truncation())
        facts["validation"].update(self.validation.tokens.truncation())
        return facts


def prepare(splits: dict[str, Split], settings: Settings, tokenizer: Tokenizer | None) -> TrainingData:
    """Check the data and tokenize it.

    A validation split is held out if there is none, and a tokenizer trained if none is given.
    """
    labels = label_names(splits)
    is_held_out = "validation" not in splits
    splits = _training_splits(splits, settings)
    train, validation = splits["train"], splits["validation"]
    unspaced = mostly_unspaced(train.texts)
    tokenizer_config = resolve_tokenizer(settings.tokenizer, unspaced=unspaced, rows=len(train))
    longest = settings.model.max_length
    if longest == "auto":
        longest = MAX_LENGTH
    tokenizer, tokens = tokenize(train.texts, tokenizer_config, tokenizer, longest)
    model_config = resolve_model(settings.model, tokenizer_config, tokens.lengths, settings.training.batch_tokens)
    max_length = model_config.max_length
    tokens = tokens.truncate(max_length)
    validation_tokens = tokenize(validation.texts, tokenizer_config, tokenizer, max_length)[1]
    return TrainingData(
        splits=splits,
        labels=labels,
        tokenizer=tokenizer,
        train=TokenizedDataset(tokens, encode_labels(train.labels, labels)),
        validation=TokenizedDataset(validation_tokens, encode_labels(validation.labels, labels)),
        settings=PredictionSettings(
            data=_read_columns(settings.data, train), tokenizer=tokenizer_config, model=model_config
        ),
        is_held_out=is_held_out,
    )


def _training_splits(splits: dict[str, Split], settings: Settings) -> dict[str, Split]:
    """The splits with a validation split, and few rows per label if so asked; with warnings."""
    splits = dict(splits)
    for sentence in warnings_about(splits):
        log.warning("%s", sentence)
    is_held_out = "validation" not in splits
    if is_held_out:
        fraction = settings.data.validation_fraction
        splits["train"], splits["validation"] = hold_out(splits["train"], fraction, settings.seed)
    if settings.data.shots > 0:
        for name in ("train", "validation"):
            splits[name] = few(splits[name], settings.data.shots, settings.seed)
    if is_held_out:
        for sentence in leaked_texts(splits["train"], splits["validation"], "held-out"):
            log.warning("%s", sentence)
    return splits


def _read_columns(config: DataConfig, train: Split) -> DataConfig:
    """The settings with the columns that were read; texts in memory have none."""
    if not train.columns:
        return config
    return replace(config, text_column=train.text_columns, label_column=train.label_column)


def train_loader(
    dataset: TokenizedDataset, config: TrainingConfig, seed: int, rank: int = 0, world: int = 1
) -> DataLoader[Batch]:
    """Load batches of texts of similar length, shuffled by (seed, epoch)."""
    sampler = LengthBuckets(
        dataset.tokens.lengths, config.batch_size, config.batch_tokens, seed=seed, rank=rank, world=world
    )
    return DataLoader(dataset, sampler=sampler, batch_size=None)


def validation_loader(
    dataset: TokenizedDataset, config: TrainingConfig, rank: int = 0, world: int = 1
) -> DataLoader[Batch]:
    """Load each text once, sorted by length."""
    order = np.argsort(dataset.tokens.lengths, kind="stable")[rank::world]
    lengths = dataset.tokens.lengths[order]
    parts = cut_by_budget(lengths, config.batch_size, config.batch_tokens)
    batches = [order[part].tolist() for part in parts]
    return DataLoader(dataset, sampler=batches, batch_size=None)


def balanced_weights(labels: np.ndarray, count: int) -> torch.Tensor:
    """Compute weights with which each label counts the same in the loss: (L,).

    Over the rows they are one on average. A label without rows has the weight 0, and changes no
    other's.
    """
    rows = np.bincount(labels, minlength=count)  # (L,)
    occurs = rows > 0
    weights = np.zeros(count, dtype=np.float32)
    weights[occurs] = len(labels) / (rows[occurs] * np.count_nonzero(occurs))
    return torch.from_numpy(weights)
