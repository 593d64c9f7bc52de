import numpy as np
import pytest
import torch
from helpers import model_config, resolved_settings
from torch.nn import functional as F

from selfattn_lm.data.examples import Split
from selfattn_lm.tasks import SingleLabel, Task, choose_task

TASK = SingleLabel(["no", "yes"])


def test_labels_are_encoded_and_decided_by_their_order() -> None:
    assert TASK.encode(["yes", "no", "yes"]).tolist() == [1, 0, 1]
    outputs = np.array([[0.9, 0.1], [0.2, 0.8]], dtype=np.float32)
    assert TASK.decide(outputs) == ["no", "yes"]
    assert SingleLabel(["3", "10"], are_integers=True).decide(outputs) == [3, 10]
    assert TASK.unknown(["yes", "maybe", "never", "maybe"]) == {"maybe": 2, "never": 1}


def test_the_labels_are_those_of_all_splits() -> None:
    train = Split.from_lists("train", list("abcd"), ["y", "x", "y", "x"])
    test = Split.from_lists("test", ["e"], ["a"])
    assert choose_task({"train": train, "test": test}) == SingleLabel(["a", "x", "y"])


def test_the_losses_and_scores_are_those_of_torch() -> None:
    logits, targets = torch.randn(20, 2), torch.randint(2, (20,))
    torch.testing.assert_close(TASK.loss(logits, targets), F.cross_entropy(logits, targets))
    config = resolved_settings(model_config(), label_smoothing=0.2).training
    smoothed = TASK.training_loss(config, targets.numpy())(logits, targets)
    expected = F.cross_entropy(logits, targets, label_smoothing=0.2)
    torch.testing.assert_close(smoothed, expected)
    outputs = TASK.activate(logits)
    torch.testing.assert_close(outputs.sum(1), torch.ones(20))
    metrics = TASK.metrics()
    metrics.update(logits, targets)
    found = TASK.score(outputs.numpy(), targets.numpy())
    for name, value in metrics.compute().items():
        assert found[name]["value"] == pytest.approx(float(value), abs=1e-6)


def test_a_summary_of_many_labels_names_the_most_frequent_and_the_rarest() -> None:
    targets = [f"l{number}" for number in range(12) for _ in range(20 - number)]
    task = SingleLabel([f"l{number}" for number in range(12)])
    assert task.summary(targets) == "labels      12: l0 20, l1 19, l2 18, …, l10 10, l11 9"


def test_a_single_label_is_a_task() -> None:
    task: Task = TASK  # mypy compares the protocol
    assert task.kind == "single_label"
    assert task.outputs == 2
