"""How the scores of one label per text are shown: as a line, as tables, in a model card."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from selfattn_lm.evaluation.tables import fraction_table, label_table, plain_table, with_interval
from selfattn_lm.phrases import counted

_MAX_MATRIX = 12  # labels; a larger confusion matrix is too wide for a screen
_MAX_PAIRS = 10  # of labels that are confused


def line(values: Mapping[str, Any]) -> str:
    """Write the scores as one line."""
    accuracy = with_interval(values["accuracy"], "95 %: ")
    macro_f1 = with_interval(values["macro_f1"], "95 %: ")
    log_loss = f"log loss {values['log_loss']:.4f}"
    rows = counted(values["rows"], "row")
    return f"accuracy {accuracy}, macro-F1 {macro_f1}, {log_loss}, {rows}"


def tables(values: Mapping[str, Any]) -> list[RenderableType]:
    """Write the scores, a row for each label, and which labels are confused, as tables."""
    confusion = _most_confused(values)
    if len(values["per_class"]) <= _MAX_MATRIX:
        confusion = _matrix(values)
    return [_scores(values), label_table("\nlabels", values["per_class"]), confusion]


def markdown(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the scores of several splits as a Markdown table."""
    lines = [
        "| split | rows | accuracy (95 % interval) | macro-F1 (95 % interval) | log loss |",
        "|---|---|---|---|---|",
    ]
    for split, values in scores.items():
        accuracy = with_interval(values["accuracy"])
        macro_f1 = with_interval(values["macro_f1"])
        log_loss = f"{values['log_loss']:.4f}"
        lines.append(f"| {split} | {values['rows']:,} | {accuracy} | {macro_f1} | {log_loss} |")
    return "\n".join(lines) + "\n"


def _scores(values: Mapping[str, Any]) -> Table:
    table = fraction_table(values, ("accuracy", "macro_f1"), ("weighted_f1",))
    table.add_row("log_loss", f"{values['log_loss']:.4f}", "")
    return table


def _matrix(values: Mapping[str, Any]) -> Table:
    title = "\nconfusion: a row for each true label, a column for each predicted"
    labels = list(values["per_class"])
    table = plain_table(title, "", *labels)
    for label, counts in zip(labels, values["confusion"], strict=True):
        table.add_row(Text(label), *[str(count) for count in counts])
    return table


def _most_confused(values: Mapping[str, Any]) -> Table:
    title = "\nmost often confused (all of them are in metrics.json)"
    table = plain_table(title, "true label", "predicted", "rows")
    for rows, true, predicted in _confused_pairs(values)[:_MAX_PAIRS]:
        table.add_row(Text(true), Text(predicted), str(rows))
    return table


def _confused_pairs(values: Mapping[str, Any]) -> list[tuple[int, str, str]]:
    """How many rows of which true label were predicted another one, the most frequent first."""
    pairs = []
    if "confusion_cells" in values:
        for cell in values["confusion_cells"]:
            pairs.append((-cell["rows"], cell["true"], cell["predicted"]))
    else:
        names = list(values["per_class"])
        for true, counts in zip(names, values["confusion"], strict=True):
            for predicted, rows in zip(names, counts, strict=True):
                pairs.append((-rows, true, predicted))
    pairs.sort(key=itemgetter(0))
    return [
        (-negative, true, predicted)
        for negative, true, predicted in pairs
        if negative < 0 and true != predicted
    ]
