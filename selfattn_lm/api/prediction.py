"""What is done with a run: evaluate, predict and export."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from selfattn_lm.config import DataConfig, Precision, Quoting
from selfattn_lm.data.columns import AUTO
from selfattn_lm.data.python_inputs import plain_path, texts_to_predict
from selfattn_lm.data.readers import format_of
from selfattn_lm.errors import UserError

if TYPE_CHECKING:
    from selfattn_lm.evaluation import Evaluation
    from selfattn_lm.inference import PredictionSummary, TextClassifier
    from selfattn_lm.inference.row_source import RowSource

InputFormat = Literal["txt", "csv", "tsv", "json", "jsonl"]
OutputFormat = Literal["csv", "tsv", "jsonl"]


def evaluate(
    run: Path | str,
    data: Path | str,
    /,
    *,
    split: str | None = None,
    out: Path | str | None = None,
    skip_unknown: bool = False,
    precision: Precision = "auto",
    text_column: str | Sequence[str] = AUTO,
    label_column: str | Sequence[str] = AUTO,
    quoting: Quoting = "auto",
    subset: str = "",
) -> "Evaluation":
    """Score a run on labelled texts.

    Args:
        run: The run folder.
        data: A file, a folder, a hub name, or stdlib-docs.
        split: The split of a folder, hub name or stdlib-docs; test by default. A file has no
            splits.
        out: A folder to write metrics.json to.
        skip_unknown: Leave out rows whose label the run does not know, and count them.
        precision: Precision of the encoder; auto: bf16 where it is measured to be faster, else 32;
            int8: on a CPU.
        text_column: Column of the text; may be given several times; by default those that the run
            was trained on.
        label_column: Column of the label, or several; by default those that the run was trained on.
        quoting: Quotes in csv and tsv: standard, or none where they are ordinary characters; auto:
            as in the run's own file, or whichever gives whole rows.
        subset: The configuration of a hub dataset that has several.

    Returns:
        The scores, with their confidence intervals.

    Raises:
        UserError: The run or the data are wrong; the message says what to do.
    """
    from selfattn_lm.data.sources import DEFAULT_SPLIT, load_split
    from selfattn_lm.evaluation import evaluate_split, write_metrics
    from selfattn_lm.inference import TextClassifier

    path = plain_path(data, "evaluate: data")
    classifier = TextClassifier.load(run, precision)
    trained_on = classifier.run.resolved.data
    source = DataConfig(
        path,
        text_column=_as_names(text_column),
        label_column=_as_names(label_column),
        quoting=_choose_quoting(quoting, format_of(Path(path)), trained_on),
        subset=subset,
    )
    known = replace(trained_on, task=classifier.task.kind)  # type: ignore[arg-type]
    found = load_split(source, split, known)
    evaluation = evaluate_split(classifier, found, skip_unknown=skip_unknown)
    if out is not None:
        write_metrics(Path(out), {split or DEFAULT_SPLIT: evaluation})
    return evaluation


def predict(
    run: Path | str,
    source: Path | str | None = None,
    /,
    *,
    text: str | Sequence[str] = (),
    out: Path | str | None = None,
    top_k: int | None = None,
    probabilities: bool = False,
    min_probability: float = 0.0,
    precision: Precision = "auto",
    text_column: str | Sequence[str] = AUTO,
    quoting: Quoting = "auto",
    input_format: InputFormat | None = None,
    output_format: OutputFormat = "csv",
) -> "PredictionSummary":
    """Predict the label of each row of a file, or of a few texts.

    A bad row is reported and gets an empty prediction.

    The columns prediction, probability, prediction_2, probability_2, … are added to those of the
    input. Where the input has one of these names, all added columns end in _new. The output is
    UTF-8. Rows that arrive slowly on standard input are predicted as they arrive, except csv and
    tsv without --data.quoting, and json. For texts in memory, use
    `TextClassifier.load(run).predict(texts)`, which returns the labels.

    Args:
        run: The run folder.
        source: A file, or - for standard input, one text per line.
        text: A text; may be given several times (in Python: one text, or a list of them).
        out: The file to write: csv, tsv, jsonl or parquet, by its name; standard output by default.
        top_k: Most labels per text, the most probable first; by default one, or all that are
            predicted where texts have several.
        probabilities: Add a column probability:LABEL for each label.
        min_probability: Leave a prediction empty if its probability is below this.
        precision: Precision of the encoder; auto: bf16 where it is measured to be faster, else 32;
            int8: on a CPU.
        text_column: Column of the text; may be given several times; by default those that the run
            was trained on.
        quoting: Quotes in csv and tsv: standard, or none where they are ordinary characters; auto:
            as in the run's own file, or whichever gives whole rows.
        input_format: Format of the input, if its name does not show it; txt by default for standard
            input, one text per line.
        output_format: Format of standard output.

    Returns:
        The number of rows and of bad ones, and the added columns.

    Raises:
        UserError: The run, the input or the output is wrong; the message says what to do.
        Interrupted: The user stopped while rows were written to standard output.
    """
    if isinstance(text, str):
        texts = [text]
    else:
        texts = texts_to_predict(text, damaged=True)
    if (source is None) == (not texts):
        sources = "a FILE, or - for standard input, or --text"
        raise UserError(f"predict: give {sources}, and only one of them.")

    from selfattn_lm.inference import TextClassifier
    from selfattn_lm.inference.files import FilePredictor
    from selfattn_lm.inference.progress import row_counter
    from selfattn_lm.inference.row_source import RowSource
    from selfattn_lm.inference.writers import Target
    from selfattn_lm.tasks import PredictionOptions

    options = PredictionOptions(top_k, probabilities, min_probability)
    target = Target.of(out, output_format)
    classifier = TextClassifier.load(run, precision)
    if source is None:
        rows = RowSource.of_texts(texts)
        names: tuple[str, ...] = ("text",)
    else:
        path = plain_path(source, "predict: the file")
        rows = _open_rows(path, input_format, quoting, classifier)
        names = DataConfig(path, text_column=_as_names(text_column)).text_column
        if names == AUTO and rows.form == "txt":
            names = ("text",)  # the only column of lines, whatever the run was trained on
    predictor = FilePredictor(classifier, rows, target, options, names)
    return predictor.run(row_counter(target))


def export(run: Path | str, /, *, out: Path | str, format: Literal["bert"] = "bert") -> str:
    """Write a run in another format.

    bert is the format that `transformers` loads: `pipeline("text-classification", OUT)`.

    Args:
        run: The run folder, of a run that started with --init from a BERT and has pooling cls.
        out: The folder to write; it must be empty or not exist.
        format: The format.

    Returns:
        One sentence that names the files written.

    Raises:
        UserError: The folder exists, or the run has no such format.
    """
    from selfattn_lm.runs import read_run, write_bert

    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists; name another folder with --out.")
    write_bert(read_run(Path(run)), folder)
    files = sorted(file.name for file in folder.iterdir())
    return f"written to {folder}: {', '.join(files)}"


def _open_rows(
    path: str, form: str | None, quoting: Quoting, classifier: "TextClassifier"
) -> "RowSource":
    """Return the rows of a file or of standard input."""
    from selfattn_lm.inference.row_source import RowSource

    form = form or format_of(Path(path))
    chosen = _choose_quoting(quoting, form, classifier.run.resolved.data)
    return RowSource.of_file(path, form, chosen)


def _as_names(columns: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of columns, or the one name that Python code may give, as a tuple."""
    if isinstance(columns, str):
        return (columns,)
    return tuple(columns)


def _choose_quoting(asked: Quoting, form: str | None, trained_on: DataConfig) -> Quoting:
    """Return the quoting asked for, else that with which the run read files of this format."""
    format_trained_on = format_of(Path(trained_on.source))
    if asked == "auto" and format_trained_on in (form, None):
        return trained_on.quoting
    return asked
