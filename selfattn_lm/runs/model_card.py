"""The model card of a run, its README.md."""

from collections.abc import Mapping
from typing import Any

from selfattn_lm.features.vectors import Standardization
from selfattn_lm.phrases import counted
from selfattn_lm.runs.run import Run


def model_card(
    name: str, run: Run, *, train: Mapping[str, Any], scores: str, minutes: float
) -> str:
    """Write the text of a run's `README.md`.

    Args:
        name: The name of the run.
        run: The run.
        train: The facts of the training split, as in `data.json`.
        scores: A Markdown table of the scores of each scored split.
        minutes: How long training took.
    """
    model = run.resolved.model
    assert run.task is not None, "a pretrained run has no card"
    inputs = examples = "texts"
    if run.has_vectors:
        inputs, examples = "sequences of vectors", "sequences"
    counts = [f"{label} ({count:,})" for label, count in train.get("labels", {}).items()]
    labels = ""
    if counts:
        labels = f"\nLabels and their training {examples}: {', '.join(counts)}.\n"
    shape = f"{model.kind}, {model.width} wide"
    if model.kind != "bag":
        shape += f", {counted(model.layers, 'layer')}"
    if run.model.ngrams is not None:
        shape += f", with a linear model of {len(run.model.ngrams.hashes):,} n-grams"
    start = "It was trained from scratch."
    if run.origin is not None:
        digest = f"sha256 of its weights: `{run.origin.sha256}`"
        start = f"It started from `{run.origin}` ({digest})."
    source = run.settings.data.source or "memory"
    texts_cut = f"{100 * train['texts_cut']:.1f} %"
    return f"""# {name}

A model of {inputs} ({shape}) that predicts {run.task.card()}, trained by
selfattn_lm on {train["rows"]:,} {examples} of `{source}` in {minutes:g} minutes. {start}

{scores}
{_long_inputs(run, texts_cut)}{_ngram_inputs(run)}
{labels}"""


def _ngram_inputs(run: Run) -> str:
    """Say that the n-gram branch reads whole texts, if there is one and texts may be cut."""
    if run.model.ngrams is None or run.resolved.has_pairs:
        return ""
    return "\nThe n-grams are those of whole texts."


def _long_inputs(run: Run, texts_cut: str) -> str:
    """Say what the model reads of a long input, and how many training examples were cut."""
    model = run.resolved.model
    if isinstance(run.featurizer, Standardization):
        return (
            f"Each vector has {counted(run.featurizer.features, 'feature')}, which are standardised"
            f" as in training. Sequences of more than {model.max_length} vectors\nare subsampled"
            f" to that number, as {texts_cut} of those of training were."
        )
    if model.long_texts == "windows":
        return (
            f"Texts of more than {model.max_length} tokens are read in overlapping windows, whose"
            f" logits are averaged;\nfrom {texts_cut} of the training texts some tokens were cut."
        )
    if model.long_texts == "head-tail":
        return (
            f"Of texts of more than {model.max_length} tokens the first quarter and the last three"
            f" quarters of that number are read;\n{texts_cut} of the training texts were so cut."
        )
    return (
        f"Texts are cut after {model.max_length} tokens, as {texts_cut} of the training texts were."
    )
