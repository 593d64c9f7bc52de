"""The pictures of a study, PNG and SVG, by matplotlib."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfattn_lm.errors import UserError
from selfattn_lm.runs.files import atomic

Rows = Sequence[Mapping[str, Any]]
# Colours that colour-blind readers tell apart (Okabe & Ito 2008), a mark for each so that print needs no colour.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKS = "osD^vPX"


def require_matplotlib() -> Any:
    """Matplotlib's figure class, which needs no window."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        advice = "pip install 'selfattn_lm[study]'"
        raise UserError(f"study: the pictures need matplotlib, which is not installed; {advice}.") from None
    return Figure


def draw_comparison(rows: Rows, folder: Path) -> None:
    """Accuracy with its interval against training rows; size, training time and speed beside it."""
    figure = require_matplotlib()(figsize=(11, 6.2), layout="constrained")
    main, *small = figure.subplot_mosaic([["a", "a", "b"], ["a", "a", "c"], ["a", "a", "d"]]).values()
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    for kind, colour, mark in zip(kinds, _COLOURS, _MARKS, strict=False):
        own = [row for row in rows if row["kind"] == kind]
        x, y = [row["rows"] for row in own], [row["accuracy"] for row in own]
        main.plot(x, y, color=colour, marker=mark, label=kind)
        main.fill_between(x, [row["low"] for row in own], [row["high"] for row in own], color=colour, alpha=0.12)
        for axis, name in zip(small, ("seconds", "texts_per_s", "parameters"), strict=True):
            axis.plot(x, [row[name] for row in own], color=colour, marker=mark, markersize=4)
    ticks = sorted({int(row["rows"]) for row in rows})
    titles = ("training, seconds", "prediction, texts a second", "parameters")
    for axis, title in zip((main, *small), ("test accuracy, %, with 95 % intervals", *titles), strict=True):
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_xscale("log")
        axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=9 if axis is main else 7)
        axis.minorticks_off()
        axis.grid(alpha=0.25)
        if axis is not main:
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    main.set_xlabel("training texts")
    small[-1].set_xlabel("training texts")
    main.legend(frameon=False)
    _save(figure, folder)


def draw_probe(rows: Rows, folder: Path) -> None:
    """Accuracy against distance, a panel for each task, a line for each model."""
    tasks, kinds = (list(dict.fromkeys(row[name] for row in rows)) for name in ("task", "kind"))
    figure = require_matplotlib()(figsize=(11, 7), layout="constrained")
    panels = figure.subplots(2, (len(tasks) + 1) // 2, sharex=True, sharey=True).flat
    for axis, task in zip(panels, tasks, strict=False):
        for kind, colour, mark in zip(kinds, _COLOURS, _MARKS, strict=False):
            own = [row for row in rows if (row["task"], row["kind"]) == (task, kind)]
            axis.plot([r["distance"] for r in own], [r["accuracy"] for r in own], color=colour, marker=mark, label=kind)
        axis.axhline(50, color="grey", linestyle=":", linewidth=1)
        axis.set_title(task, loc="left", fontsize=10)
        axis.set_xscale("log", base=2)
        axis.set_xticks(sorted({row["distance"] for row in rows}), sorted({row["distance"] for row in rows}))
        axis.grid(alpha=0.25)
    figure.supxlabel("distance of the two words that decide, in words", fontsize=10)
    figure.supylabel("accuracy, %; dotted: chance; the best possible is 100", fontsize=10)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    _save(figure, folder)


def _save(figure: Any, folder: Path) -> None:
    for form in ("png", "svg"):
        with atomic(folder / f"study.{form}") as temporary:
            figure.savefig(temporary, format=form, dpi=120)
