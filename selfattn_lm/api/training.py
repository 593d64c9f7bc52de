"""What makes models: train, fit and pretrain; and study, which compares many."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfattn_lm.config import STUDIED, STUDIED_PERCENTAGES, Preset, merge, nest, settings_from
from selfattn_lm.data.python_inputs import plain_path, without_paths
from selfattn_lm.errors import UserError
from selfattn_lm.run_names import run_name, study_folder
from selfattn_lm.start import (
    add_preset,
    choose_settings,
    read_request,
    resume_run,
    start_pretraining,
    start_training,
)

if TYPE_CHECKING:
    from selfattn_lm.inference import TextClassifier
    from selfattn_lm.studies import ProbeResult, StudyResult
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
        data: A file (csv, jsonl, parquet, …), a folder, a hub name such as fancyzhx/ag_news, or
            stdlib-docs.
        config: A YAML file of settings; flags override it.
        out: The run folder; runs/NAME by default.
        init: A run folder to start from, or a BERT checkpoint (a folder or a hub name). It decides
            the architecture, the tokenizer and the initial weights.
        preset: quick trains a bag of embeddings: within a point of the default, in a quarter of
            the time or less.
        pretrain: First pretrain on the training texts by predicting masked tokens, in the folder
            of --out with -pretrained added to its name.
        resume: Continue the interrupted run in --out, with its own settings.
        overwrite: Replace an existing run folder, once the data are found good.
        settings: By name (`epochs=3`) or by section (`model={"width": 64}`).

    Returns:
        The classifier, its scores and the run folder.

    Raises:
        UserError: The data, a setting or a folder is wrong; the message says what to do.
        Interrupted: The user stopped the run before there was anything to return.
    """
    request = read_request(data, "train: data", config, settings)
    if pretrain and (init is not None or request.init is not None):
        other = "--init"
        if init is None:
            other = f"the init in {config}"
        reason = f"--pretrain and {other} both say what to start from"
        raise UserError(f"train: {reason}; leave one of them out.")

    from selfattn_lm.data.sources import load_splits
    from selfattn_lm.training import train_classifier

    if pretrain and not resume:  # before hours of pretraining, not after them
        train_split = load_splits(settings_from(request.settings, "settings").data)["train"]
        if train_split.pairs is not None:
            reason = "pretraining reads single texts, and no classifier of pairs starts from it"
            raise UserError(f"train: {reason}; leave out --pretrain.")
    if resume:
        run = resume_run("train", add_preset(preset, request.settings), out, init)
    else:
        run = start_training(
            request, preset=preset, out=out, init=init, pretrain=pretrain, overwrite=overwrite
        )
    return train_classifier(run, load_splits(run.settings.data))


def fit(
    texts: Iterable[Any],
    labels: Iterable[Any],
    *,
    pairs: Iterable[str] | None = None,
    validation: tuple[Iterable[Any], ...] | None = None,
    out: Path | str | None = None,
    init: Path | str | None = None,
    preset: Preset = "accurate",
    overwrite: bool = False,
    **settings: Any,
) -> "TextClassifier":
    """Train a classifier on texts, or on sequences of vectors, in memory.

    Texts and labels may be in a list, a generator, an array, a tensor, or a column of a data frame.
    A missing text is left out, as an empty one is. A label is a str or an integer, or a value that
    stands for one: a numpy number, a tensor with one element, a member of an enumeration. True and
    False become texts. Integer labels come back as integers in Python, and as texts in files.

    A sequence of vectors, such as frames of speech, is an array (T, F), of T vectors of F features;
    all have the same F.

    A list of labels for each text, which may be empty, trains a classifier that predicts such
    lists. More than 20 different numbers, of which some have a fraction, train a model that
    predicts a number; `task="regression"` or `task="single_label"` decides otherwise.

    Args:
        texts: The texts, or the sequences of vectors.
        labels: The label of each text, a list of its labels, or a number.
        pairs: The second text of each, to classify pairs of texts.
        validation: Texts and labels, and the second texts of pairs, by which the best weights are
            chosen; by default a fraction of `texts`.
        out: The run folder to write; None keeps the classifier in memory alone.
        init: What to start from, as in `train`.
        preset: As in `train`.
        overwrite: Replace an existing run folder.
        settings: As in `train`.

    Returns:
        The classifier.

    Raises:
        TypeError: A text or a label has no single meaning, such as a one-hot row.
        UserError: The data, a setting or a folder is wrong; the message says what to do.
        Interrupted: The user stopped the run before there was anything to return.
    """
    from selfattn_lm.data.sources import split_in_memory

    asked = nest(without_paths(settings))
    task = settings_from(asked, "settings").data.task
    splits = {"train": split_in_memory("texts", texts, labels, pairs, task)}
    if validation is not None:
        names = ["texts", "labels"]
        if pairs is not None:
            names.append("pairs")
        if not isinstance(validation, tuple | list) or len(validation) != len(names):
            raise TypeError(f"validation: give a tuple, ({', '.join(names)}).")
        columns = dict(zip(names, validation, strict=True))
        kind = splits["train"].kind
        splits["validation"] = split_in_memory("validation", **columns, task=kind)

    # These imports take seconds; wrong texts are reported before.
    from selfattn_lm.runs import find_origin
    from selfattn_lm.training import open_run, train_classifier

    origin = None
    if init is not None:
        origin = find_origin(init)
    chosen = choose_settings(asked, preset, origin)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        if out is not None:
            folder = Path(out)
        run = open_run(chosen, folder, asked=asked, origin=origin, overwrite=overwrite)
        return train_classifier(run, splits).classifier


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
    """Pretrain on texts without labels by predicting masked tokens.

    `train --init` can start from the run folder that this writes.

    Args:
        texts: A file (txt with one text per line, csv, jsonl, parquet, …), a folder or a hub name;
            it may be larger than memory.
        config: A YAML file of settings; flags override it.
        out: The run folder; runs/NAME-pretrained by default.
        resume: Continue the interrupted run in --out, with its own settings.
        overwrite: Replace an existing run folder.
        settings: By name (`epochs=3`) or by section (`model={"width": 64}`); some defaults differ
            from those of `train`.

    Returns:
        The scores and the run folder.

    Raises:
        UserError: The texts, a setting or a folder is wrong; the message says what to do.
        Interrupted: The user stopped the run before there was anything to return.
    """
    request = read_request(texts, "pretrain: texts", config, settings)
    if request.init is not None:
        reason = f"{config} says what to start from (init), but pretraining starts from scratch"
        raise UserError(f"pretrain: {reason}.")

    from selfattn_lm.data.sources import stream_texts
    from selfattn_lm.training import pretrain_model

    if resume:
        run = resume_run("pretrain", request.settings, out)
    else:
        run = start_pretraining(request, out, overwrite)
    return pretrain_model(run, partial(stream_texts, run.settings.data))


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
    """Compare attention with CNN, LSTM, bag and TF-IDF on growing parts of the training data.

    A study that was stopped is continued. `selfattn study probe` needs no data: it compares the
    models on generated texts, in which the deciding words are farther and farther apart.

    Args:
        data: A file, a folder, a hub name, stdlib-docs, or probe.
        config: A YAML file of settings; flags override it.
        out: The folder of the study; studies/NAME by default.
        kinds: Which models to compare.
        shares: How much of the training texts to use, in percent.
        seeds: The number of trainings of each model.
        settings: By name or by section; they hold for all models.

    Returns:
        The scores of all models.

    Raises:
        UserError: The data, a setting or a folder is wrong; the message says what to do.
        Interrupted: The user stopped the study; its finished parts are saved.
    """
    kinds = _as_tuple(kinds)
    shares = _as_tuple(shares)
    is_probe = data is not None and plain_path(data, "study: data") == "probe"
    if is_probe:
        request = read_request(None, "", config, settings)
    else:
        request = read_request(data, "study: data", config, settings)
    if request.init is not None:
        reason = f"{config} says what to start from (init), but a study trains from scratch"
        raise UserError(f"study: {reason}.")
    if is_probe:
        if (kinds, shares, seeds) != (STUDIED, STUDIED_PERCENTAGES, 1):
            reason = "its models are fixed; --kinds, --shares and --seeds are for a study of data"
            raise UserError(f"study probe: {reason}.")
        return _probe(request.settings, out)
    return _compare(request.settings, out, kinds, shares, seeds)


def _probe(asked: Mapping[str, Any], out: Path | str | None) -> "ProbeResult":
    """Compare the models on generated texts."""
    from selfattn_lm.studies import PROBE, probe

    chosen = settings_from(merge(PROBE, asked), "settings")
    return probe(chosen, study_folder(out, "probe"))


def _compare(
    asked: Mapping[str, Any],
    out: Path | str | None,
    kinds: Sequence[str],
    shares: Sequence[float],
    seeds: int,
) -> "StudyResult":
    """Compare the models on growing parts of a dataset."""
    chosen = settings_from(asked, "settings")
    if not chosen.data.source:
        advice = "name a file, a folder, a hub name, stdlib-docs, or probe"
        raise UserError(f"study: no data; {advice}.")

    from selfattn_lm.data.sources import load_splits
    from selfattn_lm.studies import compare

    folder = study_folder(out, run_name(chosen.data.source))
    return compare(load_splits(chosen.data), chosen, folder, kinds, shares, seeds)


def _as_tuple(values: Any) -> tuple[Any, ...]:
    """Return several values, or one of Python, as a tuple."""
    if isinstance(values, str | int | float):
        return (values,)
    return tuple(values)
