"""How the scores of predicted numbers are shown: as a line, as tables, in a model card."""

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from selfattn_lm.evaluation.tables import score_table
from selfattn_lm.phrases import counted

# The scores as they are shown: those in the unit of the numbers, and those without a unit.
_ERRORS = {"mae": "MAE", "rmse": "RMSE"}
_RATIOS = {"r2": "R²", "pearson": "Pearson", "spearman": "Spearman"}
_NAMES = {**_ERRORS, **_RATIOS}


def line(values: Mapping[str, Any]) -> str:
    """Write the scores as one line."""
    parts = []
    for name, shown_name in _NAMES.items():
        score = values[name]
        parts.append(
            f"{shown_name} {_shown(name, score['value'])} (95 %: {_interval(name, score)})"
        )
    parts.append(counted(values["rows"], "row"))
    return "; ".join([", ".join(parts), *_remarks(values)])


def tables(values: Mapping[str, Any]) -> list[RenderableType]:
    """Write the scores as a table, and below it the scores of always predicting the mean."""
    table = score_table("")
    for name, shown_name in _NAMES.items():
        score = values[name]
        table.add_row(shown_name, _shown(name, score["value"]), _interval(name, score))
    parts: list[RenderableType] = [table]
    for remark in _remarks(values):
        parts.append(Text(remark))
    return parts


def markdown(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the scores of several splits as a Markdown table, and what is to be said of them."""
    names = [f"{name} (95 % interval)" for name in _NAMES.values()]
    lines = [f"| split | rows | {' | '.join(names)} |", "|---|---|---|---|---|---|---|"]
    remarks = []
    for split, values in scores.items():
        cells = [split, f"{values['rows']:,}"]
        for name in _NAMES:
            score = values[name]
            cells.append(f"{_shown(name, score['value'])} ({_interval(name, score)})")
        lines.append(f"| {' | '.join(cells)} |")
        for remark in _remarks(values):
            remarks += ["", f"{split}: {remark}."]
    return "\n".join([*lines, *remarks]) + "\n"


def number(value: float) -> str:
    """Write a number in the unit of the targets with four significant digits, or as a whole one."""
    if 999.95 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:#.4g}"


def _shown(name: str, value: float) -> str:
    if name in _ERRORS:
        return number(value)
    return f"{value:.4f}"


def _interval(name: str, score: Mapping[str, float]) -> str:
    return f"{_shown(name, score['low'])} to {_shown(name, score['high'])}"


def _remarks(values: Mapping[str, Any]) -> list[str]:
    """What the scores are to be compared with, and which of them are undefined."""
    remarks = []
    baseline = values.get("baseline")
    if baseline is not None:
        mae, rmse = number(baseline["mae"]), number(baseline["rmse"])
        remarks.append(f"always the mean: MAE {mae}, RMSE {rmse}")
    undefined = [_RATIOS[name] for name in values["undefined"]]
    if "r2" in values["undefined"]:
        remarks.append(f"all targets are equal, so {', '.join(undefined)} are undefined and 0")
    elif undefined:
        remarks.append(f"all predictions are equal, so {', '.join(undefined)} are undefined and 0")
    return remarks
