import time

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_recall_fscore_support,
)

from selfattn_lm.evaluation import Evaluation
from selfattn_lm.evaluation.multi_label import line, markdown
from selfattn_lm.tasks.confusion import wilson_interval
from selfattn_lm.tasks.multi_metrics import BestMicroF1
from selfattn_lm.tasks.multi_scores import (
    LabelCells,
    f1_intervals,
    mean_average_precision,
    score_label_sets,
)


def some(rows: int, labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities in steps of 0.01, so that some are equal, and targets; the last label is rare."""
    random = np.random.default_rng(seed)
    targets = random.random((rows, labels)) < 0.5 / np.arange(1, labels + 1)
    targets[:, -1] = False
    probabilities = np.clip(0.3 * targets + 0.6 * random.random((rows, labels)), 0, 1)
    return np.round(probabilities, 2), targets.astype(np.float32)


def test_scores_are_those_of_scikit_learn() -> None:
    probabilities, targets = some(200, 6)
    predicted = probabilities >= 0.5
    names = list("abcdef")
    found = score_label_sets(probabilities, predicted, targets, names, resamples=20)
    micro = f1_score(targets, predicted, average="micro")
    macro = f1_score(targets, predicted, average="macro", zero_division=0)
    assert found["rows"] == 200
    assert found["micro_f1"]["value"] == pytest.approx(micro)
    assert found["macro_f1"]["value"] == pytest.approx(macro)
    assert found["subset_accuracy"] == pytest.approx(accuracy_score(targets, predicted))
    expected = average_precision_score(targets[:, :-1], probabilities[:, :-1], average="macro")
    assert found["mean_average_precision"] == pytest.approx(expected)
    by_label = precision_recall_fscore_support(targets, predicted, zero_division=0)
    assert list(found["per_class"]) == names
    for number, scores in enumerate(found["per_class"].values()):
        assert list(scores) == ["precision", "recall", "f1", "support"]
        expected_scores = [values[number] for values in by_label]
        assert list(scores.values()) == pytest.approx(expected_scores)


def test_mean_average_precision_of_no_labels_is_zero() -> None:
    assert mean_average_precision(np.full((3, 2), 0.5), np.zeros((3, 2), dtype=bool)) == 0


def test_a_score_of_a_resample_is_that_of_its_rows() -> None:
    probabilities, targets = some(50, 4)
    predicted = probabilities >= 0.4
    cells = LabelCells.find(targets > 0, predicted)
    drawn = np.random.default_rng(0).integers(50, size=50)
    micro, macro = cells.f1(np.bincount(drawn, minlength=50))
    expected = f1_score(targets[drawn], predicted[drawn], average="micro")
    assert micro == pytest.approx(expected)
    expected = f1_score(targets[drawn], predicted[drawn], average="macro", zero_division=0)
    assert macro == pytest.approx(expected)


def test_intervals_contain_the_true_score_nineteen_times_in_twenty() -> None:
    probabilities, targets = some(40_000, 5, seed=1)
    predicted = probabilities >= 0.5
    true_scores = LabelCells.find(targets > 0, predicted).f1(np.ones(40_000))
    contained = np.zeros(2)
    for start in range(0, 40_000, 400):
        rows = slice(start, start + 400)
        cells = LabelCells.find(targets[rows] > 0, predicted[rows])
        for i, score in enumerate(f1_intervals(cells, 200, seed=0)):
            contained[i] += score["low"] <= true_scores[i] <= score["high"]
    assert contained / 100 == pytest.approx([0.95, 0.95], abs=0.05)


def test_where_all_is_right_the_interval_is_that_of_a_fraction_of_the_texts() -> None:
    targets = np.tile(np.eye(2, dtype=bool), (100, 1))
    micro, macro = f1_intervals(LabelCells.find(targets, targets), 50, seed=0)
    low, high = wilson_interval(200, 200)
    assert micro == macro == {"value": 1.0, "low": low, "high": high}
    micro, macro = f1_intervals(LabelCells.find(targets, ~targets), 50, seed=0)
    assert micro["value"] == macro["value"] == micro["low"] == 0
    assert micro["high"] > 0.01
    nothing = np.zeros((5, 2), dtype=bool)
    micro, _ = f1_intervals(LabelCells.find(nothing, nothing), 50, seed=0)
    assert micro["value"] == 0


def test_ninety_labels_of_three_thousand_texts_are_scored_in_seconds() -> None:
    random = np.random.default_rng(0)
    probabilities = random.random((3000, 90), dtype=np.float32)
    targets = (random.random((3000, 90)) < 0.013).astype(np.float32)
    started = time.process_time()
    names = [str(number) for number in range(90)]
    score_label_sets(probabilities, probabilities > 0.98, targets, names)
    assert time.process_time() - started < 10


def test_counts_of_several_processes_add_up() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(60, 3), (torch.rand(60, 3) < 0.3).float()
    whole = BestMicroF1(3)
    whole.update(logits, targets)
    first, second = BestMicroF1(3), BestMicroF1(3)
    first.update(logits[:25], targets[:25])
    second.update(logits[25:], targets[25:])
    first.counts += second.counts  # as `dist_reduce_fx="sum"` does
    assert torch.equal(first.counts, whole.counts)
    assert float(first.compute()) == float(whole.compute())


def test_a_validation_without_labels_scores_zero() -> None:
    metric = BestMicroF1(2)
    metric.update(torch.randn(4, 2), torch.zeros(4, 2))
    assert float(metric.compute()) == 0


def test_scores_are_shown_as_a_line_as_tables_and_in_the_model_card() -> None:
    values = {
        "micro_f1": {"value": 0.9, "low": 0.85, "high": 0.95},
        "macro_f1": {"value": 0.5, "low": 0.4, "high": 0.6},
        "subset_accuracy": 0.8,
        "mean_average_precision": 0.75,
        "per_class": {"earn": {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 1200}},
        "rows": 3019,
    }
    assert line(values) == (
        "micro-F1 90.00 (95 %: 85.00 to 95.00), macro-F1 50.00 (95 %: 40.00 to 60.00),"
        " all labels right 80.00, 3,019 rows"
    )
    assert markdown({"test": values}).splitlines()[-1] == (
        "| test | 3,019 | 90.00 (85.00 to 95.00) | 50.00 (40.00 to 60.00) | 80.00 |"
    )
    console = Console(width=80)
    with console.capture() as capture:
        console.print(Evaluation("a.csv", "multi_label", values, {}))
    assert [shown.rstrip() for shown in capture.get().splitlines()] == [
        "a.csv: 3,019 rows",
        "score                   value   95 % interval",
        "micro_f1                90.00  85.00 to 95.00",
        "macro_f1                50.00  40.00 to 60.00",
        "subset_accuracy         80.00",
        "mean_average_precision  75.00",
        "",
        "labels (0 where a score is undefined)",
        "label  precision  recall     f1  support",
        "earn      100.00   50.00  66.67    1,200",
    ]
