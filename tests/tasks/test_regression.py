from typing import Any

import numpy as np
import pytest
import torch
from helpers import model_config, resolved_settings
from torch.nn import functional as F

from selfattn_lm.data.examples import Split
from selfattn_lm.errors import UserError
from selfattn_lm.evaluation import VIEWS
from selfattn_lm.tasks import (
    PredictionOptions,
    Regression,
    SingleLabel,
    Task,
    choose_task,
    recorded_task,
)
from selfattn_lm.tasks.number_scores import PairedNumbers, score_numbers

TASK = Regression(mean=10.0, std=2.0)
SIGMOID = Regression(mean=0.0, std=1.0, activation="sigmoid")


def split_of(numbers: list[float], source: str = "a.csv", texts: str = "") -> Split:
    names = texts or [str(row) for row in range(len(numbers))]
    return Split.from_lists(source, names, numbers, kind="regression")


def test_a_regression_is_a_task() -> None:
    task: Task = TASK  # mypy compares the protocol
    assert task.kind == "regression"
    assert task.outputs == 1
    assert task.names == task.labels == []
    assert task.card() == "a number"
    assert task.with_decision(np.zeros((1, 1)), np.zeros(1)) is task
    assert task.unknown([1.0]) == {}
    assert task.is_known(1.0)


def test_the_scaling_is_that_of_the_training_targets() -> None:
    train = split_of([1.0, 2.0, 6.0])
    task = choose_task({"train": train, "test": split_of([100.0])})
    assert task == Regression(3.0, float(np.std([1.0, 2.0, 6.0])))
    encoded = task.encode(train.targets)
    assert encoded.dtype == np.float32, "mps has no float64"
    np.testing.assert_allclose(encoded, np.array([-2.0, -1.0, 3.0]) / task.std, rtol=1e-6)


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ([3.5, 3.5], "every row has the number 3.5; a regression needs two or more."),
        ([3.0], "every row has the number 3; a regression needs two or more."),
        (
            [1e300, -1e300],
            "of the targets, the standard deviation inf is not a number above 0;"
            " write the numbers in another unit.",
        ),
    ],
)
def test_numbers_without_a_scale_are_refused(numbers: list[float], reason: str) -> None:
    with pytest.raises(UserError) as caught:
        choose_task({"train": split_of(numbers)})
    assert str(caught.value) == f"a.csv: {reason}"


@pytest.mark.parametrize("task", [TASK, SIGMOID])
def test_a_run_records_the_task(task: Regression) -> None:
    assert recorded_task([], task.to_plain()) == task


@pytest.mark.parametrize(
    ("labels", "changes", "problem"),
    [
        (["a"], {}, "a regression has no labels, but there are 1"),
        ([], {"mean": None}, "mean None is not a number"),
        ([], {"std": True}, "std True is not a number"),
        ([], {"std": 0.0}, "the standard deviation 0.0 is not a number above 0"),
        ([], {"mean": float("nan")}, "the mean nan is not a finite number"),
        ([], {"activation": "relu"}, "the activation 'relu' is not identity or sigmoid"),
        (
            [],
            {"activation": "sigmoid"},
            "with a sigmoid, the mean must be 0 and the standard deviation 1",
        ),
    ],
)
def test_other_values_are_refused(
    labels: list[str], changes: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        recorded_task(labels, {**TASK.to_plain(), **changes})
    assert str(caught.value) == problem


@pytest.mark.parametrize("training", [True, False])
def test_the_loss_is_the_squared_error_of_standardized_numbers(training: bool) -> None:
    logits = torch.randn(7, 1, requires_grad=True)
    numbers = 10 + 2 * torch.randn(7, dtype=torch.float64)
    targets = torch.from_numpy(TASK.encode(numbers.tolist()))
    expected = F.mse_loss(logits[:, 0], ((numbers - 10) / 2).float())
    config = resolved_settings(model_config(), label_smoothing=0.2).training
    loss = TASK.training_loss(config, targets.numpy()).train(training)
    torch.testing.assert_close(loss(logits, targets), expected)
    torch.testing.assert_close(TASK.loss(logits, targets), expected)
    # In the targets' unit it is the squared error over their variance.
    predicted = TASK.activate(logits)[:, 0].double()
    torch.testing.assert_close(
        ((predicted - numbers) ** 2).mean() / 4, expected.double(), rtol=1e-5, atol=0
    )
    loss(logits, targets).backward()
    assert logits.grad is not None


def test_a_small_difference_between_large_numbers_is_encoded() -> None:
    seconds = Regression(mean=1.75e9, std=2.0)  # in float32, 128 would be the next larger number
    assert seconds.encode([1.75e9, 1.75e9 + 1, 1.75e9 + 3]).tolist() == [0.0, 0.5, 1.5]


def test_the_head_of_another_run_suits_if_it_predicts_standardized_numbers() -> None:
    assert TASK.head_problem(Regression(mean=1000.0, std=200.0)) == ""
    reason = "the model to start from predicts numbers that are not standardized"
    assert TASK.head_problem(Regression(mean=0.0, std=1.0)) == reason
    assert TASK.head_problem(SIGMOID) == reason
    labels = SingleLabel(["no", "yes"])
    assert TASK.head_problem(labels) == "the model to start from was trained for 2 labels"
    assert labels.head_problem(TASK) == "the model to start from was trained for a number"


def test_class_weights_are_refused() -> None:
    config = resolved_settings(model_config(), class_weights="balanced").training
    with pytest.raises(UserError) as caught:
        TASK.training_loss(config, np.zeros(3))
    reason = "balanced weights labels, but the targets are numbers; leave it out."
    assert str(caught.value) == f"training.class_weights: {reason}"


def test_logits_become_numbers_in_their_unit() -> None:
    logits = torch.tensor([[0.0], [1.0], [-2.5]])
    assert TASK.activate(logits).tolist() == [[10.0], [12.0], [5.0]]
    torch.testing.assert_close(SIGMOID.activate(logits), logits.sigmoid())
    years = Regression(2019.0, 1.0).activate(torch.zeros(1, 1, dtype=torch.bfloat16))
    assert years.item() == 2019.0
    outputs = np.array([[1.5], [2.25]], dtype=np.float32)
    assert TASK.decide(outputs) == [1.5, 2.25]


def test_a_file_of_predictions_has_one_column_more() -> None:
    options = PredictionOptions()
    assert TASK.columns(options) == {"prediction": float}
    assert TASK.column_values(options, np.array([1 / 3], dtype=np.float32)) == [0.3333333]


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        (PredictionOptions(top_k=2), "--top-k"),
        (PredictionOptions(probabilities=True), "--probabilities"),
        (PredictionOptions(min_probability=0.5), "--min-probability"),
    ],
)
def test_what_labels_alone_have_is_refused(options: PredictionOptions, flag: str) -> None:
    with pytest.raises(UserError) as caught:
        TASK.columns(options)
    reason = "the run predicts a number, which has no probabilities; leave it out."
    assert str(caught.value) == f"{flag}: {reason}"


def test_the_scores_are_those_of_scikit_learn_and_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    targets = random.integers(1, 6, 200).astype(float)  # with many ties
    predictions = (targets + random.normal(size=200)).round(1)
    found = TASK.score(predictions[:, None], TASK.encode(targets.tolist()))
    expected = {
        "mae": sklearn_metrics.mean_absolute_error(targets, predictions),
        "rmse": sklearn_metrics.root_mean_squared_error(targets, predictions),
        "r2": sklearn_metrics.r2_score(targets, predictions),
        "pearson": stats.pearsonr(targets, predictions).statistic,
        "spearman": stats.spearmanr(targets, predictions).statistic,
    }
    for name, value in expected.items():
        assert found[name]["value"] == pytest.approx(value, abs=1e-12)
        assert found[name]["low"] < value < found[name]["high"]
    always_ten = np.full(200, 10.0)
    assert found["baseline"] == {
        "mae": pytest.approx(sklearn_metrics.mean_absolute_error(targets, always_ten)),
        "rmse": pytest.approx(sklearn_metrics.root_mean_squared_error(targets, always_ten)),
    }
    assert found["undefined"] == []
    assert found["rows"] == 200
    assert "baseline" not in SIGMOID.score(predictions[:, None], targets)


def test_a_resample_is_scored_as_if_its_rows_were_written_out() -> None:
    random = np.random.default_rng(1)
    targets = random.integers(0, 4, 30).astype(float)
    predictions = random.integers(0, 5, 30).astype(float)
    rows = random.integers(30, size=30)
    written_out = PairedNumbers(predictions[rows], targets[rows]).scores()
    counted = PairedNumbers(predictions, targets).scores(np.bincount(rows, minlength=30))
    assert counted == pytest.approx(written_out)


def test_the_interval_of_the_mean_error_is_that_of_the_normal_distribution() -> None:
    # For many rows the bootstrap of a mean agrees with mean ± 1.96 standard errors.
    random = np.random.default_rng(2)
    targets = random.normal(size=2000)
    predictions = targets + random.normal(size=2000)
    score: Any = score_numbers(predictions, targets, None)["mae"]
    standard_error = np.abs(predictions - targets).std() / 2000**0.5
    half_width = (score["high"] - score["low"]) / 2
    assert half_width == pytest.approx(1.96 * standard_error, rel=0.1)


def test_the_scores_of_a_constant_are_said_to_be_undefined() -> None:
    found = TASK.score(np.full((4, 1), 0.1), np.array([1.0, 2.0, 3.0, 4.0]))
    assert found["undefined"] == ["pearson", "spearman"]
    assert found["pearson"] == found["spearman"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    remark = "all predictions are equal, so Pearson, Spearman are undefined and 0"
    assert VIEWS["regression"].line(found).endswith(remark)
    found = TASK.score(np.array([[1.0], [2.0]]), np.array([0.1, 0.1]))
    assert found["undefined"] == ["r2", "pearson", "spearman"]
    assert found["r2"]["value"] == 0.0
    remark = "all targets are equal, so R², Pearson, Spearman are undefined and 0"
    assert VIEWS["regression"].line(found).endswith(remark)


def test_the_scores_of_validations_are_those_of_all_batches_together() -> None:
    logits, targets = torch.randn(20, 1), 10 + torch.randn(20, dtype=torch.float64)
    collection = TASK.metrics()
    for part in (slice(0, 13), slice(13, 20)):
        collection.update(logits[part], targets[part])
    outputs = TASK.activate(logits)
    expected = TASK.score(outputs.numpy(), targets.numpy())
    found = collection.compute()
    assert set(found) == set(TASK.scores)
    for name, value in found.items():
        assert float(value) == pytest.approx(expected[name]["value"], abs=1e-5)
    collection.reset()
    collection.update(logits[:1], targets[:1])
    assert [float(value) for value in collection.compute().values()] == [0.0, 0.0, 0.0]


def test_the_facts_and_the_summary_name_the_range_and_the_mean() -> None:
    numbers = [1.0, 2.0, 6.0]
    std = float(np.std(numbers))
    expected = {"target": {"min": 1.0, "max": 6.0, "mean": 3.0, "std": std}}
    assert TASK.describe(numbers) == expected
    advice = "--data.task single_label takes the values as labels"
    assert TASK.summary(numbers) == f"target      a number, 1 to 6, mean 3; {advice}"


def test_held_out_rows_are_spread_over_the_range() -> None:
    numbers = np.random.default_rng(3).permutation(100).astype(float)
    rows = TASK.hold_out(numbers.tolist(), 0.1, seed=0)
    assert rows == sorted(rows)
    # One of each tenth of the numbers.
    assert sorted((numbers[rows] // 10).tolist()) == list(range(10))
    assert TASK.hold_out(numbers.tolist(), 0.1, seed=0) == rows
    assert TASK.hold_out(numbers.tolist(), 0.1, seed=1) != rows


def test_a_row_is_always_left_to_train_on() -> None:
    assert len(TASK.hold_out([1.0, 2.0], 0.9, seed=0)) == 1
    assert len(TASK.hold_out([1.0, 2.0, 3.0], 0.01, seed=0)) == 1
    assert TASK.hold_out([1.0], 0.5, seed=0) == []


def test_a_few_rows_of_each_label_cannot_be_chosen_of_numbers() -> None:
    with pytest.raises(UserError) as caught:
        TASK.few_shot([1.0, 2.0], 5, seed=0)
    reason = "5 rows of each label, but the targets are numbers"
    assert str(caught.value) == f"data.shots: {reason}; leave it out, or give a smaller file."


def test_what_is_odd_about_numbers_is_said_a_sentence_each() -> None:
    numbers = [1.0, 5.0] * 100
    train = split_of([*numbers, 500.0, 2.0, 2.5])
    train.examples[-1] = train.examples[-2]._replace(target=2.5)
    plain = split_of(numbers)
    test = split_of([9.0, -3.0, 9.5, -40.0], "b.csv")
    farthest = "1 target more than 10 standard deviations from the mean, as far as 500"
    assert TASK.warnings({"train": train}) == [
        f"a.csv: {farthest}",
        "a.csv: 1 text with conflicting numbers",
    ]
    far = "2 of 4 test targets are far outside the training range, 1 to 5, such as 9.5"
    assert TASK.warnings({"train": plain, "test": test}) == [f"b.csv: {far}"]


def test_scores_are_shown_with_four_significant_digits() -> None:
    score = {"value": 12345.678, "low": 0.123456, "high": 999.96}
    ratio = {"value": 0.91234, "low": 0.9, "high": 0.92}
    values = {
        "mae": score,
        "rmse": score,
        "r2": ratio,
        "pearson": ratio,
        "spearman": ratio,
        "undefined": [],
        "baseline": {"mae": 0.5, "rmse": 3.25},
        "rows": 2000,
    }
    view = VIEWS["regression"]
    error = "12,346 (95 %: 0.1235 to 1,000)"
    ratios = []
    for name in ("R²", "Pearson", "Spearman"):
        ratios.append(f"{name} 0.9123 (95 %: 0.9000 to 0.9200)")
    baseline = "always the mean: MAE 0.5000, RMSE 3.250"
    scores = ", ".join([f"MAE {error}", f"RMSE {error}", *ratios])
    assert view.line(values) == f"{scores}, 2,000 rows; {baseline}"
    lines = view.markdown({"test": values}).splitlines()
    assert lines[2].startswith("| test | 2,000 | 12,346 (0.1235 to 1,000) |")
    assert lines[3:] == ["", f"test: {baseline}."]
    assert len(view.tables(values)) == 2
