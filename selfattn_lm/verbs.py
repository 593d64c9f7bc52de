"""What one can do; the command line calls the same functions. What a user can mend is a `UserError`."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from selfattn_lm.config import PRESETS, PRETRAINING, Settings, flatten, merge, nest, settings_from
from selfattn_lm.errors import UserError

if TYPE_CHECKING:
    from selfattn_lm.evaluation import Evaluation
    from selfattn_lm.inference import Predicted, TextClassifier
    from selfattn_lm.study import ProbeResult, StudyResult
    from selfattn_lm.training import PretrainResult, TrainResult
else:
    Evaluation = Predicted = PretrainResult = ProbeResult = StudyResult = TextClassifier = TrainResult = (
        object  # cyclopts looks the annotations up
    )

STUDIED, SHARES = ("attention", "cnn", "lstm", "bag", "tfidf"), (1, 3, 10, 30, 100)
Preset = Literal["accurate", "quick"]
TextColumn = Annotated[str, Parameter(name="--data.text-column")]
LabelColumn = Annotated[str, Parameter(name="--data.label-column")]


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
) -> TrainResult:
    """Train a classifier on labelled texts and write a run folder.

    Args:
        data: A file (csv, jsonl, parquet, …), a folder, a hub name such as fancyzhx/ag_news, or stdlib-docs.
        config: A YAML file of settings; flags overrule it.
        out: The run folder; runs/NAME by default.
        init: A run folder to start from: its shape, tokenizer and weights.
        preset: quick trains a bag of embeddings, nearly all of the accuracy in a quarter of the time.
        pretrain: Learn from the training texts to guess hidden words first, into --out with -pretrained added.
        resume: Go on with the interrupted run in --out, with its own settings.
        overwrite: Replace a run folder that exists, once the data is found good.
        settings: By name (`epochs=3`) or by section (`model={"width": 64}`).
    """
    from selfattn_lm.text.splits import load_splits
    from selfattn_lm.training import Session

    asked, final = _settings(data, config, settings, PRESETS[preset])
    if not final.data.source and not resume:
        raise UserError("train: no data; name a file, a folder, a hub name such as fancyzhx/ag_news, or stdlib-docs.")
    folder = Path(out) if out is not None else Path("runs") / _name(final.data.source)
    if resume:
        final = _resumed(folder, asked, final)
    if pretrain and not resume:
        init = _pretrained(folder, asked, final, overwrite)
    session = Session(final, asked, folder, init, resume=resume, overwrite=overwrite)
    return session.run(load_splits(final.data))


def _pretrained(folder: Path, asked: Mapping[str, Any], final: Settings, overwrite: bool) -> Path:
    """Pretrain with the same data, tokenizer and shape, and the training of `pretrain`; goes on if it was stopped."""
    from selfattn_lm.text.splits import stream_texts
    from selfattn_lm.training import Pretraining, refuse_to_replace

    refuse_to_replace(folder, overwrite)
    place = folder.with_name(f"{folder.name}-pretrained")
    asked = {name: values for name, values in asked.items() if name != "training"}
    settings = settings_from(merge(PRETRAINING, asked), "settings")
    begun = (place / "checkpoints" / "last.ckpt").is_file()
    result = Pretraining(settings, place, resume=begun, overwrite=overwrite).run(lambda: stream_texts(final.data))
    if result.resumable:
        raise KeyboardInterrupt(f"{place}: stopped; the same command goes on.")
    return place


def pretrain(
    texts: str | None = None,
    /,
    *,
    config: Path | str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> PretrainResult:
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

    asked, final = _settings(texts, config, settings, PRETRAINING)
    if not final.data.source and not resume:
        raise UserError("pretrain: no texts; name a file, a folder, or a hub name.")
    folder = Path(out) if out is not None else Path("runs") / f"{_name(final.data.source)}-pretrained"
    if resume:
        final = _resumed(folder, asked, final)
    session = Pretraining(final, folder, resume=resume, overwrite=overwrite)
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
) -> StudyResult | ProbeResult:
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
    final = _settings(None if generated else data, config, settings, PROBE if generated else None)[1]
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
) -> TextClassifier:
    """Train a classifier on texts in memory, with the settings of `train`, and write a run folder if `out` names one.

    The best weights are chosen by `validation`, texts and labels; a share of `texts` is held out if it is not given.
    """
    from selfattn_lm.text.splits import Split
    from selfattn_lm.training import Session

    splits = {"train": Split.in_memory("texts", texts, labels)}
    if validation is not None:
        splits["validation"] = Split.in_memory("validation", *validation)
    asked = nest(settings)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run" if out is None else Path(out)
        final = settings_from(merge(PRESETS[preset], asked), "settings")
        return Session(final, asked, folder, init, overwrite=overwrite).run(splits).classifier


def evaluate(
    run: Path | str,
    data: str,
    /,
    *,
    split: str = "test",
    out: Path | str | None = None,
    skip_unknown: bool = False,
    text_column: TextColumn = "auto",
    label_column: LabelColumn = "auto",
    subset: Annotated[str, Parameter(name="--data.subset")] = "",
) -> Evaluation:
    """Score a run on labelled texts.

    Args:
        run: The run folder.
        data: A file, a folder, a hub name, or stdlib-docs.
        split: Which split of a folder, hub name or stdlib-docs.
        out: A folder for metrics.json.
        skip_unknown: Leave out rows whose label the run does not know, and count them.
        text_column: Column of the text; by default the one that the run was trained on, if it is there.
        label_column: Column of the label.
        subset: Which configuration of a hub data set that has several.
    """
    from selfattn_lm.config import DataConfig
    from selfattn_lm.evaluation import evaluate_split, write_metrics
    from selfattn_lm.inference import TextClassifier
    from selfattn_lm.text.splits import load_split

    classifier = TextClassifier.load(run)
    source = DataConfig(str(data), text_column=text_column, label_column=label_column, subset=subset)
    found = load_split(source, split, classifier.run.in_effect.data.text_column)
    evaluation = evaluate_split(classifier, found, skip_unknown=skip_unknown)
    if out is not None:
        write_metrics(Path(out), {split: evaluation})
    return evaluation


def predict(
    run: Path | str,
    source: Annotated[str | None, Parameter(name="FILE", allow_leading_hyphen=True)] = None,
    /,
    *,
    text: Annotated[Sequence[str], Parameter(allow_leading_hyphen=True)] = (),
    out: Path | str | None = None,
    top_k: int = 1,
    probabilities: bool = False,
    min_probability: float = 0.0,
    text_column: TextColumn = "auto",
    input_format: Literal["txt", "csv", "tsv", "json", "jsonl"] | None = None,
    output_format: Literal["csv", "tsv", "jsonl"] = "csv",
) -> Predicted:
    """Predict the label of each row of a file, or of a few texts; a bad row is reported and gets an empty prediction.

    Args:
        run: The run folder.
        source: A file, or - for standard input, one text a line.
        text: A text; may be given several times.
        out: The file to write, csv, tsv, jsonl or parquet by its name; standard output by default.
        top_k: So many labels a text, the most probable first.
        probabilities: Write a column for each label's probability.
        min_probability: Leave the prediction empty where it is less probable than this.
        text_column: Column of the text; by default the one that the run was trained on, if it is there.
        input_format: Of the input, if its name does not tell.
        output_format: Of standard output.
    """
    if (source is None) == (not text):
        raise UserError("predict: give a FILE, or - for standard input, or --text, and only one of them.")
    from selfattn_lm.inference.files import Columns, Job
    from selfattn_lm.text.sources import Row, read_rows

    columns = Columns(top_k, probabilities, min_probability)
    if source is None:
        rows = (Row(i, {"text": one}) for i, one in enumerate(text, 1))
        return Job("--text", rows, columns, out, output_format, "text").run(run)
    form = input_format or ("txt" if source == "-" else None)
    return Job(source, read_rows(Path(source), form), columns, out, output_format, text_column).run(run)


def _settings(
    source: str | None, config: Path | str | None, settings: Mapping[str, Any], base: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], Settings]:
    """What is asked for, nested, and all settings: `base`, then the config file, then the call."""
    from selfattn_lm.runs import read_config

    asked = nest(settings)
    if source is not None:
        asked = merge(asked, {"data": {"source": source}})
    if config is not None:
        asked = merge(read_config(Path(config))[2], asked)
    return asked, settings_from(merge(base or {}, asked), "settings")


def _name(source: str) -> str:
    """What a run on this data is called: `ag_news` of `data/ag_news/train.csv.gz`, of `fancyzhx/ag_news`."""
    path = Path(source)
    stem = path.name.split(".")[0]
    return path.resolve().parent.name if stem == "train" else stem or path.resolve().name


def _resumed(folder: Path, asked: Mapping[str, Any], final: Settings) -> Settings:
    """The interrupted run's own settings, which those of `final` that were `asked` for may not contradict."""
    from selfattn_lm.runs import read_config

    if not (folder / "checkpoints" / "last.ckpt").is_file():
        weights = folder / "model.safetensors"
        reason = "the run is finished" if weights.is_file() else "no checkpoint of an interrupted run"
        raise UserError(f"{folder}: {reason}, so there is nothing to resume; train without --resume.")
    settings = read_config(folder / "config.yaml")[0]
    began, now = flatten(asdict(settings)), flatten(asdict(final))
    for name in flatten(asked):
        if now[name] != began[name]:
            raise UserError(f"{name}: {now[name]!r} is asked, but {folder} began with {began[name]!r}; leave it out.")
    return settings
