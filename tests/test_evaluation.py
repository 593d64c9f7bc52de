import numpy as np
import pytest
import torch
from torch import Tensor

from selfattn_lm.evaluation import score
from selfattn_lm.evaluation.report import percent

NAMES = ["a", "b", "c"]


def predictions(rows: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(torch.tensor([0.6, 0.3, 0.1]), rows, replacement=True, generator=generator)
    logits = torch.randn(rows, 3, generator=generator)
    logits[torch.arange(rows), labels] += 1.0
    return logits.softmax(-1), labels


def test_scores_are_those_computed_by_hand() -> None:
    probabilities, labels = predictions(200)
    found = score(probabilities, labels, NAMES, resamples=50)
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
            {"precision": precision[i], "recall": recall[i], "f1": f1[i], "support": support[i]}, abs=1e-6
        )


def test_a_label_that_is_never_predicted_scores_zero() -> None:
    probabilities = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, 0.0]])
    found = score(probabilities, torch.tensor([0, 1, 2]), NAMES, resamples=10)
    assert found["per_class"]["c"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}
    assert found["macro_f1"]["value"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert np.isfinite(found["log_loss"])  # a probability of zero is not an infinite loss


@pytest.mark.parametrize("name", ["accuracy", "macro_f1"])
def test_the_interval_holds_the_value_and_narrows_with_more_rows(name: str) -> None:
    few, many = (score(*predictions(rows), NAMES, resamples=200)[name] for rows in (60, 2000))
    for found in (few, many):
        assert 0 <= found["low"] < found["value"] < found["high"] <= 1
    assert many["high"] - many["low"] < 0.5 * (few["high"] - few["low"])


def test_the_interval_is_as_wide_as_that_of_a_share() -> None:
    found = score(*predictions(1000), NAMES, resamples=400)["accuracy"]
    expected = 2 * 1.96 * (found["value"] * (1 - found["value"]) / 1000) ** 0.5
    assert found["high"] - found["low"] == pytest.approx(expected, rel=0.2)


def test_scores_are_the_same_twice_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = score(*predictions(80), NAMES, resamples=50)
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(6)
    assert score(*predictions(80), NAMES, resamples=50) == first
    assert score(*predictions(80), NAMES, resamples=50, seed=1)["accuracy"] != first["accuracy"]


@pytest.mark.parametrize(("share", "text"), [(0, "0.00"), (0.90123, "90.12"), (0.00009, "0.01"), (1, "100.00")])
def test_percent_has_two_decimals(share: float, text: str) -> None:
    assert percent(share) == text
