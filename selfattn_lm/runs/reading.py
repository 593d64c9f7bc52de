"""Reading a run folder. No pickle is ever opened."""

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from selfattn_lm.build import build_model
from selfattn_lm.config import BertConfig, Pooling, read_config, resolved_from
from selfattn_lm.errors import UserError
from selfattn_lm.features.tokenizer import load_tokenizer
from selfattn_lm.features.vectors import Featurizer, Standardization
from selfattn_lm.nn import Classifier, NgramClassifier
from selfattn_lm.runs.files import digest
from selfattn_lm.runs.hf.bert import is_checkpoint, read_bert
from selfattn_lm.runs.hf.files import read_json
from selfattn_lm.runs.layout import CHECKED, CHECKPOINTS, CONFIG, FEATURES, TOKENIZER, WEIGHTS
from selfattn_lm.runs.lifecycle import RunFolder
from selfattn_lm.runs.origin import Origin, origin_from
from selfattn_lm.runs.run import Run
from selfattn_lm.tasks import Task, recorded_task

_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


def read_run(folder: Path, pooling: Pooling = "auto") -> Run:
    """Read a finished run, or a BERT checkpoint as a run that starts from it.

    Args:
        folder: The run folder or the checkpoint.
        pooling: The pooling of a checkpoint; auto: its own.

    Raises:
        UserError: The run is unfinished, broken, of another format, or without safetensors.
    """
    if is_checkpoint(folder):
        return read_bert(folder, pooling)
    require_finished(folder)
    config_file = folder / CONFIG
    config = read_config(config_file)
    resolved = resolved_from(config.settings, config.resolved, f"{config_file}: resolved")
    origin = _check_origin(config.init, config_file)
    labels = _read_labels(folder / "labels.json")
    featurizer = read_featurizer(folder)
    weights = _read_weights(folder / WEIGHTS)
    bert = read_bert_config(folder)
    _require_digests(folder, config.files)
    task = _task(labels, config.task, config_file)
    with torch.random.fork_rng(devices=[]):  # its first weights are random, and overwritten at once
        outputs = 0
        if task is not None:
            outputs = task.outputs
        model = build_model(
            resolved,
            featurizer,
            outputs,
            in_training=task is None,
            bert=bert,
            ngrams=_empty_ngram_branch(weights, outputs),
        )
    _load_weights(model, weights, folder)
    return Run(config.settings, resolved, task, featurizer, model.eval(), bert, origin)


def _empty_ngram_branch(weights: Mapping[str, Tensor], outputs: int) -> NgramClassifier | None:
    """Build an n-gram branch of the size that is stored; None if the run has none."""
    hashes = weights.get("ngrams.hashes")
    if hashes is None:
        return None
    return NgramClassifier(len(hashes), outputs)


def _task(labels: list[str] | list[int], values: Mapping[str, Any], file: Path) -> Task | None:
    """Build the task that config.yaml records."""
    try:
        return recorded_task(labels, values)
    except ValueError as error:
        raise UserError(f"{file}: task: {error}; train the run again.") from None


def _read_labels(file: Path) -> list[str] | list[int]:
    """Read the names of the labels, all texts or all integers; there may be none."""
    with _refusing_on_error(file):
        labels = json.loads(file.read_text(encoding="utf-8"))
    types: set[type] = set()
    if isinstance(labels, list):
        types = {type(label) for label in labels}
    if not isinstance(labels, list) or types not in ({str}, {int}, set()):
        raise UserError(f"{file}: not a list of label names; train the run again.")
    return labels


def read_featurizer(folder: Path) -> Featurizer:
    """Read the tokenizer of a run, or the standardisation of one on sequences of vectors."""
    file = folder / FEATURES
    if file.is_file():
        with _refusing_on_error(file):
            return Standardization.from_plain(json.loads(file.read_text(encoding="utf-8")))
    file = folder / TOKENIZER
    with _refusing_on_error(file):
        return load_tokenizer(file.read_text(encoding="utf-8"))


def _read_weights(file: Path) -> dict[str, Tensor]:
    with _refusing_on_error(file):
        return safetensors.torch.load_file(file)


@contextmanager
def _refusing_on_error(file: Path) -> Iterator[None]:
    """Raise a UserError for whatever a library raises while it reads a file."""
    try:
        yield
    except Exception as error:  # tokenizers raises plain Exception
        reason = " ".join(str(error).split())
        form = file.suffix.removeprefix(".")
        raise UserError(
            f"{file}: cannot be read as {form} ({reason}); train the run again."
        ) from None


def _load_weights(model: Classifier, weights: Mapping[str, Tensor], folder: Path) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split()[:40])
        raise UserError(
            f"{folder}: model.safetensors does not fit config.yaml and labels.json: {reason}."
        ) from None


def _require_digests(folder: Path, files: Mapping[str, str]) -> None:
    """Refuse files of different runs, such as the weights of one and the labels of another."""
    for name in CHECKED:
        path = folder / name
        found = None
        if path.is_file():
            found = digest(path)
        if found != files.get(name):
            reason = f"{folder}: {name} is not the one that config.yaml belongs to (sha256)"
            advice = "restore it, or train the run again"
            if RunFolder(folder).interrupted_commit():
                command = f"selfattn train --resume --out {shlex.quote(str(folder))}"
                advice = f"a newer run is half in its place; `{command}` completes it"
            raise UserError(f"{reason}; {advice}.")


def read_origin(folder: Path) -> Origin | None:
    """Read what the run in a folder started from; None if from scratch."""
    file = folder / CONFIG
    return _check_origin(read_config(file).init, file)


def _check_origin(recorded: Any, file: Path) -> Origin | None:
    if recorded is None:
        return None
    origin = origin_from(recorded)
    if origin is None:
        reason = "init does not hold what the run started from"
        raise UserError(f"{file}: {reason}; train the run again.")
    return origin


def read_bert_config(folder: Path) -> BertConfig | None:
    """Read the shape of the BERT that a run is of; None if it is of none."""
    file = folder / "bert.json"
    if not file.is_file():
        return None
    values = read_json(file)
    try:
        return BertConfig(**values)
    except TypeError:
        reason = "does not hold the shape of a BERT"
        raise UserError(f"{file}: {reason}; train the run again.") from None


def require_finished(folder: Path) -> None:
    """Refuse a folder that is no run folder, or of a run that is unfinished or lacks a file."""
    if not folder.is_dir():
        if RunFolder(folder).can_resume():
            raise _unfinished(folder, folder)
        command = f"selfattn train DATA --out {shlex.quote(str(folder))}"
        raise UserError(f"{folder}: no such run folder; `{command}` makes one.")
    names = sorted(file.name for file in folder.iterdir())
    if WEIGHTS not in names:
        _refuse_without_weights(folder, names)
    featurizer = TOKENIZER
    if FEATURES in names:
        featurizer = FEATURES
    for name in (CONFIG, "labels.json", featurizer):
        if name not in names:
            raise UserError(f"{folder}: {name} is missing, so the run is broken; train it again.")


def _refuse_without_weights(folder: Path, names: list[str]) -> None:
    """Say what a folder without weights is, by the names of its files."""
    for name in names:
        if name.endswith(_PICKLES):
            reason = f"weights in {name}, which may run code when opened"
            raise UserError(f"{folder}: {reason}; only {WEIGHTS} is.")
    if CHECKPOINTS in names:
        target = folder.with_name(folder.name.removesuffix(".partial"))
        raise _unfinished(folder, target)
    raise UserError(f"{folder}: no {WEIGHTS}, so not a run folder; `selfattn train` makes one.")


def _unfinished(folder: Path, target: Path) -> UserError:
    """Build the error for a run that was interrupted and belongs in `target`."""
    command = f"selfattn train --resume --out {shlex.quote(str(target))}"
    return UserError(f"{folder}: training has not finished; go on with `{command}`.")
