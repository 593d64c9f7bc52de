"""A run in memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer

from selfattn_lm.config import BertConfig, Settings, with_changes
from selfattn_lm.features.tokenizer import char_ngram_ids
from selfattn_lm.nn import Classifier, build_bert, build_classifier
from selfattn_lm.runs.origin import Origin


@dataclass(frozen=True)
class Run:
    """A trained run: settings as asked, what `auto` became, label names in the order of the head's rows, model.

    Attributes:
        bert: Given if the model is a BERT, which a run started from or which was read from its own format.
        origin: What the run started from, if it did not start from scratch.
        integer_labels: Whether the labels were given in Python, all as integers, and are given back as such there.
        head_problem: Why the head of a checkpoint cannot predict labels, in a sentence; it has no labels then.
    """

    settings: Settings
    resolved: Mapping[str, Any]
    labels: list[str]
    tokenizer: Tokenizer
    model: Classifier
    bert: BertConfig | None = None
    origin: Origin | None = None
    integer_labels: bool = False
    head_problem: str = ""

    @property
    def labels_as_given(self) -> list[str] | list[int]:
        """The labels, integers if they were given as such; everywhere else they are names."""
        return [int(label) for label in self.labels] if self.integer_labels else self.labels

    @property
    def in_effect(self) -> Settings:
        """The settings with nothing `auto` any more."""
        return with_changes(self.settings, self.resolved)


def new_model(
    settings: Settings, tokenizer: Tokenizer, labels: int, *, with_char_ngrams: bool, bert: BertConfig | None = None
) -> Classifier:
    """A model with random weights for resolved settings; `spelled`: of tokens that know their spelling, if asked.

    A classifier's are folded into a plain table when it is trained, a pretrained model's are kept for those to come.
    """
    if bert is not None:
        return build_bert(bert, settings.model, labels)
    char_ngrams = None
    if with_char_ngrams and settings.model.char_ngrams and settings.tokenizer.type != "character":
        char_ngrams = torch.from_numpy(char_ngram_ids(tokenizer, settings.tokenizer.type))
    return build_classifier(settings.model, tokenizer.get_vocab_size(), labels, char_ngrams)
