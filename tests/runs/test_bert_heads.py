"""Heads of BERT that give several labels, a number or a score, and the runs that keep them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bert_checkpoints import TEXTS, batch, change_config, checkpoint, transformers

from selfattn_lm import TextClassifier, evaluate, export, fit
from selfattn_lm.inputs import Inputs
from selfattn_lm.runs import read_bert
from selfattn_lm.tasks import MultiLabel, Regression, Task

# The values of `config.json` for each head, its outputs, and the task.
HEADS: list[tuple[str | None, int, Task]] = [
    ("multi_label_classification", 3, MultiLabel(["LABEL_0", "LABEL_1", "LABEL_2"])),
    ("multi_label_classification", 1, MultiLabel(["LABEL_0"])),
    ("regression", 1, Regression(mean=0.0, std=1.0)),
    (None, 1, Regression(mean=0.0, std=1.0, activation="sigmoid")),
]
FAMILIES = ["Bert", "DistilBert"]


def pipeline_scores(folder: Path, texts: list[str]) -> np.ndarray:
    """The scores that `transformers` gives, by the number of their label: (N, L)."""
    pipeline = transformers.pipeline("text-classification", str(folder), top_k=None)
    numbers = pipeline.model.config.label2id
    scores = np.zeros((len(texts), len(numbers)))
    for row, found in enumerate(pipeline(texts, truncation=True)):
        for label in found:
            scores[row, numbers[label["label"]]] = label["score"]
    return scores


def numbers_of(rows: int) -> tuple[list[str], list[float]]:
    """Texts with the number of their apples, in hundreds."""
    texts = []
    numbers = []
    for row in range(rows):
        apples = row % 5
        texts.append(f"the river {'apple ' * apples}and copper {row}")
        numbers.append(100.0 * apples + 0.5)
    return texts, numbers


def fit_numbers(rows: int, **options: Any) -> TextClassifier:
    texts, numbers = numbers_of(rows)
    return fit(texts, numbers, task="regression", **options)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("problem_type", "outputs", "task"), HEADS)
def test_a_head_computes_what_it_computes_in_transformers(
    problem_type: str | None, outputs: int, task: Task, family: str, tmp_path: Path
) -> None:
    theirs = checkpoint(tmp_path, f"{family}ForSequenceClassification", labels=outputs)
    change_config(tmp_path, problem_type=problem_type)
    run = read_bert(tmp_path)
    assert run.task == task
    assert run.head_problem == ""
    ids, attention_mask, _ = batch()
    expected = theirs(ids, attention_mask=attention_mask.long()).logits
    found = run.model(Inputs(ids, attention_mask))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    ours = TextClassifier.load(tmp_path, precision="32").outputs(TEXTS)
    np.testing.assert_allclose(ours, pipeline_scores(tmp_path, TEXTS), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_number_is_exported_in_its_unit(family: str, tmp_path: Path) -> None:
    checkpoint(tmp_path / "model", f"{family}Model")
    run, exported = tmp_path / "run", tmp_path / "exported"
    fit_numbers(60, init=tmp_path / "model", out=run, epochs=2, learning_rate=0.01, pooling="cls")
    export(run, out=exported)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(exported)
    assert theirs.config.problem_type == "regression"
    assert theirs.config.num_labels == 1
    classifier = TextClassifier.load(run, precision="32")
    assert isinstance(classifier.task, Regression)
    assert classifier.task.std > 100
    ours = classifier.outputs(TEXTS)
    np.testing.assert_allclose(ours, pipeline_scores(exported, TEXTS), rtol=1e-4)
    again = TextClassifier.load(exported, precision="32")
    assert again.task == Regression(mean=0.0, std=1.0)
    np.testing.assert_allclose(again.outputs(TEXTS), ours, rtol=1e-4)


def test_several_labels_are_exported_with_their_names(tmp_path: Path) -> None:
    checkpoint(tmp_path / "model", "BertModel")
    run, exported = tmp_path / "run", tmp_path / "exported"
    texts, numbers = numbers_of(60)
    labels = []
    for number in numbers:
        labels.append([name for name in ("some", "many") if number > 100 * len(name) - 350])
    fit(texts, labels, init=tmp_path / "model", out=run, epochs=1, pooling="cls")
    export(run, out=exported)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(exported)
    assert theirs.config.problem_type == "multi_label_classification"
    ours = TextClassifier.load(run, precision="32")
    assert theirs.config.id2label == dict(enumerate(ours.labels))
    np.testing.assert_allclose(ours.outputs(TEXTS), pipeline_scores(exported, TEXTS), atol=1e-5)


def test_a_checkpoint_with_a_sigmoid_is_exported_as_one(tmp_path: Path) -> None:
    checkpoint(tmp_path / "model", "BertForSequenceClassification", labels=1)
    export(tmp_path / "model", out=tmp_path / "exported")
    expected = pipeline_scores(tmp_path / "model", TEXTS)
    np.testing.assert_allclose(pipeline_scores(tmp_path / "exported", TEXTS), expected, atol=1e-6)
    task = TextClassifier.load(tmp_path / "exported").task
    assert task == Regression(mean=0.0, std=1.0, activation="sigmoid")


def test_a_run_on_other_numbers_starts_with_the_standardized_predictions_of_the_one_before(
    tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    checkpoint(tmp_path / "model")
    first = fit_numbers(
        60, init=tmp_path / "model", out=tmp_path / "first", epochs=4, learning_rate=0.01
    )
    texts, numbers = numbers_of(60)
    frozen: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-9, "ema_decay": 0}
    said.clear()
    second = fit(
        texts[:40],
        [number / 2 + 30 for number in numbers[:40]],
        init=tmp_path / "first",
        out=tmp_path / "second",
        task="regression",
        **frozen,
    )
    assert second.task != first.task
    before = first.task.encode(first.predict(texts))
    after = second.task.encode(second.predict(texts))
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4)
    assert "new head" not in said.text


@pytest.mark.parametrize("problem_type", [None, "regression"])
def test_a_head_for_numbers_that_are_not_standardized_is_not_kept(
    problem_type: str | None, tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    checkpoint(tmp_path / "model", "BertForSequenceClassification", labels=1)
    change_config(tmp_path / "model", problem_type=problem_type)
    texts, numbers = numbers_of(30)
    fit(texts, numbers, task="regression", init=tmp_path / "model", out=tmp_path / "run", epochs=1)
    reason = "the model to start from predicts numbers that are not standardized; using a new head"
    assert reason in said.messages


def test_a_checkpoint_that_predicts_a_number_is_evaluated_without_a_baseline(
    tmp_path: Path,
) -> None:
    checkpoint(tmp_path / "model", "BertForSequenceClassification", labels=1)
    change_config(tmp_path / "model", problem_type="regression")
    rows = ["text,label", *[f"the apple {i},{i}.5" for i in range(30)]]
    (tmp_path / "data.csv").write_text("\n".join(rows) + "\n")
    evaluation = evaluate(tmp_path / "model", str(tmp_path / "data.csv"))
    assert "baseline" not in evaluation.values
    assert evaluation.values["rows"] == 30
