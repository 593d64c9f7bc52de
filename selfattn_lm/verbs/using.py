"""What is done with a run: evaluate, predict, export."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from selfattn_lm.config import DataConfig, Precision, Quoting
from selfattn_lm.data.columns import AUTO
from selfattn_lm.data.python_inputs import plain_path, texts_to_predict
from selfattn_lm.data.readers import format_of
from selfattn_lm.errors import UserError

if TYPE_CHECKING:
    from selfattn_lm.evaluation import Evaluation
    from selfattn_lm.inference import PredictionSummary
else:
    Evaluation = PredictionSummary = object  # cyclopts looks the annotations up

TextColumn = Annotated[Sequence[str], Parameter(name="--data.text-column")]
LabelColumn = Annotated[str, Parameter(name="--data.label-column")]
QuotingFlag = Annotated[Quoting, Parameter(name="--data.quoting")]


def export(run: Path | str, /, *, out: Path | str, format: Literal["bert"] = "bert") -> str:
    """Write a run in another format; bert is what `transformers` loads: `pipeline("text-classification", OUT)`.

    Args:
        run: The run folder, of a run that began with --init of a BERT and pools by cls.
        out: The folder to write, which must not exist or be empty.
        format: The format.
    """
    from selfattn_lm.runs import read_run, write_bert

    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists; name another folder with --out.")
    write_bert(read_run(Path(run)), folder)
    return f"written to {folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}"


def evaluate(
    run: Path | str,
    data: str | Path,
    /,
    *,
    split: str | None = None,
    out: Path | str | None = None,
    skip_unknown: bool = False,
    precision: Precision = "auto",
    text_column: TextColumn = ("auto",),
    label_column: LabelColumn = "auto",
    quoting: QuotingFlag = "auto",
    subset: Annotated[str, Parameter(name="--data.subset")] = "",
) -> Evaluation:
    """Score a run on labelled texts.

    Args:
        run: The run folder.
        data: A file, a folder, a hub name, or stdlib-docs.
        split: Which split of a folder, hub name or stdlib-docs, test by default; a file has no splits.
        out: A folder for metrics.json.
        skip_unknown: Leave out rows whose label the run does not know, and count them.
        precision: Of the encoder; auto: bf16 where it is measured to be faster, else 32; int8: on a CPU.
        text_column: Column of the text, may be given several times; by default those that the run was trained on.
        label_column: Column of the label; by default the one that the run was trained on.
        quoting: Of csv and tsv: none where a quote is a letter; auto: as the run's file, or by what gives whole rows.
        subset: Which configuration of a hub data set that has several.
    """
    from selfattn_lm.data.sources import DEFAULT_SPLIT, load_split
    from selfattn_lm.evaluation import evaluate_split, write_metrics
    from selfattn_lm.inference import TextClassifier

    named = plain_path(data, "evaluate: data")
    classifier = TextClassifier.load(run, precision)
    trained = classifier.run.resolved.data
    source = DataConfig(
        named,
        text_column=_names(text_column),
        label_column=label_column,
        quoting=_quoting(quoting, format_of(Path(named)), trained),
        subset=subset,
    )
    found = load_split(source, split, trained)
    evaluation = evaluate_split(classifier, found, skip_unknown=skip_unknown)
    if out is not None:
        write_metrics(Path(out), {split or DEFAULT_SPLIT: evaluation})
    return evaluation


def predict(
    run: Path | str,
    source: Annotated[str | Path | None, Parameter(name="FILE", allow_leading_hyphen=True)] = None,
    /,
    *,
    text: Annotated[Sequence[str], Parameter(allow_leading_hyphen=True)] = (),
    out: Path | str | None = None,
    top_k: int = 1,
    probabilities: bool = False,
    min_probability: float = 0.0,
    precision: Precision = "auto",
    text_column: TextColumn = ("auto",),
    quoting: QuotingFlag = "auto",
    input_format: Literal["txt", "csv", "tsv", "json", "jsonl"] | None = None,
    output_format: Literal["csv", "tsv", "jsonl"] = "csv",
) -> PredictionSummary:
    """Predict the label of each row of a file, or of a few texts; a bad row is reported and gets an empty prediction.

    The columns prediction, probability, prediction_2, probability_2, … are added to those of the input; where
    the input has one of these names, all added columns get _new at their end. Output is UTF-8. Rows that arrive slowly
    on standard input are predicted as they arrive, but those of csv and tsv only if the quoting is given, and those of
    json in large pieces. For texts in memory there is
    `TextClassifier.load(run).predict(texts)`, which returns the labels.

    Args:
        run: The run folder.
        source: A file, or - for standard input, one text a line.
        text: A text; may be given several times (in Python: one text, or a list of them).
        out: The file to write, csv, tsv, jsonl or parquet by its name; standard output by default.
        top_k: So many labels a text, the most probable first, or all if there are fewer.
        probabilities: Add a column probability:LABEL for each label.
        min_probability: Leave a prediction empty where it is less probable than this.
        precision: Of the encoder; auto: bf16 where it is measured to be faster, else 32; int8: on a CPU.
        text_column: Column of the text, may be given several times; by default those that the run was trained on.
        quoting: Of csv and tsv: none where a quote is a letter; auto: as the run's file, or by what gives whole rows.
        input_format: Of the input, if its name does not tell; of standard input txt, one text a line.
        output_format: Of standard output.
    """
    texts = [text] if isinstance(text, str) else texts_to_predict(text, damaged=True)
    if (source is None) == (not texts):
        raise UserError("predict: give a FILE, or - for standard input, or --text, and only one of them.")
    from selfattn_lm.inference import TextClassifier
    from selfattn_lm.inference.files import FilePredictor
    from selfattn_lm.inference.progress import row_counter
    from selfattn_lm.inference.row_source import RowSource
    from selfattn_lm.inference.writers import Target
    from selfattn_lm.tasks import PredictionOptions

    wanted = PredictionOptions(top_k, probabilities, min_probability)
    target = Target.of(out, output_format)
    classifier = TextClassifier.load(run, precision)
    if source is None:
        predictor = FilePredictor(classifier, RowSource.of_texts(texts), target, wanted, ("text",))
        return predictor.run(row_counter(target))
    path = plain_path(source, "predict: the file")
    form = input_format or format_of(Path(path))
    is_lines = form == "txt" or (form is None and path == "-")
    names = DataConfig(path, text_column=_names(text_column)).text_column
    if names == AUTO and is_lines:
        names = ("text",)  # whatever the run's column was called
    rows = RowSource.of_file(path, form, _quoting(quoting, form, classifier.run.resolved.data))
    predictor = FilePredictor(classifier, rows, target, wanted, names)
    return predictor.run(row_counter(target))


def _names(columns: Sequence[str]) -> tuple[str, ...]:
    """The names of columns, or of one column, as Python code may have it."""
    return (columns,) if isinstance(columns, str) else tuple(columns)


def _quoting(asked: Quoting, form: str | None, trained: DataConfig) -> Quoting:
    """The quoting that is asked for, else the one with which the run read files of this format."""
    trained_on = format_of(Path(trained.source))
    return trained.quoting if asked == "auto" and trained_on in (form, None) else asked
