"""How the settings of a run come about, and what it starts from."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfattn_lm.config import (
    FINETUNING,
    PRESETS,
    Preset,
    Settings,
    flatten,
    merge,
    nest,
    precision_recorded_in,
    read_config,
    settings_from,
)
from selfattn_lm.data.python_inputs import plain_path, without_paths
from selfattn_lm.errors import UserError

if TYPE_CHECKING:
    from selfattn_lm.runs import Origin

_DATA_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".feather", ".txt")


def settings_of_run(
    asked: Mapping[str, Any], preset: Preset, origin: "Origin | None" = None, *, pretrain: bool = False
) -> Settings:
    """The settings of a run: the defaults, over them the preset's or a BERT's, over them those `asked` for.

    A preset is a whole: its training suits its model. So what gives the run another model (a flag, a config file, a
    run or a BERT to start from, pretraining) contradicts it, and is refused.
    """
    from selfattn_lm.runs import is_checkpoint, read_bert_config, require_finished

    asked_with_preset = with_preset(preset, asked)

    if origin is not None:
        folder = origin.folder
        if is_checkpoint(folder) or read_bert_config(folder) is not None:
            if preset != "accurate":
                raise _contradiction(preset, f"{origin.source} is a BERT")
            return settings_from(merge(FINETUNING, asked), "settings")
        require_finished(folder)
        kind = read_config(folder / "config.yaml").settings.model.kind
        if preset != "accurate" and kind != "bag":
            raise _contradiction(preset, f"{origin.source} is of the kind {kind}")
    final = settings_from(asked_with_preset, "settings")
    if preset != "accurate" and final.model.kind != "bag":
        raise _contradiction(preset, f"model.kind is {final.model.kind}")
    if preset != "accurate" and pretrain:
        raise _contradiction(preset, "--pretrain learns words from their context, which a bag does not see")
    return final


def with_preset(preset: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a preset, and over them those asked for, nested."""
    if preset not in PRESETS:
        raise UserError(f"preset: {preset!r} is not {' or '.join(map(repr, PRESETS))}.")
    return merge(PRESETS[preset], asked)


def named(data: Any, what: str) -> str | None:
    """The data as it was named, if it was."""
    return None if data is None else plain_path(data, what)


def _contradiction(preset: Preset, reason: str) -> UserError:
    return UserError(f"--preset {preset}: trains a bag of embeddings, but {reason}; leave one of them out.")


def asked_settings(
    source: str | None, config: Path | str | None, settings: Mapping[str, Any]
) -> tuple[dict[str, Any], Any]:
    """The settings asked for, nested: those of the call over those of the config file; and the file's `init`."""
    asked = nest(without_paths(settings))
    if source is not None:
        asked = merge(asked, {"data": {"source": source}})
    if config is None:
        return asked, None
    file = read_config(Path(config))
    return merge(file.asked, asked), file.init


def recorded_precision(config: Path | str | None, settings: Mapping[str, Any]) -> str:
    """The precision that the run of a config file chose by measuring, unless this call names one."""
    if config is None or "precision" in nest(settings).get("training", {}):
        return ""
    return precision_recorded_in(Path(config))


def run_name(source: str) -> str:
    """What a run on this data is called: `ag_news` of `data/ag_news/train.csv.gz`, of `fancyzhx/ag_news`."""
    path = Path(os.path.abspath(source))  # symbolic links keep their names
    name = path.name if path.is_dir() else _without_suffixes(path)
    if name.lower() == "train":
        name = path.parent.name or name
    return name.lstrip(".") or "run"  # a name with a dot in front would be a hidden folder


def _without_suffixes(path: Path) -> str:
    """The file's name without the suffix of its format and `.gz`; `v1.2-reviews.csv` keeps its other dot."""
    if path.suffix.lower() == ".gz":
        path = path.with_suffix("")
    return path.stem if path.suffix.lower() in _DATA_SUFFIXES else path.name


def resumed(
    out: Path | str | None, asked: Mapping[str, Any], init: Path | str | None, verb: str
) -> tuple[Path, Settings]:
    """The folder of the interrupted run and its own settings, which what is `asked` for may not contradict."""
    from selfattn_lm.runs import RunFolder, read_origin

    final = settings_from(asked, "settings")
    if out is None and not final.data.source:
        raise UserError(f"{verb}: --resume needs the run folder; name it with --out.")
    name = run_name(final.data.source) if verb == "train" else f"{run_name(final.data.source)}-pretrained"
    folder = Path(out) if out is not None else Path("runs") / name
    begun = RunFolder(folder).unfinished()
    config = read_config(begun / "config.yaml")
    if not config.settings.data.source:
        raise UserError(f"{folder}: began with texts given in Python, which it does not keep; call `fit` again.")
    began, now = flatten(asdict(config.settings)), flatten(asdict(final))
    for name in flatten(asked):
        if now[name] != began[name]:
            raise UserError(f"{name}: {now[name]!r} is asked, but {folder} began with {began[name]!r}; leave it out.")
    origin = read_origin(begun)
    began_from = ("scratch",) if origin is None else (origin.source, origin.path)
    if init is not None and str(init) not in began_from and str(Path(init).absolute()) not in began_from:
        started = began_from[0]
        raise UserError(f"--init: {init} is asked, but {folder} began from {started}; leave it out.")
    return folder, config.settings
