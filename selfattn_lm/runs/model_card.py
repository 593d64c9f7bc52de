"""The model card of a run, its README.md."""

from collections.abc import Mapping
from typing import Any

from selfattn_lm.runs.run import Run


def model_card(
    name: str, run: Run, train: Mapping[str, Any], scores: Mapping[str, Any], minutes: float
) -> str:
    """Write the text of a run's `README.md`.

    Args:
        name: The name of the run.
        run: The run.
        train: The facts of the training split, as in `data.json`.
        scores: The scores of each scored split, as in `metrics.json`.
        minutes: How long training took.
    """
    model = run.resolved.model
    rows = "".join(_score_row(split, values) for split, values in scores.items())
    counts = [f"{label} ({count:,})" for label, count in train["labels"].items()]
    shape = f"{model.kind}, {model.width} wide"
    if model.kind != "bag":
        shape += f", {model.layers} layers"
    start = "It was trained from scratch."
    if run.origin is not None:
        digest = f"sha256 of its weights: `{run.origin.sha256}`"
        start = f"It started from `{run.origin}` ({digest})."
    source = run.settings.data.source or "memory"
    return f"""# {name}

A text classifier with {len(run.labels)} labels ({shape}), trained by
selfattn_lm on {train["rows"]:,} texts of `{source}` in {minutes:g} minutes. {start}

| split | rows | accuracy (95 % interval) | macro-F1 (95 % interval) | log loss |
|---|---|---|---|---|
{rows}
Texts are cut after {model.max_length} tokens, as {100 * train["texts_cut"]:.1f} % of the training texts were.

Labels and their training texts: {", ".join(counts)}.
"""


def _score_row(split: str, scores: Mapping[str, Any]) -> str:
    accuracy = _with_interval(scores["accuracy"])
    macro_f1 = _with_interval(scores["macro_f1"])
    log_loss = f"{scores['log_loss']:.4f}"
    return f"| {split} | {scores['rows']:,} | {accuracy} | {macro_f1} | {log_loss} |\n"


def _with_interval(score: Mapping[str, float]) -> str:
    value, low, high = 100 * score["value"], 100 * score["low"], 100 * score["high"]
    return f"{value:.2f} ({low:.2f} to {high:.2f})"
