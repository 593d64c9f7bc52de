"""How a call becomes a run: the settings it asks for, the run's folder, and what it starts from.

Torch is loaded only where a run is opened, so a wrong setting is reported at once.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfattn_lm.config import (
    FINETUNING,
    PRESETS,
    PRETRAINING,
    Preset,
    Settings,
    flatten,
    merge,
    nest,
    read_config,
    settings_from,
)
from selfattn_lm.data.python_inputs import plain_path, without_paths
from selfattn_lm.errors import Interrupted, UserError
from selfattn_lm.run_names import run_folder, run_name

if TYPE_CHECKING:
    from selfattn_lm.runs import Origin
    from selfattn_lm.training import OpenRun


@dataclass(frozen=True)
class Request:
    """The settings that a call asks for, by name or through a config file.

    Attributes:
        settings: The settings that were named, nested; those of the call override the file's.
        config: The name of the config file; empty if there is none.
        init: What the config file records as the start of its run; None if it records nothing.
        recorded_precision: The precision that the run of the config file measured to be best; empty
            if there is none, or the call names another.
    """

    settings: dict[str, Any]
    config: str = ""
    init: Any = None
    recorded_precision: str = ""


def read_request(
    data: Any, what: str, config: Path | str | None, settings: Mapping[str, Any]
) -> Request:
    """Collect the settings that a call asks for.

    Args:
        data: The data to read, if the call names them.
        what: How messages call the data.
        config: A YAML file of settings.
        settings: Settings by name, by dotted name or by section.

    Raises:
        UserError: The config file cannot be read, or holds a wrong setting.
        TypeError: The data are not a path or the name of a dataset.
    """
    named = nest(without_paths(settings))
    if data is not None:
        named = merge(named, {"data": {"source": plain_path(data, what)}})
    if config is None:
        return Request(named)
    file = read_config(Path(config))
    precision = ""
    if "training.precision" not in flatten(named):
        precision = file.recorded_precision
    return Request(merge(file.asked, named), str(config), file.init, precision)


def start_training(
    request: Request,
    *,
    preset: Preset,
    out: Path | str | None,
    init: Path | str | None,
    pretrain: bool,
    overwrite: bool,
) -> "OpenRun":
    """Open a new training run, after pretraining if that is asked for.

    Raises:
        UserError: No data are named, what is asked for is contradictory, or the folder is taken.
        Interrupted: The user stopped the pretraining.
    """
    from selfattn_lm.runs import find_origin, find_recorded
    from selfattn_lm.training import open_run

    origin = None
    if init is not None:
        origin = find_origin(init)
    elif request.init is not None:
        origin = find_recorded(request.init, request.config)
    settings = choose_settings(request.settings, preset, origin, pretrain=pretrain)
    if not settings.data.source:
        advice = "name a file, a folder, a hub name such as fancyzhx/ag_news, or stdlib-docs"
        raise UserError(f"train: no data; {advice}.")
    folder = run_folder(out, run_name(settings.data.source))
    if pretrain:
        origin = _pretrain_first(folder, request, settings, overwrite)
    return open_run(
        settings,
        folder,
        asked=request.settings,
        origin=origin,
        overwrite=overwrite,
        recorded_precision=request.recorded_precision,
    )


def _pretrain_first(
    folder: Path, request: Request, settings: Settings, overwrite: bool
) -> "Origin":
    """Pretrain in a folder beside the run's, or continue there, and return the result as a start.

    Data, tokenizer and model are those of the run, the training settings those of `pretrain`.
    """
    from selfattn_lm.data.sources import stream_texts
    from selfattn_lm.runs import LAST, RunFolder, find_origin
    from selfattn_lm.training import open_run, pretrain_model, reopen_run

    RunFolder(folder).refuse_to_replace(overwrite)
    place = folder.with_name(f"{folder.name}-pretrained")
    asked = {name: values for name, values in request.settings.items() if name != "training"}
    pretraining = settings_from(merge(PRETRAINING, asked), "settings")
    was_interrupted = (place / LAST).is_file() or (RunFolder(place).work / LAST).is_file()
    if was_interrupted:
        run = reopen_run(pretraining, place)
    else:
        run = open_run(
            pretraining, place, overwrite=overwrite, recorded_precision=request.recorded_precision
        )
    result = pretrain_model(run, partial(stream_texts, settings.data))
    if result.resumable:
        raise Interrupted(f"{place}: stopped; repeat the command to continue.")
    return find_origin(place)


def start_pretraining(request: Request, out: Path | str | None, overwrite: bool) -> "OpenRun":
    """Open a new pretraining run.

    Raises:
        UserError: No texts are named, a setting is wrong, or the folder is taken.
    """
    from selfattn_lm.training import open_run

    settings = settings_from(merge(PRETRAINING, request.settings), "settings")
    if not settings.data.source:
        raise UserError("pretrain: no texts; name a file, a folder, or a hub name.")
    folder = run_folder(out, f"{run_name(settings.data.source)}-pretrained")
    precision = request.recorded_precision
    return open_run(settings, folder, overwrite=overwrite, recorded_precision=precision)


def resume_run(
    command: str, asked: Mapping[str, Any], out: Path | str | None, init: Path | str | None = None
) -> "OpenRun":
    """Open an interrupted run again, with its own settings.

    Args:
        command: The name of the command, train or pretrain.
        asked: The settings that the call asks for, nested; they may not contradict the run's.
        out: The run folder; by default the one that is named after the data.
        init: What the call names as the start of the run.

    Raises:
        UserError: There is no interrupted run, or the call contradicts it.
    """
    from selfattn_lm.runs import RunFolder, read_origin
    from selfattn_lm.training import reopen_run

    wanted = settings_from(asked, "settings")
    if out is None and not wanted.data.source:
        raise UserError(f"{command}: --resume needs the run folder; name it with --out.")
    name = run_name(wanted.data.source)
    if command == "pretrain":
        name = f"{name}-pretrained"
    folder = run_folder(out, name)
    interrupted = RunFolder(folder).unfinished()
    config = read_config(interrupted / "config.yaml")
    settings = config.settings
    if "ngram_branch" not in config.asked.get("model", {}):  # of a version that had no such branch
        settings = replace(settings, model=replace(settings.model, ngram_branch=False))
    if not settings.data.source:
        reason = "the run was trained on texts given in Python, which are not kept"
        raise UserError(f"{folder}: {reason}; call `fit` again.")
    _refuse_other_settings(asked, wanted, settings, folder)
    if init is not None:
        _refuse_another_start(init, read_origin(interrupted), folder)
    return reopen_run(settings, folder)


def _refuse_other_settings(
    asked: Mapping[str, Any], wanted: Settings, settings: Settings, folder: Path
) -> None:
    """Refuse a setting that was asked for and contradicts that of the interrupted run."""
    wanted_by_name = flatten(asdict(wanted))
    settings_by_name = flatten(asdict(settings))
    for name in flatten(asked):
        value = wanted_by_name[name]
        recorded = settings_by_name[name]
        if value != recorded:
            reason = f"the interrupted run in {folder}, which has {recorded!r}"
            raise UserError(f"{name}={value!r} contradicts {reason}; leave it out.")


def _refuse_another_start(init: Path | str, origin: "Origin | None", folder: Path) -> None:
    """Refuse an `--init` that is not what the interrupted run started from, by any of its names."""
    source = "scratch"
    names = {source}
    if origin is not None:
        source = origin.source
        names = {origin.source, origin.path}
    if str(init) not in names and str(Path(init).absolute()) not in names:
        reason = f"the interrupted run in {folder}, which started from {source}"
        raise UserError(f"--init {init} contradicts {reason}; leave it out.")


def choose_settings(
    asked: Mapping[str, Any],
    preset: Preset,
    origin: "Origin | None" = None,
    *,
    pretrain: bool = False,
) -> Settings:
    """Choose the settings of a training run: those asked for, over those of a preset or for a BERT.

    The training settings of a preset suit its model. So a preset is refused where a flag, a config
    file, a start or pretraining give the run another model.
    """
    with_preset = add_preset(preset, asked)
    if origin is not None and _is_bert(origin.folder):
        _require_bag(preset, is_bag=False, reason=f"{origin.source} is a BERT")
        return settings_from(merge(FINETUNING, asked), "settings")
    if origin is not None:
        kind = _kind_of_run(origin.folder)
        _require_bag(preset, kind == "bag", f"{origin.source} is of the kind {kind}")
    settings = settings_from(with_preset, "settings")
    kind = settings.model.kind
    _require_bag(preset, kind == "bag", f"model.kind is {kind}")
    reason = "--pretrain learns words from their context, which a bag does not see"
    _require_bag(preset, not pretrain, reason)
    return settings


def add_preset(preset: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a preset, overridden by those asked for, nested."""
    if preset not in PRESETS:
        known = " or ".join(repr(name) for name in PRESETS)
        raise UserError(f"preset: {preset!r} is not {known}.")
    return merge(PRESETS[preset], asked)


def _require_bag(preset: Preset, is_bag: bool, reason: str) -> None:
    """Refuse the preset of a bag of embeddings for a run with another model."""
    if preset != "accurate" and not is_bag:
        raise UserError(
            f"--preset {preset}: trains a bag of embeddings, but {reason}; leave one of them out."
        )


def _is_bert(folder: Path) -> bool:
    """Return whether a folder holds a BERT checkpoint, or a run that started from one."""
    from selfattn_lm.runs import is_checkpoint, read_bert_config

    return is_checkpoint(folder) or read_bert_config(folder) is not None


def _kind_of_run(folder: Path) -> str:
    """Return the kind of encoder of a finished run."""
    from selfattn_lm.runs import require_finished

    require_finished(folder)
    return read_config(folder / "config.yaml").settings.model.kind
