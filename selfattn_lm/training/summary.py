"""The first lines of a run (data, tokens, model, training, changed settings), and the last ones."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from selfattn_lm.config import Resolved, ResolvedModel, ResolvedTraining, Settings, flatten
from selfattn_lm.features.sequences import TokenizedTexts, Tokens
from selfattn_lm.features.vectors import Standardization
from selfattn_lm.features.windows import MOST_IN_TRAINING, WindowedTexts, tokens_in_windows
from selfattn_lm.hardware import choose_device
from selfattn_lm.nn import CharNgramEmbedding, Classifier
from selfattn_lm.phrases import counted
from selfattn_lm.training.branches import MIN_ROWS
from selfattn_lm.training.data import TrainingData
from selfattn_lm.training.inheritance import inherited_settings
from selfattn_lm.training.opening import OpenRun


def classifier_lines(
    run: OpenRun, data: TrainingData, resolved: Resolved, model: Classifier
) -> list[str]:
    """Describe a run that trains a classifier, a line for each subject."""
    train, validation = data.splits["train"], data.splits["validation"]
    test_rows = len(data.splits.get("test", []))
    origin = "given"
    if data.is_held_out:
        origin = "held out of train"
    rows = counted(len(train), train.noun)
    lines = [f"data        {train.source}: {rows} to train on, {test_rows:,} to test on"]
    if train.columns:
        lines.append(f"columns     {train.columns}")
    chosen_by = f"the best weights are chosen by {resolved.training.monitor}"
    if len(validation) < MIN_ROWS:
        chosen_by += f"; fewer than {MIN_ROWS} rows, so probabilities are not calibrated"
        if len(model.branch_names) > 1:
            chosen_by += " and each branch counts the same"
    return [
        *lines,
        data.task.summary(train.targets),
        f"validation  {counted(len(validation), train.noun)}, {origin}; {chosen_by}",
        _token_line(data, resolved),
        _model_line(run, resolved, model),
        f"training    {_training(resolved.training)}, seed {resolved.seed}",
        f"settings    {_changed_settings(run)}",
    ]


def pretraining_lines(
    source: str, resolved: Resolved, vocab_size: int, model: Classifier, facts: dict[str, int]
) -> list[str]:
    """Describe a run that pretrains, a line for each subject; `facts` are those of data.json."""
    config = resolved.model
    return [
        f"texts       {source}: {facts['texts']:,} of at most {config.max_length} tokens,"
        f" {facts['tokens']:,} tokens in all; {facts['held_out']:,} held out",
        f"model       {config.kind}, {config.width} wide, {counted(config.layers, 'layer')};"
        f" {resolved.tokenizer.type}, vocabulary {vocab_size:,};"
        f" {sum(stored_sizes(model).values()):,} parameters",
        f"training    {_training(resolved.training)}, seed {resolved.seed}",
    ]


def stored_sizes(model: Classifier) -> dict[str, int]:
    """Count the numbers of each parameter, without character n-grams, which are folded in."""
    folded = set()
    for module in model.modules():
        if isinstance(module, CharNgramEmbedding):
            folded.add(id(module.characters.weight))
    named = model.named_parameters()
    return {name: p.numel() for name, p in named if id(p) not in folded}


def _token_line(data: TrainingData, resolved: Resolved) -> str:
    if isinstance(data.featurizer, Standardization):
        subsampled = 100 * data.train.tokens.truncation()["texts_cut"]
        return (
            f"vectors     {counted(data.featurizer.features, 'feature')}, standardised;"
            f" {subsampled:.1f} % of the sequences have more than {resolved.model.max_length}"
            " vectors and are subsampled to that number"
        )
    return (
        f"tokens      {resolved.tokenizer.type}, vocabulary {data.featurizer.get_vocab_size():,};"
        f" {long_texts(data.train.tokens, resolved.model)}"
    )


def long_texts(tokens: Tokens, config: ResolvedModel) -> str:
    """Describe what is cut of the training texts, and what reading all of it costs."""
    truncation = tokens.truncation()
    cut = (
        f"{100 * truncation['texts_cut']:.1f} % of the texts and"
        f" {100 * truncation['tokens_lost']:.1f} % of all tokens are cut"
    )
    limit = f"{config.max_length} tokens per text"
    if isinstance(tokens, WindowedTexts):
        windows = tokens.windows
        in_windows = float((windows.counts > 1).mean())
        times = tokens.total / int(np.minimum(windows.texts.lengths, config.max_length).sum())
        most = f"{MOST_IN_TRAINING} windows per text in training"
        return (
            f"{100 * in_windows:.1f} % of the texts are read in several windows of"
            f" {config.max_length} tokens, {times:.2f} times the tokens of head; {cut},"
            f" beyond at most {most}"
        )
    if config.long_texts == "head-tail":
        return f"{cut}, in the middle, beyond {limit}"
    if truncation["texts_cut"] == 0 or not isinstance(tokens, TokenizedTexts):
        return f"{cut}, beyond {limit}"
    read = tokens_in_windows(
        tokens.full_lengths, config.max_length, has_sep=tokens.sep_id is not None
    )
    advice = "--model.long-texts windows would read them in"
    return f"{cut}, beyond {limit}; {advice} {read / tokens.total:.2f} times the tokens"


def _model_line(run: OpenRun, resolved: Resolved, model: Classifier) -> str:
    config = resolved.model
    parts = [config.kind, f"{config.width} wide"]
    if config.kind != "bag":
        parts.append(counted(config.layers, "layer"))
    if config.kind == "attention":
        parts.append(counted(config.heads, "head"))
    if run.bert is not None:
        parts.append(f"from BERT, {config.pooling} pooling")
    sizes = stored_sizes(model)
    parameters = sum(sizes.values())
    in_tables = sum(sizes.get(name, 0) for name in model.tables())
    megabytes = (4 * parameters - 2 * in_tables) / 1e6  # tables are stored in half precision
    line = f"model       {', '.join(parts)}; {parameters:,} parameters, {megabytes:.1f} MB"
    if model.ngrams is not None:
        line += f"; {len(model.ngrams.hashes):,} n-grams, {model.ngrams.bytes / 1e6:.1f} MB"
    return line


def _training(config: ResolvedTraining) -> str:
    device = choose_device(config.accelerator)
    epochs = counted(config.epochs, "epoch")
    return f"{epochs} at most, rate {config.learning_rate:g}, {device}, {config.precision}"


def _changed_settings(run: OpenRun) -> str:
    """The settings that are neither the defaults nor those of the run to start from."""
    usual = flatten(asdict(Settings()))
    if run.initial is not None:
        usual.update(inherited_settings(run.initial))
    changed = []
    for name, value in flatten(asdict(run.settings)).items():
        if value != usual[name] and name != "data.source":
            changed.append(f"{name} {_shown(value)}")
    return ", ".join(changed) or "the defaults"


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def result_lines(
    command: str, folder: Path, scores: Sequence[str], stopped: str, resumable: bool
) -> list[str]:
    """Describe how a run ended: why it stopped early, its scores, its folder, how to resume it."""
    lines = []
    if stopped:
        lines.append(f"stopped     {stopped}")
    lines += scores
    lines.append(f"run folder  {folder}")
    if resumable:
        lines.append(f"resume      selfattn {command} --resume --out {shlex.quote(str(folder))}")
    return lines
