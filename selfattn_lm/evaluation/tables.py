"""Numbers and tables of scores, as the views of all tasks show them."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text


def percent(fraction: float) -> str:
    """Write 0.90123 as 90.12."""
    return f"{100 * fraction:.2f}"


def with_interval(score: Mapping[str, float], name: str = "") -> str:
    """Write a score with its interval, in percent."""
    low, high = percent(score["low"]), percent(score["high"])
    return f"{percent(score['value'])} ({name}{low} to {high})"


def plain_table(title: str, *columns: str) -> Table:
    """Build a table without lines, the first column to the left, the others to the right."""
    built = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        built.add_column(Text(column), justify="left" if number == 0 else "right")
    return built


def fraction_table(
    values: Mapping[str, Any], with_intervals: Sequence[str], others: Sequence[str]
) -> Table:
    """Build a table of scores that are fractions, some with their intervals, in percent."""
    table = score_table("")
    for name in with_intervals:
        score = values[name]
        interval = f"{percent(score['low'])} to {percent(score['high'])}"
        table.add_row(name, percent(score["value"]), interval)
    for name in others:
        table.add_row(name, percent(values[name]), "")
    return table


def score_table(title: str) -> Table:
    """Build a table of scores, their values and their intervals."""
    return plain_table(title, "score", "value", "95 % interval")


def label_table(title: str, per_class: Mapping[str, Mapping[str, Any]]) -> Table:
    """Write precision, recall, F1 and number of rows of each label."""
    built = plain_table(title, "label", "precision", "recall", "f1", "support")
    for name, scores in per_class.items():
        shown = [percent(scores[key]) for key in ("precision", "recall", "f1")]
        built.add_row(Text(name), *shown, f"{scores['support']:,}")
    return built
