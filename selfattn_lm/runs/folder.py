"""Write and read a run folder. No pickle is ever opened."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
import yaml
from tokenizers import Tokenizer
from torch import Tensor

from selfattn_lm.build import build_model
from selfattn_lm.config import (
    BertConfig,
    Pooling,
    PredictionSettings,
    Settings,
    differences,
    read_config,
    resolved_from,
)
from selfattn_lm.config.io import FORMAT
from selfattn_lm.errors import UserError
from selfattn_lm.features.tokenizer import load_tokenizer
from selfattn_lm.nn import Classifier
from selfattn_lm.runs.files import atomic, digest, write_json, write_text
from selfattn_lm.runs.hf.bert import is_checkpoint, read_bert
from selfattn_lm.runs.hf.files import read_json
from selfattn_lm.runs.layout import CHECKED
from selfattn_lm.runs.lifecycle import RunFolder
from selfattn_lm.runs.origin import Origin, origin_from
from selfattn_lm.runs.run import Run

_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


def write_metadata(
    folder: Path,
    settings: Settings,
    resolved: PredictionSettings,
    labels: list[str] | list[int],
    tokenizer: Tokenizer,
    bert: BertConfig | None = None,
    origin: Origin | None = None,
) -> None:
    """Write all but the weights.

    These are the settings, what `auto` became, the labels, the tokenizer, the shape of a BERT and
    the origin.
    """
    _write_config(folder, settings, resolved, origin, {})
    write_json(folder / "labels.json", labels)
    write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=True) + "\n")
    if bert is not None:
        write_json(folder / "bert.json", asdict(bert))


def _write_config(
    folder: Path,
    settings: Settings,
    resolved: PredictionSettings,
    origin: Origin | None,
    files: Mapping[str, str],
) -> None:
    plain: dict[str, Any] = {
        "format": FORMAT,
        **asdict(settings),
        "resolved": differences(settings, resolved),
    }
    if origin is not None:
        plain["init"] = asdict(origin)
    if files:
        plain["files"] = dict(files)
    write_text(folder / "config.yaml", yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def write_run(folder: Path, run: Run) -> None:
    """Write everything that prediction needs.

    Last come the digests in config.yaml, by which `read_run` sees that the files belong together.
    """
    write_metadata(
        folder, run.settings, run.resolved, run.labels_as_given, run.tokenizer, run.bert, run.origin
    )
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in run.model.state_dict().items()
    }
    weights.update(_tables_in_half_precision(run.model))
    with atomic(folder / "model.safetensors") as temporary:
        temporary.write_bytes(safetensors.torch.save(weights))
    _write_config(folder, run.settings, run.resolved, run.origin, _digests(folder))


def _digests(folder: Path) -> dict[str, str]:
    """The digests of the files of a run that belong together."""
    return {name: digest(folder / name) for name in CHECKED if (folder / name).is_file()}


def _tables_in_half_precision(model: Classifier) -> dict[str, Tensor]:
    """The embedding tables in half precision, whose rounding of 1 in 2,000 changes nothing.

    A table with numbers beyond 65,504, the largest in half precision, is left out.
    """
    tables: dict[str, Tensor] = {}
    for name, table in model.tables().items():
        half = table.detach().cpu().half().contiguous()
        if bool(half.isfinite().all()):
            tables[name] = half
    return tables


def read_origin(folder: Path) -> Origin | None:
    """What the run in a folder started from, as recorded; None if from scratch."""
    path = folder / "config.yaml"
    return _origin(read_config(path).init, path)


def _origin(init: Any, path: Path) -> Origin | None:
    if init is None:
        return None
    origin = origin_from(init)
    if origin is None:
        raise UserError(
            f"{path}: init does not hold what the run started from; train the run again."
        )
    return origin


def read_bert_config(folder: Path) -> BertConfig | None:
    """The shape of the BERT that a run is of, if it is one."""
    file = folder / "bert.json"
    if not file.is_file():
        return None
    try:
        return BertConfig(**read_json(file))
    except TypeError:
        raise UserError(
            f"{file}: does not hold the shape of a BERT; train the run again."
        ) from None


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
    config = read_config(folder / "config.yaml")
    resolved = resolved_from(
        config.settings, config.resolved, f"{folder / 'config.yaml'}: resolved"
    )
    origin = _origin(config.init, folder / "config.yaml")
    try:
        part = folder / "labels.json"
        given = json.loads(part.read_text(encoding="utf-8"))
        kinds = {type(label) for label in given} if isinstance(given, list) else {dict}
        if kinds not in ({str}, {int}, set()):
            raise UserError(f"{part}: not a list of label names; train the run again.")
        labels = [str(label) for label in given]
        part = folder / "tokenizer.json"
        tokenizer = load_tokenizer(part.read_text(encoding="utf-8"))
        part = folder / "model.safetensors"
        weights = safetensors.torch.load_file(part)
        bert = read_bert_config(folder)
    except UserError:
        raise
    except Exception as error:  # tokenizers raises plain Exception
        reason = " ".join(str(error).split())
        raise UserError(
            f"{part}: cannot be read as {part.suffix[1:]} ({reason}); train the run again."
        ) from None
    _require_digests(folder, config.files)
    with torch.random.fork_rng(devices=[]):  # its first weights are random, and overwritten at once
        classifier = build_model(
            resolved, tokenizer, len(labels), in_training=not labels, bert=bert
        )
    try:
        classifier.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split()[:40])
        raise UserError(
            f"{folder}: model.safetensors does not fit config.yaml and labels.json: {reason}."
        ) from None
    return Run(
        config.settings,
        resolved,
        labels,
        tokenizer,
        classifier.eval(),
        bert,
        origin,
        integer_labels=kinds == {int},
    )


def _require_digests(folder: Path, files: Mapping[str, str]) -> None:
    """Refuse files of different runs, such as the weights of one and the labels of another."""
    for name in CHECKED:
        path = folder / name
        found = digest(path) if path.is_file() else None
        if found != files.get(name):
            reason = f"{folder}: {name} is not the one that config.yaml belongs to (sha256)"
            advice = "restore it, or train the run again"
            if RunFolder(folder).interrupted_commit():
                command = f"selfattn train --resume --out {shlex.quote(str(folder))}"
                advice = f"a newer run is half in its place; `{command}` completes it"
            raise UserError(f"{reason}; {advice}.")


def require_finished(folder: Path) -> None:
    """Refuse a folder that is no run folder, or of a run that is unfinished or lacks a file."""
    if not folder.is_dir() and RunFolder(folder).can_resume():
        advice = f"go on with `selfattn train --resume --out {shlex.quote(str(folder))}`"
        raise UserError(f"{folder}: training has not finished; {advice}.")
    if not folder.is_dir():
        command = f"selfattn train DATA --out {shlex.quote(str(folder))}"
        raise UserError(f"{folder}: no such run folder; `{command}` makes one.")
    there = sorted(file.name for file in folder.iterdir())
    if "model.safetensors" not in there:
        if pickles := [name for name in there if name.endswith(_PICKLES)]:
            reason = f"weights in {pickles[0]}, which may run code when opened"
            raise UserError(f"{folder}: {reason}; only model.safetensors is.")
        if "checkpoints" in there:
            place = folder.with_name(folder.name.removesuffix(".partial"))
            advice = f"go on with `selfattn train --resume --out {shlex.quote(str(place))}`"
            raise UserError(f"{folder}: training has not finished; {advice}.")
        raise UserError(
            f"{folder}: no model.safetensors, so not a run folder; `selfattn train` makes one."
        )
    for name in ("config.yaml", "labels.json", "tokenizer.json"):
        if name not in there:
            raise UserError(f"{folder}: {name} is missing, so the run is broken; train it again.")
