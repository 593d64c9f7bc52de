"""How the scores of several labels per text are shown: as a line, as tables, in a model card."""

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType

from selfattn_lm.evaluation.tables import fraction_table, label_table, percent, with_interval
from selfattn_lm.phrases import counted

_INTERVALS = ("micro_f1", "macro_f1")
_OTHERS = ("subset_accuracy", "mean_average_precision")


def line(values: Mapping[str, Any]) -> str:
    """Write the scores as one line."""
    micro_f1 = with_interval(values["micro_f1"], "95 %: ")
    macro_f1 = with_interval(values["macro_f1"], "95 %: ")
    subset = f"all labels right {percent(values['subset_accuracy'])}"
    rows = counted(values["rows"], "row")
    return f"micro-F1 {micro_f1}, macro-F1 {macro_f1}, {subset}, {rows}"


def tables(values: Mapping[str, Any]) -> list[RenderableType]:
    """Write the scores, and a row for each label, as tables.

    A precision, recall or F1 that is undefined, as of a label without rows, is 0, and macro-F1 is
    the mean over all labels.
    """
    scores = fraction_table(values, _INTERVALS, _OTHERS)
    title = "\nlabels (0 where a score is undefined)"
    return [scores, label_table(title, values["per_class"])]


def markdown(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the scores of several splits as a Markdown table."""
    lines = [
        "| split | rows | micro-F1 (95 % interval) | macro-F1 (95 % interval) | all labels right |",
        "|---|---|---|---|---|",
    ]
    for split, values in scores.items():
        micro_f1 = with_interval(values["micro_f1"])
        macro_f1 = with_interval(values["macro_f1"])
        subset = percent(values["subset_accuracy"])
        lines.append(f"| {split} | {values['rows']:,} | {micro_f1} | {macro_f1} | {subset} |")
    return "\n".join(lines) + "\n"
