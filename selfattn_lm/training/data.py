"""From splits to what the model sees: labels, tokenizer, token ids, loaders."""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, Dataset

from selfattn_lm.config import Settings, with_changes
from selfattn_lm.errors import UserError
from selfattn_lm.text.batching import Batch, LengthBuckets, cut_by_budget, pad
from selfattn_lm.text.labels import encode_labels, hold_out, label_names, warnings_about
from selfattn_lm.text.splits import Split
from selfattn_lm.text.tokenization import TokenIds, train_tokenizer
from selfattn_lm.training import rules

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """All that a fit needs of the data; `resolved` is what `auto` became, `held_out` whether validation is of train."""

    splits: dict[str, Split]
    labels: list[str]
    tokenizer: Tokenizer
    train: "Examples"
    validation: "Examples"
    resolved: dict[str, Any]
    held_out: bool

    def describe(self) -> dict[str, Any]:
        """Plain facts for `data.json`: rows, fingerprints, label counts, what was cut."""
        facts = {name: split.describe() for name, split in self.splits.items()}
        facts["train"] |= self.train.tokens.truncation()
        facts["validation"] |= self.validation.tokens.truncation()
        return facts


class Examples(Dataset[Batch]):
    """Token ids and label of each text; asked for a list of rows it gives a batch."""

    def __init__(self, tokens: TokenIds, labels: np.ndarray) -> None:
        self.tokens, self.labels = tokens, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: list[int]) -> Batch:
        return pad([self.tokens[i] for i in rows], self.labels[rows])


def prepare(splits: dict[str, Split], settings: Settings, tokenizer: Tokenizer | None) -> Prepared:
    """Check the data, hold out a validation split if there is none, train or take over the tokenizer, tokenize."""
    splits = dict(splits)
    names = label_names(splits)
    for sentence in warnings_about(splits):
        log.warning("%s", sentence)
    held_out = "validation" not in splits
    if held_out:
        splits["train"], splits["validation"] = hold_out(splits["train"], settings.data.held_out, settings.seed)
    texts = splits["train"].texts
    resolved: dict[str, Any] = {}
    if settings.data.text_column == "auto":
        resolved["data"] = {"text_column": splits["train"].text_columns}
    if settings.tokenizer.unit == "auto":
        resolved["tokenizer"] = {"unit": rules.tokenizer_unit(texts)}
        settings = with_changes(settings, resolved)
    tokenizer = tokenizer or train_tokenizer(texts, settings.tokenizer)
    asked = settings.model.max_tokens
    tokens = TokenIds(tokenizer, texts, rules.MOST_TOKENS if asked == "auto" else asked)
    limit = rules.max_tokens(tokens.lengths) if asked == "auto" else asked
    tokens.cut(limit)
    if changes := rules.model_changes(settings.model, limit):
        resolved["model"] = changes
    _check_budget(settings, limit)
    validation = TokenIds(tokenizer, splits["validation"].texts, limit)
    return Prepared(
        splits,
        names,
        tokenizer,
        Examples(tokens, encode_labels(splits["train"].labels, names)),
        Examples(validation, encode_labels(splits["validation"].labels, names)),
        resolved,
        held_out,
    )


def _check_budget(settings: Settings, max_tokens: int) -> None:
    if settings.training.batch_tokens < max_tokens:
        raise UserError(
            f"training.batch_tokens: {settings.training.batch_tokens} tokens a batch hold no text of model.max_tokens"
            f" {max_tokens}; raise the one or lower the other."
        )


def train_loader(examples: Examples, settings: Settings, rank: int = 0, world: int = 1) -> DataLoader[Batch]:
    """Batches of texts of like length, shuffled by (seed, epoch)."""
    training = settings.training
    sampler = LengthBuckets(
        examples.tokens.lengths, batch_size=training.batch_size, batch_tokens=training.batch_tokens,
        seed=settings.seed, rank=rank, world=world,
    )  # fmt: skip
    return DataLoader(examples, sampler=sampler, batch_size=None)


def validation_loader(examples: Examples, settings: Settings, rank: int = 0, world: int = 1) -> DataLoader[Batch]:
    """Each text once, sorted by length."""
    training = settings.training
    order = np.argsort(examples.tokens.lengths, kind="stable")
    parts = cut_by_budget(examples.tokens.lengths[order], training.batch_size, training.batch_tokens)
    batches = [order[part].tolist() for part in parts]
    return DataLoader(examples, sampler=batches[rank::world], batch_size=None)


def balanced_weights(labels: np.ndarray, count: int) -> torch.Tensor:
    """Weights by which each label counts the same in the loss, one on average over the rows: (L,)."""
    rows = np.bincount(labels, minlength=count)
    weights = len(labels) / np.maximum(rows, 1) / (rows > 0).sum()
    return torch.tensor(weights, dtype=torch.float32)
