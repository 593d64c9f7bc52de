"""From splits to what the model is trained on: task, tokens, loaders."""

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from selfattn_lm.config import DataConfig, PredictionSettings, Settings, TrainingConfig
from selfattn_lm.data.checks import leaked_texts, text_warnings
from selfattn_lm.data.examples import Split
from selfattn_lm.errors import UserError
from selfattn_lm.features.batching import LengthBuckets, cut_by_budget
from selfattn_lm.features.sequences import Tokens
from selfattn_lm.features.vectors import Featurizer
from selfattn_lm.inputs import Batch
from selfattn_lm.tasks import Task, choose_task
from selfattn_lm.training.encoding import encode_texts, encode_vectors
from selfattn_lm.training.ngram_branch import CountedNgrams

log = logging.getLogger(__name__)


class TokenizedDataset(Dataset[Batch]):
    """Tokens and target of each example; indexed by a list of rows, it returns a batch."""

    def __init__(self, tokens: Tokens, targets: np.ndarray) -> None:
        self.tokens = tokens
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, rows: list[int]) -> Batch:
        return Batch(self.tokens.batch(rows), torch.as_tensor(self.targets[rows]))

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens that are read of each example: int64 (examples,)."""
        return self.tokens.lengths


@dataclass(frozen=True)
class TrainingData:
    """All that a model is trained on.

    Attributes:
        splits: The splits, among them train and validation.
        task: What is predicted.
        featurizer: The tokenizer, or the standardisation of vectors.
        train: The tokenized training split.
        validation: The tokenized validation split.
        settings: The settings that the data has resolved: columns, tokenizer and model.
        is_held_out: Whether the validation split was held out of train.
        ngrams: The weighted n-grams of both splits; None for a model without an n-gram branch.
    """

    splits: dict[str, Split]
    task: Task
    featurizer: Featurizer
    train: TokenizedDataset
    validation: TokenizedDataset
    settings: PredictionSettings
    is_held_out: bool
    ngrams: CountedNgrams | None = None

    def summary(self) -> dict[str, Any]:
        """Return plain facts for `data.json`: rows, fingerprints, targets, truncation."""
        facts = {}
        for name, split in self.splits.items():
            facts[name] = {**split.describe(), **self.task.describe(split.targets)}
        facts["train"].update(self.train.tokens.truncation())
        facts["validation"].update(self.validation.tokens.truncation())
        return facts


def prepare(
    splits: dict[str, Split], settings: Settings, featurizer: Featurizer | None
) -> TrainingData:
    """Check the data, choose the task, and encode the examples.

    A validation split is held out if there is none, and a tokenizer trained, or vectors are
    standardised, if no featurizer is given.
    """
    task = choose_task(splits)
    for sentence in [*task.warnings(splits), *text_warnings(splits)]:
        log.warning("%s", sentence)
    is_held_out = "validation" not in splits
    splits = training_splits(splits, settings.data, task, settings.seed)
    if splits["train"].noun != "text" and settings.model.long_texts != "head":
        reason = f"{settings.model.long_texts} is for single texts, but these are"
        raise UserError(f"model.long_texts: {reason} {splits['train'].noun}s; leave it out.")
    train, validation = splits["train"], splits["validation"]
    if train.has_vectors:
        encoded = encode_vectors(train, validation, settings, featurizer)
    else:
        encoded = encode_texts(train, validation, settings, featurizer, task.outputs)
    return TrainingData(
        splits=splits,
        task=task,
        featurizer=encoded.featurizer,
        train=TokenizedDataset(encoded.train, task.encode(train.targets)),
        validation=TokenizedDataset(encoded.validation, task.encode(validation.targets)),
        settings=PredictionSettings(
            data=_read_columns(settings.data, train),
            tokenizer=encoded.tokenizer_config,
            model=encoded.model_config,
        ),
        is_held_out=is_held_out,
        ngrams=encoded.ngrams,
    )


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
