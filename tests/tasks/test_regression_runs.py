"""Runs that predict a number: trained, read, scored, and started from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import EXACT, WORDS, sentences, write_csv

from selfattn_lm import TextClassifier, fit, train
from selfattn_lm.cli import main
from selfattn_lm.errors import UserError
from selfattn_lm.tasks import Regression


def numbered(rows: int, seed: int = 0) -> tuple[list[str], list[float]]:
    """Texts and the numbers that their labels stand for, with some noise."""
    random = np.random.default_rng(seed)
    texts = []
    numbers = []
    for text, label in sentences(rows, seed):
        noise = random.normal(scale=10.0)
        texts.append(text)
        numbers.append(2000 + 100 * sorted(WORDS).index(label) + float(noise))
    return texts, numbers


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.csv and test.csv, whose targets are numbers."""
    folder = tmp_path_factory.mktemp("numbers")
    for seed, (name, rows) in enumerate((("train", 240), ("test", 60))):
        texts, numbers = numbered(rows, seed)
        cells = [str(number) for number in numbers]
        write_csv(folder / f"{name}.csv", zip(texts, cells, strict=True))
    return folder


@pytest.fixture(scope="module")
def trained_on_numbers(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(str(scored), out=tmp_path_factory.mktemp("runs") / "numbers", **EXACT).folder


def test_a_run_learns_numbers_and_says_how_well(trained_on_numbers: Path, scored: Path) -> None:
    metrics = json.loads((trained_on_numbers / "metrics.json").read_text())
    test = metrics["test"]
    assert test["r2"]["value"] > 0.9
    assert test["mae"]["value"] < 0.3 * test["baseline"]["mae"]
    assert metrics["training"]["monitor"] == "r2"
    best = metrics["training"]["best"]
    assert best == pytest.approx(metrics["validation"]["r2"]["value"], abs=1e-4)
    facts = json.loads((trained_on_numbers / "data.json").read_text())
    assert set(facts["train"]["target"]) == {"min", "max", "mean", "std"}
    assert (trained_on_numbers / "labels.json").read_text().strip() == "[]"
    assert "predicts a number" in (trained_on_numbers / "README.md").read_text()


def test_a_run_is_read_as_it_was_written(trained_on_numbers: Path, tmp_path: Path) -> None:
    classifier = TextClassifier.load(trained_on_numbers, precision="32")
    assert isinstance(classifier.task, Regression)
    texts = ["the iron of a lake", "apple and plum"]
    predicted = classifier.predict(texts)
    assert [type(number) for number in predicted] == [float, float]
    classifier.save(tmp_path / "copy")
    again = TextClassifier.load(tmp_path / "copy", precision="32")
    assert again.task == classifier.task
    assert again.predict(texts) == predicted
    with pytest.raises(UserError) as caught:
        classifier.predict_proba(texts)
    reason = "the run predicts a number, which has no probability; use `predict`."
    assert str(caught.value) == reason


def test_predictions_are_written_with_one_number_each(
    trained_on_numbers: Path, scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "predicted.csv"
    run = str(trained_on_numbers)
    assert main(["predict", run, str(scored / "test.csv"), "--out", str(out)]) == 0
    header, *rows = out.read_text().splitlines()
    assert header == "text,label,prediction"
    errors = []
    for row in rows:
        _, target, prediction = row.split(",")
        errors.append(abs(float(target) - float(prediction)))
    assert np.mean(errors) < 30
    capsys.readouterr()
    assert main(["predict", run, "--text", "iron", "--probabilities"]) == 2
    reason = "the run predicts a number, which has no probabilities; leave it out."
    assert capsys.readouterr().err == f"selfattn: --probabilities: {reason}\n"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"class_weights": "balanced"},
            "training.class_weights: balanced weights labels, but the targets are numbers;"
            " leave it out.",
        ),
        (
            {"shots": 2},
            "data.shots: 2 rows of each label, but the targets are numbers;"
            " leave it out, or give a smaller file.",
        ),
    ],
)
def test_settings_for_labels_are_refused(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        fit(*numbered(30), out=tmp_path / "run", **settings)
    assert str(caught.value) == message
    assert not (tmp_path / "run").exists()


def test_a_run_on_numbers_starts_from_a_run_on_labels_with_a_new_head(
    trained: Path, tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    fit(*numbered(30), init=trained, out=tmp_path / "run", epochs=1)
    reason = "the model to start from was trained for 3 labels; using a new head"
    assert reason in said.messages


def test_a_run_on_other_numbers_starts_with_the_standardized_predictions_of_the_one_before(
    trained_on_numbers: Path, tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    texts, numbers = numbered(60, seed=2)
    in_another_unit = [number / 1000 for number in numbers]
    nothing_learned: dict[str, Any] = {
        "epochs": 1,
        "learning_rate": 1e-9,
        "ema_decay": 0,
        "precision": "32",
    }
    run = tmp_path / "run"
    fit(texts, in_another_unit, init=trained_on_numbers, out=run, **nothing_learned)
    assert "new head" not in said.text
    first = TextClassifier.load(trained_on_numbers, precision="32")
    second = TextClassifier.load(run, precision="32")
    # Only the weights of the branches, which each run chooses by its validation split, differ.
    for name, branch in second.run.model.branches.items():
        before = first.run.model.branches[name].head.state_dict()
        torch.testing.assert_close(branch.head.state_dict(), before, atol=1e-6, rtol=0)
    mean_of_all = np.mean(second.predict(texts))
    assert mean_of_all == pytest.approx(np.mean(in_another_unit), abs=0.05)
