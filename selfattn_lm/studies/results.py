"""The results of a study: a table for the terminal, and files with the same rows and a figure."""

import csv
import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from selfattn_lm.runs import write_text

Rows = Sequence[Mapping[str, Any]]
Draw = Callable[[Rows, Path], None]  # draws the rows and saves the figure in the folder
_MEDIANS = ("rows", "parameters", "seconds", "texts_per_s")
_HEADINGS = [
    "kind",
    "share, %",
    "rows",
    "accuracy",
    "95 % interval",
    "spread (seeds)",
    "parameters",
    "training s",
    "texts/s",
]


@dataclass(frozen=True)
class StudyResult:
    """The results of a comparison.

    Attributes:
        folder: The folder of the study.
        cells: One for each training: `kind`, `share` (percent of the training rows), `seed` and
            the scores.
    """

    folder: Path
    cells: list[dict[str, Any]]

    def means(self) -> list[dict[str, Any]]:
        """A row for each kind and share: means over the seeds.

        Accuracy, its interval and its `spread` (the range over the seeds) are in percent.
        """
        groups: dict[tuple[float, str], list[dict[str, Any]]] = {}
        for cell in self.cells:
            groups.setdefault((cell["share"], cell["kind"]), []).append(cell)
        return [_mean(group) for group in groups.values()]

    def write(self, draw: Draw) -> None:
        """Write `results.csv`, `table.md` and the figures."""
        rows = self.means()
        _write_csv(self.folder / "results.csv", rows)
        _write_markdown(self.folder / "table.md", _HEADINGS, self._lines())
        draw(rows, self.folder)

    def _lines(self) -> list[list[str]]:
        return [_format_mean(row) for row in self.means()]

    def __rich__(self) -> Table:
        return _terminal_table(self.folder, _HEADINGS, self._lines(), text_columns=1)


def _mean(group: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean over the seeds of one kind and share."""
    accuracies = _percentages(group, "value")
    row = {
        "kind": group[0]["kind"],
        "share": group[0]["share"],
        "seeds": len(group),
        "accuracy": statistics.mean(accuracies),
        "low": statistics.mean(_percentages(group, "low")),
        "high": statistics.mean(_percentages(group, "high")),
        "spread": max(accuracies) - min(accuracies),
    }
    for name in _MEDIANS:
        if name in group[0]:
            row[name] = statistics.median(cell[name] for cell in group)
    return row


def _percentages(group: list[dict[str, Any]], name: str) -> list[float]:
    return [100 * cell["accuracy"][name] for cell in group]


def _format_mean(row: Mapping[str, Any]) -> list[str]:
    """A row of `StudyResult.means` as the cells of a table, in the order of `_HEADINGS`."""
    spread = "one seed"
    if row["seeds"] > 1:
        spread = f"{row['spread']:.2f} ({row['seeds']})"
    return [
        row["kind"],
        f"{row['share']:g}",
        f"{row['rows']:,.0f}",
        f"{row['accuracy']:.2f}",
        f"{row['low']:.2f} to {row['high']:.2f}",
        spread,
        f"{row['parameters']:,.0f}",
        f"{row['seconds']:.1f}",
        f"{row['texts_per_s']:,.0f}",
    ]


@dataclass(frozen=True)
class ProbeResult:
    """The results of a probe.

    Attributes:
        folder: The folder of the probe.
        cells: One for each training: `kind`, `seed`, and `scores` by task and distance.
    """

    folder: Path
    cells: list[dict[str, Any]]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each kind, task and distance, with accuracy and interval in percent."""
        rows = []
        for cell in self.cells:
            for score in cell["scores"]:
                row = {
                    "kind": cell["kind"],
                    "task": score["task"],
                    "distance": score["distance"],
                    "accuracy": 100 * score["value"],
                    "low": 100 * score["low"],
                    "high": 100 * score["high"],
                }
                rows.append(row)
        return rows

    def write(self, draw: Draw) -> None:
        """Write `results.csv`, `table.md` and the figures."""
        rows = self.rows()
        headings, lines = self._table()
        _write_csv(self.folder / "results.csv", rows)
        _write_markdown(self.folder / "table.md", headings, lines)
        draw(rows, self.folder)

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Headings and lines: a line for each task and kind, a column for each distance."""
        distances: set[int] = set()
        accuracies: dict[tuple[str, str], list[str]] = {}
        for row in sorted(self.rows(), key=itemgetter("distance")):
            distances.add(row["distance"])
            accuracies.setdefault((row["task"], row["kind"]), []).append(f"{row['accuracy']:.0f}")
        headings = ["task", "kind", *(f"at {distance}" for distance in sorted(distances))]
        headings.append("training s")

        seconds = {cell["kind"]: f"{cell['seconds']:.0f}" for cell in self.cells}
        lines: list[list[str]] = []
        for (task, kind), line in accuracies.items():
            lines.append([task, kind, *line, seconds[kind]])
        lines.sort(key=itemgetter(0))  # by task; the kinds of a task keep their order
        return headings, lines

    def __rich__(self) -> Table:
        headings, lines = self._table()
        return _terminal_table(self.folder, headings, lines, text_columns=2)


def _write_csv(file: Path, rows: Rows) -> None:
    columns: dict[str, None] = {}  # ordered, without duplicates
    for row in rows:
        columns.update(dict.fromkeys(row))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(file, text.getvalue())


def _write_markdown(file: Path, headings: list[str], lines: list[list[str]]) -> None:
    rule = ["---"] * len(headings)
    text = ""
    for line in [headings, rule, *lines]:
        text += f"| {' | '.join(line)} |\n"
    write_text(file, text)


def _terminal_table(
    folder: Path, headings: list[str], lines: list[list[str]], text_columns: int
) -> Table:
    """A table whose first columns hold text (aligned left) and the others numbers (right)."""
    table = Table(
        caption=f"written to {folder}: study.png, study.svg, results.csv, table.md",
        caption_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for heading in headings[:text_columns]:
        table.add_column(Text(heading))
    for heading in headings[text_columns:]:
        table.add_column(Text(heading), justify="right")
    for line in lines:
        table.add_row(*line)
    return table
