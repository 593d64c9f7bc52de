"""From splits to what the model sees: labels, tokenizer, token ids, loaders."""

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, Dataset

from selfattn_lm.config import Settings, with_changes
from selfattn_lm.data.checks import leaked_texts, warnings_about
from selfattn_lm.data.holdout import few, hold_out
from selfattn_lm.data.labels import encode_labels, label_names
from selfattn_lm.data.sources import Split
from selfattn_lm.features.batching import Batch, LengthBuckets, cut_by_budget, pad
from selfattn_lm.features.cache import tokenized
from selfattn_lm.features.tokenizer import TokenIds, mostly_unspaced
from selfattn_lm.training import resolve as rules

log = logging.getLogger(__name__)


class Examples(Dataset[Batch]):
    """Token ids and label of each text; asked for a list of rows it gives a batch."""

    def __init__(self, tokens: TokenIds, labels: np.ndarray) -> None:
        self.tokens, self.labels = tokens, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: list[int]) -> Batch:
        return pad([self.tokens[i] for i in rows], self.labels[rows])


@dataclass(frozen=True)
class Prepared:
    """All that a fit needs of the data; `resolved` is what `auto` became, `held_out` whether validation is of train."""

    splits: dict[str, Split]
    labels: list[str]
    tokenizer: Tokenizer
    train: Examples
    validation: Examples
    resolved: dict[str, Any]
    held_out: bool

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Plain facts for `data.json`: rows, fingerprints, label counts, what was cut."""
        facts = {name: split.describe() for name, split in self.splits.items()}
        facts["train"] |= self.train.tokens.truncation()
        facts["validation"] |= self.validation.tokens.truncation()
        return facts


def prepare(splits: dict[str, Split], settings: Settings, tokenizer: Tokenizer | None) -> Prepared:
    """Check the data, hold out a validation split if there is none, train the tokenizer if none is given, tokenize."""
    splits, labels = dict(splits), label_names(splits)
    for sentence in warnings_about(splits):
        log.warning("%s", sentence)
    held_out = "validation" not in splits
    if held_out:
        splits["train"], splits["validation"] = hold_out(
            splits["train"], settings.data.validation_fraction, settings.seed
        )
    if settings.data.shots:
        splits |= {name: few(splits[name], settings.data.shots, settings.seed) for name in ("train", "validation")}
    if held_out:
        for sentence in leaked_texts(splits["train"], splits["validation"], "held-out"):
            log.warning("%s", sentence)
    train, validation = splits["train"], splits["validation"]
    resolved: dict[str, Any] = {}
    if train.columns:
        resolved["data"] = {"text_column": list(train.text_columns), "label_column": train.label_column}
    resolved["tokenizer"] = rules.tokenizer_changes(settings.tokenizer, mostly_unspaced(train.texts), len(train))
    model, config = settings.model, with_changes(settings, resolved).tokenizer
    most = rules.MOST_TOKENS if model.max_length == "auto" else model.max_length
    tokenizer, tokens = tokenized(train.texts, config, tokenizer, most)
    resolved["model"] = rules.model_changes(settings, tokens.lengths, config.type)
    limit: int = resolved["model"].get("max_length", model.max_length)
    tokens.cut(limit)
    others = tokenized(validation.texts, config, tokenizer, limit)[1]
    return Prepared(
        splits,
        labels,
        tokenizer,
        Examples(tokens, encode_labels(train.labels, labels)),
        Examples(others, encode_labels(validation.labels, labels)),
        {section: changes for section, changes in resolved.items() if changes},
        held_out,
    )


def train_loader(examples: Examples, settings: Settings, rank: int = 0, world: int = 1) -> DataLoader[Batch]:
    """Batches of texts of like length, shuffled by (seed, epoch)."""
    size, tokens = settings.training.batch_size, settings.training.batch_tokens
    sampler = LengthBuckets(examples.tokens.lengths, size, tokens, seed=settings.seed, rank=rank, world=world)
    return DataLoader(examples, sampler=sampler, batch_size=None)


def validation_loader(examples: Examples, settings: Settings, rank: int = 0, world: int = 1) -> DataLoader[Batch]:
    """Each text once, sorted by length."""
    order = np.argsort(examples.tokens.lengths, kind="stable")[rank::world]
    size, tokens = settings.training.batch_size, settings.training.batch_tokens
    parts = cut_by_budget(examples.tokens.lengths[order], size, tokens)
    return DataLoader(examples, sampler=[order[part].tolist() for part in parts], batch_size=None)


def balanced_weights(labels: np.ndarray, count: int) -> torch.Tensor:
    """Weights by which each label counts the same in the loss, one on average over the rows: (L,).

    A label without rows has the weight 0, and changes no other's.
    """
    rows = np.bincount(labels, minlength=count)  # (L,)
    seen = rows > 0
    weights = np.zeros(count, dtype=np.float32)
    weights[seen] = len(labels) / (rows[seen] * np.count_nonzero(seen))
    return torch.from_numpy(weights)
