import io
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor
from torchmetrics.classification import MulticlassF1Score, MulticlassPrecision, MulticlassRecall

from selfattn_lm import TextClassifier, UserError
from selfattn_lm.data.sources import split_in_memory
from selfattn_lm.evaluation import Evaluation, evaluate_split, write_metrics
from selfattn_lm.evaluation.tables import percent
from selfattn_lm.runs import write_json
from selfattn_lm.tasks.confusion import Confusion, wilson_interval
from selfattn_lm.tasks.scores import score_labels

NAMES = ["a", "b", "c"]


def predictions(rows: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(
        torch.tensor([0.6, 0.3, 0.1]), rows, replacement=True, generator=generator
    )
    logits = torch.randn(rows, 3, generator=generator)
    logits[torch.arange(rows), labels] += 1.0
    return logits.softmax(-1), labels


def test_scores_are_those_computed_by_hand() -> None:
    probabilities, labels = predictions(200)
    found = score_labels(probabilities, labels, NAMES, resamples=50)
    p, y = probabilities.double().numpy(), labels.numpy()
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (y, p.argmax(1)), 1)
    right, support = confusion.diagonal(), confusion.sum(1)
    precision, recall = right / confusion.sum(0), right / support
    f1 = 2 * precision * recall / (precision + recall)
    assert found["confusion"] == confusion.tolist()
    assert found["rows"] == 200
    assert found["accuracy"]["value"] == pytest.approx(right.sum() / 200, abs=1e-6)
    assert found["macro_f1"]["value"] == pytest.approx(f1.mean(), abs=1e-6)
    assert found["weighted_f1"] == pytest.approx((f1 * support).sum() / 200, abs=1e-6)
    assert found["log_loss"] == pytest.approx(-np.log(p[np.arange(200), y]).mean(), abs=1e-5)
    assert list(found["per_class"]) == NAMES
    for i, each in enumerate(found["per_class"].values()):
        assert each == pytest.approx(
            {"precision": precision[i], "recall": recall[i], "f1": f1[i], "support": support[i]},
            abs=1e-6,
        )


def test_a_label_that_is_never_predicted_scores_zero() -> None:
    probabilities = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, 0.0]])
    found = score_labels(probabilities, torch.tensor([0, 1, 2]), NAMES, resamples=10)
    assert found["per_class"]["c"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}
    assert found["macro_f1"]["value"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert np.isfinite(found["log_loss"])  # a probability of zero is not an infinite loss


@pytest.mark.parametrize("name", ["accuracy", "macro_f1"])
def test_the_interval_holds_the_value_and_narrows_with_more_rows(name: str) -> None:
    few, many = (
        score_labels(*predictions(rows), NAMES, resamples=200)[name] for rows in (60, 2000)
    )
    for found in (few, many):
        assert 0 <= found["low"] < found["value"] < found["high"] <= 1
    assert many["high"] - many["low"] < 0.5 * (few["high"] - few["low"])


def test_the_interval_is_as_wide_as_that_of_a_share() -> None:
    found = score_labels(*predictions(1000), NAMES, resamples=400)["accuracy"]
    expected = 2 * 1.96 * (found["value"] * (1 - found["value"]) / 1000) ** 0.5
    assert found["high"] - found["low"] == pytest.approx(expected, rel=0.2)


def test_scores_are_the_same_twice_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = score_labels(*predictions(80), NAMES, resamples=50)
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(6)
    assert score_labels(*predictions(80), NAMES, resamples=50) == first
    assert (
        score_labels(*predictions(80), NAMES, resamples=50, seed=1)["macro_f1"] != first["macro_f1"]
    )


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0.00"), (0.90123, "90.12"), (0.00009, "0.01"), (1, "100.00")]
)
def test_percent_has_two_decimals(share: float, text: str) -> None:
    assert percent(share) == text


def certain(predicted: list[int], labels: int) -> Tensor:
    """Probabilities of 1 for the labels predicted: (N, L)."""
    return torch.nn.functional.one_hot(torch.tensor(predicted), labels).float()


def many_labels(labels: int, rows: int) -> tuple[Tensor, Tensor]:
    """Predictions of which about seven in ten are right: (N, L), (N,)."""
    random = np.random.default_rng(0)
    true = random.integers(0, labels, rows)
    predicted = np.where(random.random(rows) < 0.7, true, random.integers(0, labels, rows))
    return certain(predicted.tolist(), labels), torch.from_numpy(true)


# Of 40 some are never seen.
@pytest.mark.parametrize(("labels", "rows"), [(2, 30), (3, 200), (40, 100)])
def test_scores_are_those_of_torchmetrics(labels: int, rows: int) -> None:
    probabilities, true = many_labels(labels, rows)
    found = score_labels(probabilities, true, [f"label {i}" for i in range(labels)], resamples=2)
    averages: Any = {"macro_f1": "macro", "weighted_f1": "weighted"}
    for name, average in averages.items():
        expected = MulticlassF1Score(labels, average=average)(probabilities, true).item()
        value = found[name]["value"] if name == "macro_f1" else found[name]
        assert value == pytest.approx(expected, abs=1e-6)
    for name, metric in (
        ("precision", MulticlassPrecision),
        ("recall", MulticlassRecall),
        ("f1", MulticlassF1Score),
    ):
        expected = metric(labels, average="none")(probabilities, true).tolist()
        assert [each[name] for each in found["per_class"].values()] == pytest.approx(
            expected, abs=1e-6
        )


@pytest.mark.parametrize(
    ("right", "rows"), [(0, 1), (1, 1), (12, 12), (0, 12), (7, 12), (1, 12), (998, 1000)]
)
def test_the_interval_of_accuracy_is_wilsons(right: int, rows: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(right, rows).proportion_ci(method="wilson")
    assert wilson_interval(right, rows) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_interval_of_accuracy_holds_the_value_for_any_number_of_rows() -> None:
    for rows in range(1, 120):
        for right in range(rows + 1):
            low, high = wilson_interval(right, rows)
            assert 0 <= low <= right / rows <= high <= 1
            assert high - low > 0.01


# In the latter case resamples lack some labels.
@pytest.mark.parametrize(("labels", "rows"), [(3, 60), (6, 20)])
def test_the_interval_of_macro_f1_is_that_of_texts_drawn_anew(labels: int, rows: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    probabilities, true = many_labels(labels, rows)
    predicted, y = probabilities.argmax(1).numpy(), true.numpy()
    value = metrics.f1_score(y, predicted, average="macro")
    random = np.random.default_rng(1)
    distances = []
    for _ in range(250):
        drawn = random.integers(0, rows, rows)
        distances.append(abs(metrics.f1_score(y[drawn], predicted[drawn], average="macro") - value))
    expected = np.quantile(distances, 0.95)
    found = score_labels(probabilities, true, [str(i) for i in range(labels)], resamples=4000)[
        "macro_f1"
    ]
    assert found["value"] == pytest.approx(value)
    assert found["high"] - value == pytest.approx(min(expected, 1 - value), rel=0.1)
    assert value - found["low"] == pytest.approx(expected, rel=0.1)


def test_a_resample_is_scored_as_the_value_is() -> None:
    # Label 2 is neither true nor predicted.
    true, predicted = (np.array([0, 0, 1, 1, 4]), np.array([0, 1, 1, 1, 3]))
    confusion = Confusion.count(true, predicted, 5)
    assert confusion.macro_f1(confusion.rows) == pytest.approx((2 / 3 + 4 / 5 + 0 + 0) / 4)
    without_the_last = np.where(confusion.true == 4, 0, confusion.rows)  # as some resamples are
    assert confusion.macro_f1(without_the_last) == pytest.approx((2 / 3 + 4 / 5) / 2)


@pytest.mark.parametrize(
    ("predicted", "true", "accuracy", "macro_f1"),
    [
        ([0] * 12, [0] * 12, 1.0, 1.0),
        ([0, 1] * 6, [0, 1] * 6, 1.0, 1.0),
        ([1, 0] * 6, [0, 1] * 6, 0.0, 0.0),
        ([0], [0], 1.0, 1.0),
        ([1], [0], 0.0, 0.0),
        ([0, 1, 0, 1, 0, 0], [0, 1, 0, 1, 0, 1], 5 / 6, (6 / 7 + 4 / 5) / 2),
        # Label 2 is predicted, never true.
        ([2, 1, 0, 1], [0, 1, 0, 1], 3 / 4, (2 / 3 + 1 + 0) / 3),
        # Label 2 is true, never predicted.
        ([0, 1, 0, 1], [0, 1, 0, 2], 3 / 4, (1 + 2 / 3 + 0) / 3),
    ],
    ids=[
        "one label",
        "all right",
        "all wrong",
        "one right",
        "one wrong",
        "two",
        "never true",
        "never predicted",
    ],
)
def test_small_and_extreme_evaluations_have_wide_and_finite_intervals(
    predicted: list[int], true: list[int], accuracy: float, macro_f1: float, tmp_path: Path
) -> None:
    found = score_labels(certain(predicted, 3), torch.tensor(true), NAMES)
    assert found["accuracy"]["value"] == pytest.approx(accuracy)
    assert found["macro_f1"]["value"] == pytest.approx(macro_f1)
    for name in ("accuracy", "macro_f1"):
        interval = found[name]
        assert 0 <= interval["low"] <= interval["value"] <= interval["high"] <= 1
        assert interval["high"] - interval["low"] > 0.2  # of 12 rows and fewer
    write_json(tmp_path / "scores.json", found)  # refuses what is not a number


def test_a_thousand_labels_take_little_memory_and_no_matrix(tmp_path: Path) -> None:
    labels = 1000
    probabilities, true = many_labels(labels, 1500)
    names = [f"label {i}" for i in range(labels)]
    tracemalloc.start()
    found = score_labels(probabilities, true, names, resamples=10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6  # bytes, as much as one matrix of all labels
    assert "confusion" not in found
    cells = {(cell["true"], cell["predicted"]): cell["rows"] for cell in found["confusion_cells"]}
    assert sum(cells.values()) == found["rows"] == 1500
    right = sum(rows for (label, predicted), rows in cells.items() if label == predicted)
    assert right / 1500 == pytest.approx(found["accuracy"]["value"])
    evaluation = Evaluation("a.csv", "single_label", found, {})
    write_metrics(tmp_path, {"test": evaluation})
    assert (tmp_path / "metrics.json").stat().st_size < 1e6
    screen = io.StringIO()
    Console(width=200, file=screen).print(evaluation)
    wrong = [(label, predicted) for label, predicted in cells if label != predicted]
    shown = screen.getvalue().split("most often confused")[1]
    assert any(label in shown and predicted in shown for label, predicted in wrong)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_json_holds_what_is_not_a_number(value: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float values"):
        write_json(tmp_path / "a.json", {"scores": [1.0, {"loss": value}]})
    assert not list(tmp_path.iterdir())


def test_a_model_that_gives_no_numbers_predicts_nothing_and_is_not_scored(run: Path) -> None:
    classifier = TextClassifier.load(run, "32")
    with torch.no_grad():
        for parameter in classifier.run.model.parameters():
            parameter.fill_(float("nan"))
    broken = TextClassifier(replace(classifier.run), "32")
    message = r"^the model computes NaN for 2 of 2 inputs, so its weights are broken; train it again with "
    with pytest.raises(UserError, match=message):
        broken.predict(["a plum", "a lake"])
    with pytest.raises(UserError, match=message):
        evaluate_split(broken, split_in_memory("texts", ["a plum", "a lake"], ["fruit", "water"]))


def test_a_certain_and_wrong_prediction_has_a_finite_loss() -> None:
    found = score_labels(certain([0, 0], 2), torch.tensor([0, 1]), ["a", "b"])
    assert found["log_loss"] == pytest.approx(-np.log(1e-12) / 2)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
