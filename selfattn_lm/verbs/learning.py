"""What makes a run: train, pretrain, fit; and study, which makes many."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from selfattn_lm.config import FINETUNING, PRESETS, PRETRAINING, STUDIED, Settings, flatten, merge, nest, settings_from
from selfattn_lm.errors import UserError

if TYPE_CHECKING:
    from selfattn_lm.inference import TextClassifier
    from selfattn_lm.runs import Origin
    from selfattn_lm.study import ProbeResult, StudyResult
    from selfattn_lm.training import PretrainResult, TrainResult

SHARES = (1, 3, 10, 30, 100)
Preset = Literal["accurate", "quick"]


def train(
    data: str | None = None,
    /,
    *,
    config: Path | str | None = None,
    out: Path | str | None = None,
    init: Path | str | None = None,
    preset: Preset = "accurate",
    pretrain: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> "TrainResult":
    """Train a classifier on labelled texts and write a run folder.

    Args:
        data: A file (csv, jsonl, parquet, …), a folder, a hub name such as fancyzhx/ag_news, or stdlib-docs.
        config: A YAML file of settings; flags overrule it.
        out: The run folder; runs/NAME by default.
        init: A run folder to start from, or a BERT checkpoint (a folder or a hub name): shape, tokenizer and weights.
        preset: quick trains a bag of embeddings, nearly all of the accuracy in a quarter of the time.
        pretrain: Learn from the training texts to guess hidden words first, into --out with -pretrained added.
        resume: Go on with the interrupted run in --out, with its own settings.
        overwrite: Replace a run folder that exists, once the data is found good.
        settings: By name (`epochs=3`) or by section (`model={"width": 64}`).
    """
    from selfattn_lm.runs import find_origin, find_recorded
    from selfattn_lm.text.splits import load_splits
    from selfattn_lm.training import Session

    asked, recorded = _asked(data, config, settings)
    if pretrain and (init is not None or recorded is not None):
        other = "--init" if init is not None else f"the init in {config}"
        raise UserError(f"train: --pretrain and {other} both say what to start from; leave one of them out.")
    if resume:
        folder, final = _resumed(out, asked, init, "train")
        return Session(final, asked, folder, resume=True).run(load_splits(final.data))
    origin = None
    if init is not None:
        origin = find_origin(init)
    elif recorded is not None:
        origin = find_recorded(recorded, str(config))
    final = _begin_with(asked, preset, origin, pretrain=pretrain)
    if not final.data.source:
        raise UserError("train: no data; name a file, a folder, a hub name such as fancyzhx/ag_news, or stdlib-docs.")
    folder = Path(out) if out is not None else Path("runs") / _name(final.data.source)
    repeated = _recorded_precision(config, settings)
    if pretrain:
        origin = _pretrained(folder, asked, final, overwrite, repeated)
    session = Session(final, asked, folder, origin, overwrite=overwrite, recorded_precision=repeated)
    return session.run(load_splits(final.data))


def _pretrained(
    folder: Path, asked: Mapping[str, Any], final: Settings, overwrite: bool, recorded_precision: str
) -> "Origin":
    """Pretrain with the same data, tokenizer and shape, and the training of `pretrain`; goes on if it was stopped."""
    from selfattn_lm.runs import LAST, RunFolder, find_origin
    from selfattn_lm.text.splits import stream_texts
    from selfattn_lm.training import Pretraining

    RunFolder(folder).refuse_to_replace(overwrite)
    place = folder.with_name(f"{folder.name}-pretrained")
    asked = {name: values for name, values in asked.items() if name != "training"}
    settings = settings_from(merge(PRETRAINING, asked), "settings")
    begun = any((folder / LAST).is_file() for folder in (place, RunFolder(place).work))
    session = Pretraining(settings, place, resume=begun, overwrite=overwrite, recorded_precision=recorded_precision)
    result = session.run(lambda: stream_texts(final.data))
    if result.resumable:
        raise KeyboardInterrupt(f"{place}: stopped; the same command goes on.")
    return find_origin(place)


def pretrain(
    texts: str | None = None,
    /,
    *,
    config: Path | str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> "PretrainResult":
    """Learn from texts without labels to guess hidden words, and write a run that `train --init` starts from.

    Args:
        texts: A file (txt with a text a line, csv, jsonl, parquet, …), a folder or a hub name; it may exceed memory.
        config: A YAML file of settings; flags overrule it.
        out: The run folder; runs/NAME-pretrained by default.
        resume: Go on with the interrupted run in --out, with its own settings.
        overwrite: Replace a run folder that exists.
        settings: By name (`epochs=3`) or by section (`model={"width": 64}`); some defaults are not those of `train`.
    """
    from selfattn_lm.text.splits import stream_texts
    from selfattn_lm.training import Pretraining

    asked, recorded = _asked(texts, config, settings)
    if recorded is not None:
        raise UserError(f"pretrain: {config} says what to start from (init), but pretraining starts from scratch.")
    if resume:
        folder, final = _resumed(out, asked, None, "pretrain")
    else:
        final = settings_from(merge(PRETRAINING, asked), "settings")
        if not final.data.source:
            raise UserError("pretrain: no texts; name a file, a folder, or a hub name.")
        folder = Path(out) if out is not None else Path("runs") / f"{_name(final.data.source)}-pretrained"
    repeated = _recorded_precision(config, settings)
    session = Pretraining(final, folder, resume=resume, overwrite=overwrite, recorded_precision=repeated)
    return session.run(lambda: stream_texts(final.data))


def study(
    data: str | None = None,
    /,
    *,
    config: Path | str | None = None,
    out: Path | str | None = None,
    kinds: tuple[str, ...] = STUDIED,
    shares: tuple[float, ...] = SHARES,
    seeds: int = 1,
    **settings: Any,
) -> "StudyResult | ProbeResult":
    """Compare attention with CNN, LSTM, bag and TF-IDF at growing shares of the training data; goes on if stopped.

    `selfattn study probe` needs no data: it compares them on generated texts, at growing distances of what decides.

    Args:
        data: A file, a folder, a hub name, stdlib-docs, or probe.
        config: A YAML file of settings; flags overrule it.
        out: The folder of the study; studies/NAME by default.
        kinds: Which models to compare.
        shares: Of the training texts, in percent.
        seeds: How often each is trained.
        settings: By name or by section, for all models alike.
    """
    from selfattn_lm.study import PROBE, compare, probe
    from selfattn_lm.text.splits import load_splits

    generated = data == "probe"
    asked, recorded = _asked(None if generated else data, config, settings)
    if recorded is not None:
        raise UserError(f"study: {config} says what to start from (init), but a study trains from scratch.")
    final = settings_from(merge(PROBE if generated else {}, asked), "settings")
    if not generated and not final.data.source:
        raise UserError("study: no data; name a file, a folder, a hub name, stdlib-docs, or probe.")
    folder = Path(out) if out is not None else Path("studies") / ("probe" if generated else _name(final.data.source))
    if generated and (kinds, shares, seeds) != (STUDIED, SHARES, 1):
        raise UserError("study probe: its models are fixed; --kinds, --shares and --seeds are for a study of data.")
    if generated:
        return probe(final, folder)
    return compare(load_splits(final.data), final, folder, kinds, shares, seeds)


def fit(
    texts: Sequence[str],
    labels: Sequence[str | int],
    *,
    validation: tuple[Sequence[str], Sequence[str | int]] | None = None,
    out: Path | str | None = None,
    init: Path | str | None = None,
    preset: Preset = "accurate",
    overwrite: bool = False,
    **settings: Any,
) -> "TextClassifier":
    """Train a classifier on texts in memory, with the settings of `train`, and write a run folder if `out` names one.

    The best weights are chosen by `validation`, texts and labels; a share of `texts` is held out if it is not given.
    """
    from selfattn_lm.runs import find_origin
    from selfattn_lm.text.splits import Split
    from selfattn_lm.training import Session

    splits = {"train": Split.in_memory("texts", texts, labels)}
    if validation is not None:
        splits["validation"] = Split.in_memory("validation", *validation)
    asked = nest(settings)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run" if out is None else Path(out)
        origin = find_origin(init) if init is not None else None
        final = _begin_with(asked, preset, origin)
        return Session(final, asked, folder, origin, overwrite=overwrite).run(splits).classifier


def _begin_with(
    asked: Mapping[str, Any], preset: Preset, origin: "Origin | None" = None, *, pretrain: bool = False
) -> Settings:
    """The settings of a run: the defaults, over them the preset's or a BERT's, over them those `asked` for.

    A preset is a whole: its training suits its model. So what gives the run another model (a flag, a config file, a
    run or a BERT to start from, pretraining) contradicts it, and is refused.
    """
    from selfattn_lm.runs import is_checkpoint, read_config, read_shape

    if origin is not None:
        folder = Path(origin.path)
        if is_checkpoint(folder) or read_shape(folder) is not None:
            if preset != "accurate":
                raise _contradiction(preset, f"{origin.source} is a BERT")
            return settings_from(merge(FINETUNING, asked), "settings")
        if preset != "accurate" and (kind := read_config(folder / "config.yaml").settings.model.kind) != "bag":
            raise _contradiction(preset, f"{origin.source} is of the kind {kind}")
    final = settings_from(merge(PRESETS[preset], asked), "settings")
    if preset != "accurate" and final.model.kind != "bag":
        raise _contradiction(preset, f"model.kind is {final.model.kind}")
    if preset != "accurate" and pretrain:
        raise _contradiction(preset, "--pretrain learns words from their context, which a bag does not see")
    return final


def _contradiction(preset: Preset, reason: str) -> UserError:
    return UserError(f"--preset {preset}: trains a bag of embeddings, but {reason}; leave one of them out.")


def _asked(source: str | None, config: Path | str | None, settings: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """The settings asked for, nested: those of the call over those of the config file; and the file's `init`."""
    from selfattn_lm.runs import read_config

    asked = nest(settings)
    if source is not None:
        asked = merge(asked, {"data": {"source": source}})
    if config is None:
        return asked, None
    file = read_config(Path(config))
    return merge(file.asked, asked), file.init


def _recorded_precision(config: Path | str | None, settings: Mapping[str, Any]) -> str:
    """The precision that the run of a config file chose by measuring, unless this call names one."""
    from selfattn_lm.runs import precision_recorded_in

    if config is None or "precision" in nest(settings).get("training", {}):
        return ""
    return precision_recorded_in(Path(config))


def _name(source: str) -> str:
    """What a run on this data is called: `ag_news` of `data/ag_news/train.csv.gz`, of `fancyzhx/ag_news`."""
    path = Path(source)
    stem = path.name.split(".")[0]
    return path.resolve().parent.name if stem == "train" else stem or path.resolve().name


def _resumed(
    out: Path | str | None, asked: Mapping[str, Any], init: Path | str | None, verb: str
) -> tuple[Path, Settings]:
    """The folder of the interrupted run and its own settings, which what is `asked` for may not contradict."""
    from selfattn_lm.runs import RunFolder, read_config

    final = settings_from(asked, "settings")
    if out is None and not final.data.source:
        raise UserError(f"{verb}: --resume needs the run folder; name it with --out.")
    name = _name(final.data.source) if verb == "train" else f"{_name(final.data.source)}-pretrained"
    folder = Path(out) if out is not None else Path("runs") / name
    config = read_config(RunFolder(folder).unfinished() / "config.yaml")
    began, now = flatten(asdict(config.settings)), flatten(asdict(final))
    for name in flatten(asked):
        if now[name] != began[name]:
            raise UserError(f"{name}: {now[name]!r} is asked, but {folder} began with {began[name]!r}; leave it out.")
    started = (config.init or {}).get("source", "scratch")
    if init is not None and str(init) != started:
        raise UserError(f"--init: {init} is asked, but {folder} began from {started}; leave it out.")
    return folder, config.settings
