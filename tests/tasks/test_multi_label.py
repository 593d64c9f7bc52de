from typing import Any

import numpy as np
import pytest
import torch
from helpers import model_config, resolved_settings
from sklearn.metrics import f1_score
from torch.nn import functional as F

from selfattn_lm.data.examples import Split
from selfattn_lm.errors import UserError
from selfattn_lm.tasks import PredictionOptions, Task
from selfattn_lm.tasks.multi_label import MultiLabel, positive_weights

TASK = MultiLabel(["a", "b", "c"], thresholds=[0.5, 0.3, 0.8])
OUTPUTS = np.array([[0.6, 0.7, 0.1], [0.4, 0.2, 0.7], [0.5, 0.3, 0.8]], dtype=np.float64)


def split_of(*targets: tuple[str, ...], source: str = "a.csv", **more: Any) -> Split:
    texts = [f"text {number}" for number in range(len(targets))]
    return Split.from_lists(source, texts, targets, **more)


def test_several_labels_are_a_task() -> None:
    task: Task = TASK  # mypy compares the protocol
    assert task.kind == "multi_label"
    assert task.outputs == 3
    assert task.card() == "3 labels, several per text"


def test_labels_are_encoded_by_their_order_and_none_as_zeros() -> None:
    encoded = TASK.encode([("c", "a"), (), ("b",)])
    assert encoded.dtype == np.float32
    assert encoded.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_labels_are_decided_by_their_thresholds_the_most_probable_first() -> None:
    assert TASK.decide(OUTPUTS) == [["b", "a"], [], ["c", "a", "b"]]
    assert MultiLabel(["a", "b", "c"]).decide(OUTPUTS) == [["b", "a"], ["c"], ["c", "a"]]
    integers = MultiLabel(["1", "20"], are_integers=True)
    assert integers.decide(np.array([[0.6, 0.9]])) == [[20, 1]]


def test_unknown_labels_are_counted_and_their_texts_known_as_such() -> None:
    assert TASK.unknown([("a", "x"), ("y", "x"), ()]) == {"x": 2, "y": 1}
    assert TASK.is_known(())
    assert TASK.is_known(("a", "c"))
    assert not TASK.is_known(("a", "x"))


def test_the_labels_are_those_of_all_splits() -> None:
    train = split_of(("10", "9"), ("9",), ())
    test = split_of(("2",))
    assert MultiLabel.from_splits({"train": train, "test": test}) == MultiLabel(["2", "9", "10"])
    train = split_of(("1",), ("1", "2"), integer_labels=True)
    assert MultiLabel.from_splits({"train": train}).labels == [1, 2]


def test_a_single_label_is_enough_where_some_rows_have_none() -> None:
    train = split_of(("a",), (), ("a",), ())
    assert MultiLabel.from_splits({"train": train}) == MultiLabel(["a"])


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        ([(), ()], "no row has a label; a classifier needs rows that differ."),
        (
            [("a", "b"), ("b", "a")],
            "every row has the same labels, a, b; a classifier needs rows that differ.",
        ),
        (
            [("a",), ("b",)],
            "no two of 2 rows have a label in common; give several rows per label, or name the"
            " right column with --data.label-column.",
        ),
    ],
)
def test_rows_that_teach_nothing_are_refused(targets: list[tuple[str, ...]], reason: str) -> None:
    with pytest.raises(UserError) as caught:
        MultiLabel.from_splits({"train": split_of(*targets)})
    assert str(caught.value) == f"a.csv: {reason}"


def test_labels_are_described_with_their_rows_and_the_rows_without() -> None:
    targets = [("b", "a"), ("a",), (), ()]
    assert TASK.describe(targets) == {"labels": {"a": 2, "b": 1}, "without_labels": 2}
    assert TASK.summary(targets) == "labels      3, 0.8 per text, none in 2: a 2, b 1"
    assert TASK.summary(targets[:2]) == "labels      3, 1.5 per text: a 2, b 1"


def test_of_many_labels_the_most_frequent_and_the_rarest_are_named() -> None:
    targets = [(f"l{number}",) for number in range(12) for _ in range(20 - number)]
    task = MultiLabel([f"l{number}" for number in range(12)])
    expected = "labels      12, 1.0 per text: l0 20, l1 19, l2 18, …, l10 10, l11 9"
    assert task.summary(targets) == expected


def test_what_is_odd_about_the_labels_is_said() -> None:
    texts = ["one", "one", "two", "two", "three"]
    targets = [("a", "b"), ("b", "a"), ("a",), (), ("A", "b")]
    train = Split.from_lists("a.csv", texts, targets)
    test = split_of(("a", "z"), source="b.csv")
    assert TASK.warnings({"train": train, "test": test}) == [
        "a.csv: labels with a single training row: 'A'",
        "b.csv: never seen in train, so never predicted: 'z'",
        "a.csv: labels that look alike but count as different ones: 'A' and 'a'",
        "a.csv: 1 text with conflicting labels",
    ]


@pytest.mark.parametrize("training", [True, False])
def test_the_losses_are_those_of_torch(training: bool) -> None:
    logits = torch.randn(20, 3)
    targets = (torch.rand(20, 3) < 0.2).float()
    expected = F.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(TASK.loss(logits, targets), expected)
    config = resolved_settings(model_config(), label_smoothing=0.2).training
    loss = TASK.training_loss(config, targets.numpy()).train(training)
    torch.testing.assert_close(loss(logits, targets), expected)  # labels are not smoothed
    config = resolved_settings(model_config(), class_weights="balanced").training
    balanced = TASK.training_loss(config, targets.numpy()).train(training)
    weights = positive_weights(targets.numpy())
    expected = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights)
    torch.testing.assert_close(balanced(logits, targets), expected)
    torch.testing.assert_close(TASK.activate(logits), 1 / (1 + torch.exp(-logits)))


def test_balanced_weights_are_the_ratio_of_rows_without_and_with_a_label_up_to_ten() -> None:
    targets = np.zeros((100, 4), dtype=np.float32)
    targets[:50, 0] = 1
    targets[:20, 1] = 1
    targets[:2, 2] = 1
    assert positive_weights(targets).tolist() == [1, 4, 10, 10]


def test_validation_scores_are_those_at_the_best_single_threshold() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(300, 3, generator=generator) < torch.tensor([0.5, 0.1, 0.02])).float()
    logits = torch.randn(300, 3, generator=generator) + 2 * targets - 2
    metrics = TASK.metrics()
    for part in range(3):
        rows = slice(100 * part, 100 * part + 100)
        metrics.update(logits[rows], targets[rows])
    found = metrics.compute()
    assert tuple(found) == TASK.scores or set(found) == set(TASK.scores)
    probabilities = logits.sigmoid().numpy()
    by_threshold = []
    for threshold in np.arange(1, 100) / 100:
        predicted = probabilities >= threshold
        micro = f1_score(targets, predicted, average="micro")
        macro = f1_score(targets, predicted, average="macro", zero_division=0)
        by_threshold.append((micro, macro))
    micro, macro = max(by_threshold)
    assert float(found["micro_f1"]) == pytest.approx(micro, abs=1e-6)
    assert float(found["macro_f1"]) == pytest.approx(macro, abs=1e-6)


def test_thresholds_are_fitted_kept_and_read_back() -> None:
    random = np.random.default_rng(0)
    targets = (random.random((200, 3)) < 0.3).astype(np.float32)
    outputs = (0.3 * targets + 0.4 * random.random((200, 3))).astype(np.float32)
    fitted = MultiLabel(["a", "b", "c"]).with_decision(outputs, targets)
    scores = fitted.score(outputs, targets)
    unfitted = MultiLabel(["a", "b", "c"]).score(outputs, targets)
    assert scores["micro_f1"]["value"] > unfitted["micro_f1"]["value"]
    plain = fitted.to_plain()
    assert plain["kind"] == "multi_label"
    assert [type(value) for value in plain["thresholds"]] == [float] * 3
    assert MultiLabel.from_plain(["a", "b", "c"], plain) == fitted
    assert MultiLabel.from_plain([1, 2], {"kind": "multi_label"}) == MultiLabel(["1", "2"], True)


@pytest.mark.parametrize(
    ("thresholds", "reason"),
    [
        ([0.5], "thresholds are not a list of 2 numbers"),
        ("0.5", "thresholds are not a list of 2 numbers"),
        ([0.5, 1.5], "threshold 1.5 is not a number from 0 to 1"),
        ([0.5, float("nan")], "threshold nan is not a number from 0 to 1"),
        ([True, 0.5], "threshold True is not a number from 0 to 1"),
    ],
)
def test_recorded_thresholds_that_do_not_fit_are_refused(thresholds: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        MultiLabel.from_plain(["a", "b"], {"thresholds": thresholds})


def test_predictions_are_two_lists_and_a_probability_of_each_label() -> None:
    options = PredictionOptions(probabilities=True)
    columns = TASK.columns(options)
    assert columns == {
        "prediction": list[str],
        "probability": list[float],
        "probability:a": float,
        "probability:b": float,
        "probability:c": float,
    }
    assert TASK.column_values(options, OUTPUTS[0]) == [["b", "a"], [0.7, 0.6], 0.6, 0.7, 0.1]
    assert TASK.column_values(PredictionOptions(), OUTPUTS[1]) == [[], []]


def test_fewer_labels_are_written_where_the_user_wants_it() -> None:
    assert TASK.column_values(PredictionOptions(top_k=1), OUTPUTS[2]) == [["c"], [0.8]]
    assert TASK.column_values(PredictionOptions(top_k=5), OUTPUTS[0]) == [["b", "a"], [0.7, 0.6]]
    options = PredictionOptions(min_probability=0.5)
    assert TASK.column_values(options, OUTPUTS[2]) == [["c", "a"], [0.8, 0.5]]
