"""An evaluation, as a line and as tables for the screen."""

from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


def percent(share: float) -> str:
    """0.90123 as 90.12."""
    return f"{100 * share:.2f}"


@dataclass(frozen=True)
class Evaluation:
    """Where the texts are from, the labels, the `values` that `score` gives, and the rows of other labels `skipped`.

    `columns` says in words which were read.
    """

    where: str
    labels: list[str]
    values: dict[str, Any]
    skipped: dict[str, int]
    columns: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Plain values for `metrics.json`."""
        return {**self.values, "data": self.where, "skipped": self.skipped}

    def __str__(self) -> str:
        scores = [self.values["accuracy"], self.values["macro_f1"]]
        both = [f"{percent(s['value'])} (95 %: {percent(s['low'])} to {percent(s['high'])})" for s in scores]
        rest = f"log loss {self.values['log_loss']:.4f}, {self.values['rows']:,} rows"
        return f"accuracy {both[0]}, macro-F1 {both[1]}, {rest}"

    def __rich__(self) -> RenderableType:
        """Scores with intervals, a row for each label, and where labels are taken for each other."""
        parts: list[RenderableType] = [Text(f"{self.where}: {self.values['rows']:,} rows")]
        if self.columns:
            parts.append(Text(self.columns))
        if self.skipped:
            names = ", ".join(f"{name} ({count})" for name, count in self.skipped.items())
            parts.append(Text(f"skipped rows with unknown labels: {names}"))
        fits = len(self.labels) <= 12  # a larger confusion matrix is too wide for a screen
        confusion = self._matrix() if fits else self._most_confused()
        return Group(*parts, self._scores(), self._per_class(), confusion)

    def _scores(self) -> Table:
        table = _table("", "score", "value", "95 % interval")
        for name in ("accuracy", "macro_f1"):
            value, low, high = (percent(self.values[name][key]) for key in ("value", "low", "high"))
            table.add_row(name, value, f"{low} to {high}")
        table.add_row("weighted_f1", percent(self.values["weighted_f1"]), "")
        table.add_row("log_loss", f"{self.values['log_loss']:.4f}", "")
        return table

    def _per_class(self) -> Table:
        table = _table("\nlabels", "label", "precision", "recall", "f1", "support")
        for name, row in self.values["per_class"].items():
            shares = (percent(row[key]) for key in ("precision", "recall", "f1"))
            table.add_row(Text(name), *shares, f"{row['support']:,}")
        return table

    def _matrix(self) -> Table:
        table = _table("\nconfusion: a row for each true label, a column for each predicted", "", *self.labels)
        for label, counts in zip(self.labels, self.values["confusion"], strict=True):
            table.add_row(Text(label), *map(str, counts))
        return table

    def _most_confused(self) -> Table:
        names = self.labels
        if "confusion_cells" in self.values:
            cells = [(cell["rows"], cell["true"], cell["predicted"]) for cell in self.values["confusion_cells"]]
        else:
            matrix = self.values["confusion"]
            cells = [(count, names[t], names[p]) for t, row in enumerate(matrix) for p, count in enumerate(row)]
        pairs = [(count, true, predicted) for count, true, predicted in cells if count and true != predicted]
        table = _table("\nmost often confused (all of them are in metrics.json)", "true label", "predicted", "rows")
        for count, true, predicted in sorted(pairs, key=lambda pair: -pair[0])[:10]:
            table.add_row(Text(true), Text(predicted), str(count))
        return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if i == 0 else "right")
    return table
