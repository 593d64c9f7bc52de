"""Labels that are integers in Python stay integers there, and are text in files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import SMALL, sentences, tokenizer_config, write_csv

from selfattn_lm import TextClassifier, UserError, evaluate, export, fit, predict, train
from selfattn_lm.build import build_bert
from selfattn_lm.cli import main
from selfattn_lm.config import BertConfig, ModelConfig, Settings, TokenizerConfig, resolved_from
from selfattn_lm.features.tokenizer import train_tokenizer
from selfattn_lm.runs import Run, read_run, write_run
from selfattn_lm.tasks import SingleLabel

PLAIN = ["a plum", "a lake"]
NUMBERS: dict[str, Any] = {"fruit": 10, "metal": -1, "water": 2}


@pytest.fixture(scope="module")
def integers(tmp_path_factory: pytest.TempPathFactory) -> tuple[TextClassifier, Path]:
    """Train a classifier whose labels are integers; return it and its run folder."""
    folder = tmp_path_factory.mktemp("integers") / "run"
    texts, labels = zip(*sentences(60), strict=True)
    numbers = [NUMBERS[label] for label in labels]
    validation = (np.array(texts[:9]), np.array(numbers[:9], dtype=np.int8))
    settings: dict[str, Any] = {
        **SMALL,
        "training": {**SMALL["training"], "epochs": 1, "precision": "32"},
    }
    classifier = fit(
        iter(texts), torch.tensor(numbers), validation=validation, out=folder, **settings
    )
    return classifier, folder


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_integers_come_back_as_integers_and_are_numbers_in_the_run_folder(
    integers: tuple[TextClassifier, Path], tmp_path: Path
) -> None:
    classifier, folder = integers
    assert read_json(folder / "labels.json") == [-1, 2, 10]  # in numerical order
    copy = tmp_path / "copy"
    classifier.save(copy)
    assert (copy / "labels.json").read_bytes() == (folder / "labels.json").read_bytes()
    for same in (classifier, TextClassifier.load(folder), TextClassifier.load(copy)):
        assert same.labels == [-1, 2, 10]
        predicted = same.predict(PLAIN)
        assert all(type(label) is int for label in predicted)
        assert predicted == [same.labels[i] for i in same.predict_proba(PLAIN).argmax(1)]
    assert read_run(folder).labels == ["-1", "2", "10"]


def test_files_show_integers_as_text_and_are_matched_by_text(
    integers: tuple[TextClassifier, Path], tmp_path: Path
) -> None:
    classifier, folder = integers
    rows = [(text, str(NUMBERS[label])) for text, label in sentences(12, seed=4)]
    test = write_csv(tmp_path / "test.csv", rows)
    evaluation = evaluate(folder, test, out=tmp_path, precision="32")
    predicted = classifier.predict(text for text, _ in rows)
    correct = 0
    for label, (_, expected) in zip(predicted, rows, strict=True):
        if str(label) == expected:
            correct += 1
    assert evaluation.values["accuracy"]["value"] == pytest.approx(correct / len(rows))
    assert list(evaluation.values["per_class"]) == ["-1", "2", "10"]
    out = tmp_path / "out.jsonl"
    predict(folder, test, out=out, probabilities=True)
    row = json.loads(out.read_text(encoding="utf-8").splitlines()[0])
    assert row["prediction"] in ("-1", "2", "10")
    assert any(name.startswith("probability") and name.endswith("10") for name in row)
    assert main(["evaluate", str(folder), str(test)]) == 0


def test_what_starts_from_a_run_with_integers_keeps_its_head_for_the_same_labels(
    integers: tuple[TextClassifier, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, folder = integers
    texts = [text for text, _ in sentences(30)]
    numbers = [*NUMBERS.values()] * 10
    settings: dict[str, Any] = {"epochs": 1, "precision": "32", "learning_rate": 1e-6}
    again = fit(texts, numbers, init=folder, **settings)
    assert again.labels == [-1, 2, 10]
    rows = [(text, str(number)) for text, number in zip(texts, numbers, strict=True)]
    data = write_csv(tmp_path / "a.csv", rows)
    from_file = train(data, init=folder, out=tmp_path / "run", **settings)
    assert from_file.classifier.labels == ["-1", "2", "10"]  # labels in a file are text
    assert read_json(tmp_path / "run" / "labels.json") == ["-1", "2", "10"]
    assert "the labels differ" not in caplog.text


@pytest.mark.parametrize(
    "labels", ["[1, true]", '[1, "2"]', "[1.0, 2.0]", '{"1": 1}', "[[1], [2]]", "[null, 1]"]
)
def test_a_labels_file_of_anything_but_names_or_integers_is_refused(
    labels: str, integers: tuple[TextClassifier, Path], tmp_path: Path
) -> None:
    classifier, _ = integers
    classifier.save(tmp_path)
    (tmp_path / "labels.json").write_text(labels, encoding="utf-8")
    message = r"labels\.json: not a list of label names; train the run again\.$"
    with pytest.raises(UserError, match=message):
        read_run(tmp_path)


def test_an_export_names_integers_by_text(tmp_path: Path) -> None:
    wanted = TokenizerConfig(type="wordpiece", vocab_size=100, min_frequency=1)
    tokenizer = train_tokenizer(PLAIN, tokenizer_config(vocab_size=100, min_frequency=1))
    architecture = BertConfig(
        "bert",
        tokenizer.get_vocab_size(),
        max_positions=8,
        type_vocab_size=2,
        intermediate_size=16,
        activation="gelu",
        norm_eps=1e-12,
    )
    model = ModelConfig(
        width=8,
        heads=2,
        layers=1,
        pooling="cls",
        max_length=8,
        max_ngram=1,
        ngram_buckets=1,
        bag_branch=False,
        char_ngrams=False,
    )
    settings = Settings(model=model, tokenizer=wanted)
    resolved = resolved_from(settings, {}, "settings")
    bert = build_bert(architecture, resolved.model, 3).eval()
    task = SingleLabel(["-1", "2", "10"], are_integers=True)
    run = Run(settings, resolved, task, tokenizer, bert, architecture)
    write_run(tmp_path / "run", run)
    assert set(TextClassifier.load(tmp_path / "run").predict(PLAIN)) <= {-1, 2, 10}
    export(tmp_path / "run", out=tmp_path / "exported")
    config = read_json(tmp_path / "exported" / "config.json")
    assert config["id2label"] == {"0": "-1", "1": "2", "2": "10"}
    assert config["label2id"] == {"-1": 0, "2": 1, "10": 2}


def test_a_run_that_began_in_python_is_not_resumed_with_files_that_lie_about(
    integers: tuple[TextClassifier, Path], tmp_path: Path
) -> None:
    classifier, _ = integers
    classifier.save(tmp_path / "run")
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "last.ckpt").touch()
    message = r"the run was trained on texts given in Python, which are not kept; call `fit` again"
    with pytest.raises(UserError, match=message):
        train(resume=True, out=tmp_path / "run")
