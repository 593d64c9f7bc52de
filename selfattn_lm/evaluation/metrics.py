"""Score a classifier on labelled texts, with 95 % intervals. N texts, L labels."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfattn_lm.data.labels import encode_labels
from selfattn_lm.data.sources import Split
from selfattn_lm.errors import UserError
from selfattn_lm.evaluation.intervals import Confusion, macro_f1_interval, wilson_interval
from selfattn_lm.evaluation.report import Evaluation
from selfattn_lm.inference import TextClassifier
from selfattn_lm.runs import write_json

_MATRIX_LABELS = 200  # a confusion matrix of more labels is not written whole


def score(
    probabilities: Tensor, labels: Tensor, names: list[str], *, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Measure predictions in plain values: the probabilities of each label (N, L) against the true labels (N,).

    `accuracy` and `macro_f1` come as `{"value", "low", "high"}`. A row of the matrix `confusion` is a true label; with
    more than 200 labels it would be all of the file, and `confusion_cells` holds what is not zero instead.
    """
    assert len(labels), "nothing to score"
    predicted = probabilities.argmax(1)
    cells = Confusion.count(labels.numpy(), predicted.numpy(), len(names))
    right, support, given = cells.per_label(cells.rows)
    precision = right / np.maximum(given, 1)  # 0 where a label is never given, or never true
    recall = right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(support + given, 1)
    per_class = {
        name: {"precision": precision[i].item(), "recall": recall[i].item(), "f1": f1[i].item(), "support": count}
        for i, (name, count) in enumerate(zip(names, support.astype(int).tolist(), strict=True))
    }
    rows, all_right = len(labels), int(right.sum())
    true_probabilities = probabilities.gather(1, labels[:, None]).double()
    return {
        "accuracy": _scored(all_right / rows, wilson_interval(all_right, rows)),
        "macro_f1": _scored(cells.macro_f1(cells.rows), macro_f1_interval(cells, resamples, seed)),
        "weighted_f1": float((f1 * support).sum() / rows),
        "log_loss": float(-true_probabilities.clamp(min=1e-12).log().mean()),
        "per_class": per_class,
        **_plain_confusion(cells, names),
        "rows": rows,
    }


def _scored(value: float, interval: tuple[float, float]) -> dict[str, float]:
    return {"value": value, "low": interval[0], "high": interval[1]}


def _plain_confusion(cells: Confusion, names: list[str]) -> dict[str, Any]:
    """The matrix, or its cells by label names, most frequent first, where the matrix would be too large."""
    if cells.labels <= _MATRIX_LABELS:
        matrix = np.zeros((cells.labels, cells.labels), dtype=np.int64)
        matrix[cells.true, cells.predicted] = cells.rows
        return {"confusion": matrix.tolist()}
    order = np.argsort(-cells.rows, kind="stable")
    triples = zip(cells.true[order].tolist(), cells.predicted[order].tolist(), cells.rows[order].tolist(), strict=True)
    return {
        "confusion_cells": [
            {"true": names[true], "predicted": names[predicted], "rows": rows} for true, predicted, rows in triples
        ]
    }


def evaluate_split(classifier: TextClassifier, split: Split, *, skip_unknown: bool = False) -> Evaluation:
    """Score a classifier on labelled texts; labels that it does not know are refused, or skipped and counted."""
    names = classifier.run.labels
    known = set(names)
    unknown = Counter(label for label in split.labels if label not in known)
    if unknown and not skip_unknown:
        found = ", ".join(f"{name!r} ({count} rows)" for name, count in unknown.most_common(10))
        raise UserError(f"{split.where}: the run does not know the labels {found}; --skip-unknown leaves them out.")
    if unknown:
        split = split.take(i for i, label in enumerate(split.labels) if label in known)
        if not len(split):
            raise UserError(f"{split.where}: the run knows none of the labels, only {', '.join(names[:10])}.")
    probabilities = torch.from_numpy(classifier.predict_proba(split.texts))
    labels = torch.from_numpy(encode_labels(split.labels, names))
    values = score(probabilities, labels, names)
    return Evaluation(split.where, names, values, dict(unknown.most_common()), split.columns)


def write_metrics(folder: Path, evaluations: Mapping[str, Evaluation], **more: Any) -> None:
    """Write `metrics.json`: the evaluation of each split, and what else there is to record."""
    write_json(folder / "metrics.json", {name: e.to_plain() for name, e in evaluations.items()} | more)
