"""What a study found: a table for the screen and for a page, and its pictures."""

import csv
import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from selfattn_lm.runs import write_text

Found = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class StudyResult:
    """The folder of a study, and its cells, each with its `kind`, `share` of train and `seed`, and its scores."""

    folder: Path
    cells: list[dict[str, Any]]

    def means(self) -> list[dict[str, Any]]:
        """A row for each kind and share: the means of its seeds, and the range of their accuracies, in percent."""
        groups: dict[tuple[float, str], list[dict[str, Any]]] = {}
        for cell in self.cells:
            groups.setdefault((cell["share"], cell["kind"]), []).append(cell)
        return [self._mean(group) for group in groups.values()]

    def _mean(self, group: list[dict[str, Any]]) -> dict[str, Any]:
        accuracies = [100 * cell["accuracy"]["value"] for cell in group]
        bounds = {end: statistics.mean(100 * cell["accuracy"][end] for cell in group) for end in ("low", "high")}
        rest = {name: statistics.median(cell[name] for cell in group) for name in _MEASURED if name in group[0]}
        place = {"kind": group[0]["kind"], "share": group[0]["share"], "seeds": len(group)}
        spread = max(accuracies) - min(accuracies)
        return {**place, "accuracy": statistics.mean(accuracies), **bounds, "spread": spread, **rest}

    def write(self, draw: Callable[[Sequence[Mapping[str, Any]], Path], None]) -> None:
        """Write `results.csv`, `table.md` and the pictures of the same rows."""
        rows = self.means()
        _write_csv(self.folder / "results.csv", rows)
        _write_markdown(self.folder / "table.md", _HEADINGS, self._lines(rows))
        draw(rows, self.folder)

    def _lines(self, rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
        return [
            [
                row["kind"],
                f"{row['share']:g}",
                f"{row['rows']:,.0f}",
                f"{row['accuracy']:.2f}",
                f"{row['low']:.2f} to {row['high']:.2f}",
                f"{row['spread']:.2f} ({row['seeds']})" if row["seeds"] > 1 else "one seed",
                f"{row['parameters']:,.0f}",
                f"{row['seconds']:.1f}",
                f"{row['texts_per_s']:,.0f}",
            ]
            for row in rows
        ]

    def __rich__(self) -> Table:
        return _screen(self.folder, _HEADINGS, self._lines(self.means()), left=1)


@dataclass(frozen=True)
class ProbeResult:
    """The folder of a probe, and its cells, each with `scores` by task and distance."""

    folder: Path
    cells: list[dict[str, Any]]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each kind, task and distance, accuracy and interval in percent."""
        return [
            {"kind": cell["kind"], "task": s["task"], "distance": s["distance"]}
            | {"accuracy": 100 * s["value"], "low": 100 * s["low"], "high": 100 * s["high"]}
            for cell in self.cells
            for s in cell["scores"]
        ]

    def write(self, draw: Callable[[Sequence[Mapping[str, Any]], Path], None]) -> None:
        """Write `results.csv`, `table.md` and the pictures."""
        rows = self.rows()
        _write_csv(self.folder / "results.csv", rows)
        _write_markdown(self.folder / "table.md", *self._table())
        draw(rows, self.folder)

    def _table(self) -> tuple[list[str], list[list[str]]]:
        distances = sorted({row["distance"] for row in self.rows()})
        lines: dict[tuple[str, str], list[str]] = {}
        for row in sorted(self.rows(), key=lambda row: row["distance"]):
            lines.setdefault((row["task"], row["kind"]), []).append(f"{row['accuracy']:.0f}")
        ordered = sorted(lines.items(), key=lambda line: line[0][0])
        seconds = {cell["kind"]: f"{cell['seconds']:.0f}" for cell in self.cells}
        head = ["task", "kind", *(f"at {distance}" for distance in distances), "training s"]
        return head, [[*names, *line, seconds[names[1]]] for names, line in ordered]

    def __rich__(self) -> Table:
        return _screen(self.folder, *self._table(), left=2)


def _write_csv(file: Path, rows: Found) -> None:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(file, out.getvalue())


def _write_markdown(file: Path, head: list[str], lines: list[list[str]]) -> None:
    table = [head, ["---"] * len(head), *lines]
    write_text(file, "".join(f"| {' | '.join(line)} |\n" for line in table))


def _screen(folder: Path, head: list[str], lines: list[list[str]], left: int) -> Table:
    caption = f"written to {folder}: study.png, study.svg, results.csv, table.md"
    table = Table(caption=caption, caption_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, name in enumerate(head):
        table.add_column(Text(name), justify="left" if i < left else "right")
    for line in lines:
        table.add_row(*line)
    return table


_MEASURED = ("rows", "parameters", "seconds", "texts_per_s")
_HEADINGS = ["kind", "share, %", "rows", "accuracy", "95 % interval", "spread (seeds)"]
_HEADINGS += ["parameters", "training s", "texts/s"]
