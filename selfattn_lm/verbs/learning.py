"""What makes a run: train, pretrain, fit; and study, which makes many."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfattn_lm.config import PRETRAINING, STUDIED, STUDIED_PERCENTAGES, Preset, Settings, merge, nest, settings_from
from selfattn_lm.data.python_inputs import without_paths
from selfattn_lm.errors import Interrupted, UserError
from selfattn_lm.verbs.starting import (
    asked_settings,
    named,
    recorded_precision,
    resumed,
    run_name,
    settings_of_run,
    with_preset,
)

if TYPE_CHECKING:
    from selfattn_lm.inference import TextClassifier
    from selfattn_lm.runs import Origin
    from selfattn_lm.study import ProbeResult, StudyResult
    from selfattn_lm.training import PretrainResult, TrainResult


def train(
    data: Path | str | None = None,
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
        preset: quick trains a bag of embeddings: within a point of the default, in a quarter of the time or less.
        pretrain: Learn from the training texts to guess hidden words first, into --out with -pretrained added.
        resume: Go on with the interrupted run in --out, with its own settings.
        overwrite: Replace a run folder that exists, once the data is found good.
        settings: By name (`epochs=3`) or by section (`model={"width": 64}`).
    """
    from selfattn_lm.data.sources import load_splits
    from selfattn_lm.runs import find_origin, find_recorded
    from selfattn_lm.training import open_run, reopen_run, train_classifier

    asked, recorded = asked_settings(named(data, "train: data"), config, settings)
    if pretrain and (init is not None or recorded is not None):
        other = "--init" if init is not None else f"the init in {config}"
        raise UserError(f"train: --pretrain and {other} both say what to start from; leave one of them out.")
    if resume:
        folder, final = resumed(out, with_preset(preset, asked), init, "train")
        run = reopen_run(final, folder)
        return train_classifier(run, load_splits(final.data))
    origin = None
    if init is not None:
        origin = find_origin(init)
    elif recorded is not None:
        origin = find_recorded(recorded, str(config))
    final = settings_of_run(asked, preset, origin, pretrain=pretrain)
    if not final.data.source:
        raise UserError("train: no data; name a file, a folder, a hub name such as fancyzhx/ag_news, or stdlib-docs.")
    folder = Path(out) if out is not None else Path("runs") / run_name(final.data.source)
    precision = recorded_precision(config, settings)
    if pretrain:
        origin = _pretrained(folder, asked, final, overwrite, precision)
    run = open_run(final, folder, asked=asked, origin=origin, overwrite=overwrite, recorded_precision=precision)
    return train_classifier(run, load_splits(final.data))


def _pretrained(folder: Path, asked: Mapping[str, Any], final: Settings, overwrite: bool, precision: str) -> "Origin":
    """Pretrain with the same data, tokenizer and shape, and the training of `pretrain`; goes on if it was stopped."""
    from selfattn_lm.data.sources import stream_texts
    from selfattn_lm.runs import LAST, RunFolder, find_origin
    from selfattn_lm.training import open_run, pretrain_model, reopen_run

    RunFolder(folder).refuse_to_replace(overwrite)
    place = folder.with_name(f"{folder.name}-pretrained")
    asked = {name: values for name, values in asked.items() if name != "training"}
    settings = settings_from(merge(PRETRAINING, asked), "settings")
    begun = any((folder / LAST).is_file() for folder in (place, RunFolder(place).work))
    if begun:
        run = reopen_run(settings, place)
    else:
        run = open_run(settings, place, overwrite=overwrite, recorded_precision=precision)
    result = pretrain_model(run, partial(stream_texts, final.data))
    if result.resumable:
        raise Interrupted(f"{place}: stopped; the same command goes on.")
    return find_origin(place)


def pretrain(
    texts: Path | str | None = None,
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
    from selfattn_lm.data.sources import stream_texts
    from selfattn_lm.training import open_run, pretrain_model, reopen_run

    asked, recorded = asked_settings(named(texts, "pretrain: texts"), config, settings)
    if recorded is not None:
        raise UserError(f"pretrain: {config} says what to start from (init), but pretraining starts from scratch.")
    if resume:
        folder, final = resumed(out, asked, None, "pretrain")
    else:
        final = settings_from(merge(PRETRAINING, asked), "settings")
        if not final.data.source:
            raise UserError("pretrain: no texts; name a file, a folder, or a hub name.")
        folder = Path(out) if out is not None else Path("runs") / f"{run_name(final.data.source)}-pretrained"
    if resume:
        run = reopen_run(final, folder)
    else:
        precision = recorded_precision(config, settings)
        run = open_run(final, folder, overwrite=overwrite, recorded_precision=precision)
    return pretrain_model(run, partial(stream_texts, final.data))


def study(
    data: Path | str | None = None,
    /,
    *,
    config: Path | str | None = None,
    out: Path | str | None = None,
    kinds: str | Sequence[str] = STUDIED,
    shares: float | Sequence[float] = STUDIED_PERCENTAGES,
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
    from selfattn_lm.data.sources import load_splits
    from selfattn_lm.study import PROBE, compare, probe

    source = named(data, "study: data")
    generated = source == "probe"
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    shares = (shares,) if isinstance(shares, int | float) else tuple(shares)
    asked, recorded = asked_settings(None if generated else source, config, settings)
    if recorded is not None:
        raise UserError(f"study: {config} says what to start from (init), but a study trains from scratch.")
    final = settings_from(merge(PROBE if generated else {}, asked), "settings")
    if not generated and not final.data.source:
        raise UserError("study: no data; name a file, a folder, a hub name, stdlib-docs, or probe.")
    folder = Path(out) if out is not None else Path("studies") / ("probe" if generated else run_name(final.data.source))
    if generated and (kinds, shares, seeds) != (STUDIED, STUDIED_PERCENTAGES, 1):
        raise UserError("study probe: its models are fixed; --kinds, --shares and --seeds are for a study of data.")
    if generated:
        return probe(final, folder)
    return compare(load_splits(final.data), final, folder, kinds, shares, seeds)


def fit(
    texts: Iterable[str],
    labels: Iterable[str | int],
    *,
    validation: tuple[Iterable[str], Iterable[str | int]] | None = None,
    out: Path | str | None = None,
    init: Path | str | None = None,
    preset: Preset = "accurate",
    overwrite: bool = False,
    **settings: Any,
) -> "TextClassifier":
    """Train a classifier on texts in memory, with the settings of `train`, and write a run folder if `out` names one.

    The best weights are chosen by `validation`, texts and labels; a share of `texts` is held out if it is not given.

    Texts and labels may be in a list, a tuple, a generator, an array, a tensor, a pandas Series or another column; a
    missing text is left out as an empty one is. A label is a str or an integer, or what stands for one: a number of
    numpy, a tensor with one element, a member of an enumeration of texts or integers, True and False (as texts). If
    all labels are integers, they come back as integers in Python; everywhere else, as in files, they are texts. What
    has no one meaning, such as one-hot rows, is a TypeError that says what to pass.
    """
    from selfattn_lm.data.sources import split_in_memory
    from selfattn_lm.runs import find_origin

    splits = {"train": split_in_memory("texts", texts, labels)}
    if validation is not None:
        if not isinstance(validation, tuple | list) or len(validation) != 2:
            raise TypeError("validation: give a pair, (texts, labels).")
        splits["validation"] = split_in_memory("validation", *validation)

    from selfattn_lm.training import (
        open_run,
        train_classifier,
    )  # takes seconds, and what is wrong with the texts is said before

    asked = nest(without_paths(settings))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run" if out is None else Path(out)
        origin = find_origin(init) if init is not None else None
        final = settings_of_run(asked, preset, origin)
        run = open_run(final, folder, asked=asked, origin=origin, overwrite=overwrite)
        return train_classifier(run, splits).classifier
