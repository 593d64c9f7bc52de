"""From splits to what the model is trained on: task, tokenizer, token ids, loaders."""

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, Dataset

from selfattn_lm.config import (
    DataConfig,
    PredictionSettings,
    ResolvedTokenizer,
    Settings,
    TrainingConfig,
)
from selfattn_lm.data.checks import leaked_texts, text_warnings
from selfattn_lm.data.examples import Split
from selfattn_lm.errors import UserError
from selfattn_lm.features.batching import LengthBuckets, cut_by_budget
from selfattn_lm.features.cache import tokenize
from selfattn_lm.features.pairs import MIN_PAIR_LENGTH, TokenizedPairs, tokenize_pairs
from selfattn_lm.features.sequences import TokenizedTexts, Tokens
from selfattn_lm.features.tokenizer import mostly_unspaced
from selfattn_lm.features.windows import MOST_IN_TRAINING, NO_LIMIT, Windows, fit_length
from selfattn_lm.inputs import Batch
from selfattn_lm.tasks import Task, choose_task
from selfattn_lm.training.resolve import MAX_LENGTH, resolve_model, resolve_tokenizer

log = logging.getLogger(__name__)


class TokenizedDataset(Dataset[Batch]):
    """Token ids and target of each text or pair; indexed by a list of rows, it returns a batch.

    A text is one row of the batch, or a row for each of its windows.
    """

    def __init__(self, tokens: Tokens, targets: np.ndarray) -> None:
        self.tokens = tokens
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, rows: list[int]) -> Batch:
        targets = torch.as_tensor(self.targets[rows])
        if isinstance(self.tokens, Windows):
            return Batch(self.tokens.batch_of_documents(rows), targets)
        return Batch(self.tokens.batch(rows), targets)

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens that are read of each text, in all its windows: int64 (texts,)."""
        if isinstance(self.tokens, Windows):
            return self.tokens.document_lengths
        return self.tokens.lengths


@dataclass(frozen=True)
class TrainingData:
    """All that a model is trained on.

    Attributes:
        splits: The splits, among them train and validation.
        task: What is predicted.
        tokenizer: The tokenizer.
        train: The tokenized training split.
        validation: The tokenized validation split.
        settings: The settings that the data has resolved: columns, tokenizer and model.
        is_held_out: Whether the validation split was held out of train.
    """

    splits: dict[str, Split]
    task: Task
    tokenizer: Tokenizer
    train: TokenizedDataset
    validation: TokenizedDataset
    settings: PredictionSettings
    is_held_out: bool

    def summary(self) -> dict[str, Any]:
        """Return plain facts for `data.json`: rows, fingerprints, targets, truncation."""
        facts = {}
        for name, split in self.splits.items():
            facts[name] = {**split.describe(), **self.task.describe(split.targets)}
        facts["train"].update(self.train.tokens.truncation())
        facts["validation"].update(self.validation.tokens.truncation())
        return facts


def prepare(
    splits: dict[str, Split], settings: Settings, tokenizer: Tokenizer | None
) -> TrainingData:
    """Check the data, choose the task, and tokenize the texts.

    A validation split is held out if there is none, and a tokenizer trained if none is given.
    """
    task = choose_task(splits)
    for sentence in [*task.warnings(splits), *text_warnings(splits)]:
        log.warning("%s", sentence)
    is_held_out = "validation" not in splits
    splits = training_splits(splits, settings.data, task, settings.seed)
    if splits["train"].pairs is not None and settings.model.long_texts != "head":
        reason = f"{settings.model.long_texts} is for single texts, but these are pairs"
        raise UserError(f"model.long_texts: {reason}; leave it out.")
    train, validation = splits["train"], splits["validation"]
    unspaced = mostly_unspaced(train.texts)
    tokenizer_config = resolve_tokenizer(settings.tokenizer, unspaced=unspaced, rows=len(train))
    longest: int = NO_LIMIT
    if settings.model.long_texts == "head":
        longest = MAX_LENGTH
        if settings.model.max_length != "auto":
            longest = settings.model.max_length
    tokenizer, tokens = tokenize_split(train, tokenizer_config, tokenizer, longest)
    model_config = resolve_model(
        settings.model, tokenizer_config, tokens.lengths, settings.training.batch_tokens
    )
    if settings.model.long_texts == "head":
        longest = model_config.max_length
    validation_tokens = tokenize_split(validation, tokenizer_config, tokenizer, longest)[1]
    windows_per_batch = settings.training.batch_tokens // model_config.max_length
    most_windows = min(MOST_IN_TRAINING, windows_per_batch)
    return TrainingData(
        splits=splits,
        task=task,
        tokenizer=tokenizer,
        train=TokenizedDataset(
            fit_length(tokens, model_config, most_windows), task.encode(train.targets)
        ),
        validation=TokenizedDataset(
            fit_length(validation_tokens, model_config), task.encode(validation.targets)
        ),
        settings=PredictionSettings(
            data=_read_columns(settings.data, train), tokenizer=tokenizer_config, model=model_config
        ),
        is_held_out=is_held_out,
    )


def tokenize_split(
    split: Split, config: ResolvedTokenizer, tokenizer: Tokenizer | None, max_length: int
) -> tuple[Tokenizer, TokenizedTexts | TokenizedPairs]:
    """Tokenize a split, with a tokenizer trained on it if none is given."""
    if split.pairs is None:
        return tokenize(split.texts, config, tokenizer, max_length)
    if max_length < MIN_PAIR_LENGTH:
        reason = f"{max_length} tokens are too few for a pair of texts"
        raise UserError(f"model.max_length: {reason}; give at least {MIN_PAIR_LENGTH}.")
    return tokenize_pairs(split.texts, split.pairs, config, tokenizer, max_length)


def training_splits(
    splits: dict[str, Split], config: DataConfig, task: Task, seed: int
) -> dict[str, Split]:
    """Hold a validation split out if there is none, and keep few rows if the settings say so."""
    splits = dict(splits)
    is_held_out = "validation" not in splits
    if is_held_out:
        splits["train"], splits["validation"] = hold_out(
            splits["train"], config.validation_fraction, task, seed
        )
    if config.shots > 0:
        for name in ("train", "validation"):
            rows = task.few_shot(splits[name].targets, config.shots, seed)
            splits[name] = splits[name].select(rows)
    if is_held_out:
        for sentence in leaked_texts(splits["train"], splits["validation"], "held-out"):
            log.warning("%s", sentence)
    return splits


def hold_out(split: Split, fraction: float, task: Task, seed: int) -> tuple[Split, Split]:
    """Divide a split by its targets; returns the rest and what is held out.

    Raises UserError if there are too few rows to hold any out.
    """
    held_out = task.hold_out(split.targets, fraction, seed)
    if not held_out:
        reason = "no label has two rows, so none can be held out"
        raise UserError(f"{split.source}: {reason}; name a file with --data.validation.")
    rest = np.delete(np.arange(len(split)), held_out).tolist()
    return split.select(rest), split.select(held_out)


def _read_columns(config: DataConfig, train: Split) -> DataConfig:
    """The settings with the columns that were read; texts in memory have none but a pair's."""
    if train.pairs is not None:
        config = replace(config, pair_column=train.pair_column)
    if not train.columns:
        return config
    return replace(config, text_column=train.text_columns, label_column=train.label_columns)


def train_loader(
    dataset: TokenizedDataset, config: TrainingConfig, seed: int, rank: int = 0, world: int = 1
) -> DataLoader[Batch]:
    """Load batches of texts of similar length, shuffled by (seed, epoch)."""
    sampler = LengthBuckets(
        dataset.lengths, config.batch_size, config.batch_tokens, seed=seed, rank=rank, world=world
    )
    return DataLoader(dataset, sampler=sampler, batch_size=None)


def validation_loader(
    dataset: TokenizedDataset, config: TrainingConfig, rank: int = 0, world: int = 1
) -> DataLoader[Batch]:
    """Load each text once, sorted by length."""
    order = np.argsort(dataset.lengths, kind="stable")[rank::world]
    lengths = dataset.lengths[order]
    parts = cut_by_budget(lengths, config.batch_size, config.batch_tokens)
    batches = [order[part].tolist() for part in parts]
    return DataLoader(dataset, sampler=batches, batch_size=None)
