"""Scores, as a line and as tables for the screen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_MATRIX = 12  # a larger confusion matrix does not fit a screen


def percent(share: float) -> str:
    """0.90123 as 90.12."""
    return f"{100 * share:.2f}"


@dataclass(frozen=True)
class Scores:
    """Everything that is measured on one split, in plain values.

    `accuracy` and `macro_f1` hold `{"value", "low", "high"}`; a row of `confusion` is a true label, as in `labels`.
    """

    labels: list[str]
    values: dict[str, Any]

    def __str__(self) -> str:
        values = [self.values["accuracy"], self.values["macro_f1"]]
        both = [f"{percent(v['value'])} (95 %: {percent(v['low'])} to {percent(v['high'])})" for v in values]
        rest = f"log loss {self.values['log_loss']:.4f}, {self.values['rows']:,} rows"
        return f"accuracy {both[0]}, macro-F1 {both[1]}, {rest}"


def report(where: str, scores: Scores, skipped: Mapping[str, int]) -> RenderableType:
    """Scores with intervals, a row for each label, and where labels are taken for each other."""
    confusion = _matrix(scores) if len(scores.labels) <= _MATRIX else _most_confused(scores)
    parts: list[RenderableType] = [Text(f"{where}: {scores.values['rows']:,} rows"), _scores(scores)]
    if skipped:
        names = ", ".join(f"{name} ({count})" for name, count in skipped.items())
        parts.insert(1, Text(f"skipped rows with unknown labels: {names}"))
    return Group(*parts, _per_class(scores), confusion)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if i == 0 else "right")
    return table


def _scores(scores: Scores) -> Table:
    table = _table("", "score", "value", "95 % interval")
    for name in ("accuracy", "macro_f1"):
        value, low, high = (percent(scores.values[name][key]) for key in ("value", "low", "high"))
        table.add_row(name, value, f"{low} to {high}")
    table.add_row("weighted_f1", percent(scores.values["weighted_f1"]), "")
    table.add_row("log_loss", f"{scores.values['log_loss']:.4f}", "")
    return table


def _per_class(scores: Scores) -> Table:
    table = _table("\nlabels", "label", "precision", "recall", "f1", "support")
    for name, row in scores.values["per_class"].items():
        table.add_row(Text(name), *(percent(row[key]) for key in ("precision", "recall", "f1")), f"{row['support']:,}")
    return table


def _matrix(scores: Scores) -> Table:
    table = _table("\nconfusion: a row for each true label, a column for each predicted", "", *scores.labels)
    for label, counts in zip(scores.labels, scores.values["confusion"], strict=True):
        table.add_row(Text(label), *map(str, counts))
    return table


def _most_confused(scores: Scores) -> Table:
    labels, matrix = scores.labels, scores.values["confusion"]
    pairs = [(count, t, p) for t, row in enumerate(matrix) for p, count in enumerate(row) if t != p and count]
    table = _table("\nmost often confused (the whole matrix is in metrics.json)", "true label", "predicted", "rows")
    for count, true, predicted in sorted(pairs, key=lambda pair: -pair[0])[:10]:
        table.add_row(Text(labels[true]), Text(labels[predicted]), str(count))
    return table
