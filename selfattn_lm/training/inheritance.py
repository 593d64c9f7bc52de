"""What a run inherits from the run or the BERT checkpoint that it starts from."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from selfattn_lm.config import ModelConfig, Settings, architecture_fields, flatten
from selfattn_lm.errors import UserError
from selfattn_lm.runs import Run

# What is inherited from a BERT, in whose format an n-gram branch has no place.
_OF_BERT = ("ngram_branch", "dropout", "embedding_dropout", "token_dropout")


def inherit(settings: Settings, initial: Run, asked: Mapping[str, Any], source: str) -> Settings:
    """Take architecture and tokenizer from the run to start from.

    Args:
        settings: The settings as they were asked for.
        initial: The run to start from.
        asked: Those of the settings that were named, nested.
        source: The name of the run to start from, for messages.

    Raises:
        UserError: A setting that was named contradicts the run to start from.
    """
    inherited = inherited_settings(initial)
    if initial.bert is not None:
        inherited.update(_free_choices(asked.get("model", {}), initial.bert.max_positions))
    # The config.yaml of the initial run names this one, which may differ: see `inherited_settings`.
    char_ngrams_as_trained = initial.resolved.model.char_ngrams
    for name, value in flatten(asked).items():
        if name not in inherited or value in (inherited[name], "auto"):
            continue
        if name == "model.char_ngrams" and value == char_ngrams_as_trained:
            continue
        reason = f"{source}, the run to start from, which has {inherited[name]!r}"
        raise UserError(f"{name}={value!r} contradicts {reason}; leave it out.")
    model = {}
    for name, value in inherited.items():
        section, _, field = name.partition(".")
        if section == "model":
            model[field] = value
    return replace(
        settings,
        tokenizer=replace(settings.tokenizer, **asdict(initial.resolved.tokenizer)),
        model=replace(settings.model, **model),
    )


def inherited_settings(initial: Run) -> dict[str, Any]:
    """The settings that a run to start from decides, by dotted name.

    They are the architecture and the tokenizer, for a BERT the dropout and the branches too.
    """
    model = initial.resolved.model
    names = list(architecture_fields(ModelConfig))
    if initial.bert is not None:
        names += _OF_BERT
    inherited = {f"model.{name}": getattr(model, name) for name in names}
    # The character n-grams of a trained classifier have been folded into its tokens.
    inherited["model.char_ngrams"] = model.char_ngrams and initial.task is None
    for name, value in asdict(initial.resolved.tokenizer).items():
        inherited[f"tokenizer.{name}"] = value
    return inherited


def _free_choices(asked_model: Mapping[str, Any], max_positions: int) -> dict[str, Any]:
    """What may differ from a BERT: its dropout, and shorter texts than it has positions for."""
    free = {}
    for name in ("dropout", "embedding_dropout"):
        if name in asked_model:
            free[f"model.{name}"] = asked_model[name]
    max_length = asked_model.get("max_length", "auto")
    if max_length != "auto":
        free["model.max_length"] = min(max_length, max_positions)
    return free
