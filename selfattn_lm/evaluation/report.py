"""The evaluation of a split, as a line and as tables for the screen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Group, RenderableType
from rich.text import Text

from selfattn_lm.evaluation import multi_label, single_label
from selfattn_lm.phrases import counted


class View(Protocol):
    """How the scores of a kind of task are shown; a module for each kind."""

    def line(self, values: Mapping[str, Any], /) -> str:
        """Write the scores as one line."""

    def tables(self, values: Mapping[str, Any], /) -> list[RenderableType]:
        """Write the scores as tables."""

    def markdown(self, scores: Mapping[str, Mapping[str, Any]], /) -> str:
        """Write the scores of several splits as a Markdown table."""


VIEWS: Mapping[str, View] = {"single_label": single_label, "multi_label": multi_label}


@dataclass(frozen=True)
class Evaluation:
    """The scores of a split.

    Attributes:
        source: Where the split was read.
        task: The kind of the task, which knows what the values mean.
        values: The scores, as the task gives them.
        skipped: How many rows of each unknown label were left out.
        columns: Which columns were read, as a phrase.
    """

    source: str
    task: str
    values: dict[str, Any]
    skipped: dict[str, int]
    columns: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for `metrics.json`."""
        return {**self.values, "data": self.source, "skipped": self.skipped}

    def __str__(self) -> str:
        return VIEWS[self.task].line(self.values)

    def __rich__(self) -> RenderableType:
        """Show what was read, and the tables of the task."""
        rows = counted(self.values["rows"], "row")
        parts: list[RenderableType] = [Text(f"{self.source}: {rows}")]
        if self.columns:
            parts.append(Text(self.columns))
        if self.skipped:
            names = ", ".join(f"{name} ({count})" for name, count in self.skipped.items())
            parts.append(Text(f"skipped rows with unknown labels: {names}"))
        return Group(*parts, *VIEWS[self.task].tables(self.values))
