"""The figures of a study, drawn with matplotlib and saved as PNG and SVG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfattn_lm.errors import UserError
from selfattn_lm.runs.files import atomic

Rows = Sequence[Mapping[str, Any]]
# Colours that colour-blind readers can tell apart (Okabe & Ito 2008), markers for black and white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vPX"
_COST_PANELS = {
    "seconds": "training, seconds",
    "texts_per_s": "prediction, texts a second",
    "parameters": "parameters",
}


def require_matplotlib() -> Any:
    """Return matplotlib's `Figure` class, which draws without a window.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        advice = "pip install 'selfattn_lm[study]'"
        raise UserError(f"study: the figures need matplotlib; {advice}.") from None
    return Figure


def draw_comparison(rows: Rows, folder: Path) -> None:
    """Draw accuracy with its interval against training rows, beside panels of costs."""
    figure = require_matplotlib()(figsize=(11, 6.2), layout="constrained")
    panels = figure.subplot_mosaic(
        [
            ["accuracy", "accuracy", "seconds"],
            ["accuracy", "accuracy", "texts_per_s"],
            ["accuracy", "accuracy", "parameters"],
        ]
    )
    main = panels["accuracy"]
    kinds = _distinct(rows, "kind")
    for kind, colour, marker in zip(kinds, _COLOURS, _MARKERS, strict=False):
        of_kind = _select(rows, "kind", kind)
        x = _column(of_kind, "rows")
        main.plot(x, _column(of_kind, "accuracy"), color=colour, marker=marker, label=kind)
        low, high = _column(of_kind, "low"), _column(of_kind, "high")
        main.fill_between(x, low, high, color=colour, alpha=0.12)
        for name in _COST_PANELS:
            y = _column(of_kind, name)
            panels[name].plot(x, y, color=colour, marker=marker, markersize=4)

    ticks = sorted(int(count) for count in _distinct(rows, "rows"))
    _label_axis(main, "test accuracy, %, with 95 % intervals", ticks, tick_size=9)
    for name, title in _COST_PANELS.items():
        _label_axis(panels[name], title, ticks, tick_size=7)
        panels[name].set_yscale("log")
        panels[name].yaxis.set_major_formatter(_format_tick)
    main.set_xlabel("training texts")
    panels["parameters"].set_xlabel("training texts")
    main.legend(frameon=False)
    _save(figure, folder)


def draw_probe(rows: Rows, folder: Path) -> None:
    """Draw accuracy against distance: a panel for each task, a line for each kind of model."""
    tasks = _distinct(rows, "task")
    kinds = _distinct(rows, "kind")
    distances = sorted(_distinct(rows, "distance"))
    figure = require_matplotlib()(figsize=(11, 7), layout="constrained")
    panels = figure.subplots(2, (len(tasks) + 1) // 2, sharex=True, sharey=True).flat
    for axis, task in zip(panels, tasks, strict=False):
        of_task = _select(rows, "task", task)
        for kind, colour, marker in zip(kinds, _COLOURS, _MARKERS, strict=False):
            line = _select(of_task, "kind", kind)
            x, y = _column(line, "distance"), _column(line, "accuracy")
            axis.plot(x, y, color=colour, marker=marker, label=kind)
        axis.axhline(50, color="grey", linestyle=":", linewidth=1)
        axis.set_title(task, loc="left", fontsize=10)
        axis.set_xscale("log", base=2)
        axis.set_xticks(distances, distances)
        axis.grid(alpha=0.25)
    figure.supxlabel("distance of the two words that decide, in words", fontsize=10)
    figure.supylabel("accuracy, %; dotted: chance; the best possible is 100", fontsize=10)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    _save(figure, folder)


def _select(rows: Rows, name: str, value: str) -> Rows:
    return [row for row in rows if row[name] == value]


def _column(rows: Rows, name: str) -> list[Any]:
    return [row[name] for row in rows]


def _distinct(rows: Rows, name: str) -> list[Any]:
    """The distinct values of a column, in the order of their first row."""
    return list(dict.fromkeys(_column(rows, name)))


def _label_axis(axis: Any, title: str, ticks: Sequence[int], tick_size: int) -> None:
    """Give a panel its title, a logarithmic x axis with the given ticks, and a grid."""
    axis.set_title(title, loc="left", fontsize=10)
    axis.set_xscale("log")
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=tick_size)
    axis.minorticks_off()
    axis.grid(alpha=0.25)


def _format_tick(value: float, position: int) -> str:
    """Format a number of any size; matplotlib also passes the tick's position."""
    if value >= 1:
        return f"{value:,.0f}"
    return f"{value:g}"


def _save(figure: Any, folder: Path) -> None:
    for extension in ("png", "svg"):
        with atomic(folder / f"study.{extension}") as temporary:
            figure.savefig(temporary, format=extension, dpi=120)
