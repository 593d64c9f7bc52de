import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers import sentences

from selfattn_lm import TextClassifier
from selfattn_lm.config import differences, read_config
from selfattn_lm.runs import atomic, read_run, rewrite_config, write_run
from selfattn_lm.tasks import MultiLabel, SingleLabel

TEXTS = [text for text, _ in sentences(20, seed=9)]
OTHERS = [" ".join(text for text, _ in sentences(1 + i % 40, seed=i)) for i in range(200)]
NEEDED = ["config.yaml", "labels.json", "model.safetensors", "tokenizer.json"]


@pytest.fixture(scope="module")
def classifier(run: Path) -> TextClassifier:
    return TextClassifier.load(run, precision="32")


def test_a_run_written_and_read_gives_the_same_probabilities(
    classifier: TextClassifier, tmp_path: Path
) -> None:
    write_run(tmp_path / "deep" / "copy", classifier.run)
    again = read_run(tmp_path / "deep" / "copy")
    assert sorted(file.name for file in (tmp_path / "deep" / "copy").iterdir()) == NEEDED
    assert (again.settings, again.resolved, again.labels) == (
        classifier.run.settings,
        classifier.run.resolved,
        classifier.run.labels,
    )
    assert not again.model.training
    assert np.array_equal(
        TextClassifier(again, "32").predict_proba(TEXTS), classifier.predict_proba(TEXTS)
    )


def test_a_decision_of_the_task_is_recorded_without_writing_the_other_files_again(
    classifier: TextClassifier, tmp_path: Path
) -> None:
    names = ["a", "b", "c"]
    undecided = replace(classifier.run, task=MultiLabel(names))
    write_run(tmp_path, undecided)
    before = {file.name: file.stat().st_ino for file in tmp_path.iterdir()}
    decided = replace(undecided, task=MultiLabel(names, thresholds=[0.1, 0.2, 0.3]))
    rewrite_config(tmp_path, decided)
    after = {file.name: file.stat().st_ino for file in tmp_path.iterdir()}
    changed = [name for name in before if before[name] != after[name]]
    assert changed == ["config.yaml"]
    again = read_run(tmp_path)
    assert again.task == decided.task


def test_a_table_whose_numbers_exceed_half_precision_is_written_whole(
    run: Path, tmp_path: Path
) -> None:
    large = read_run(run)
    table = large.model.embedding.get_parameter("tokens.weight")
    with torch.no_grad():
        table[5] = 1e6
    write_run(tmp_path, large)
    again = read_run(tmp_path)
    assert torch.equal(again.model.embedding.get_parameter("tokens.weight"), table)


def test_a_classifier_saved_and_loaded_is_the_same(
    classifier: TextClassifier, run: Path, tmp_path: Path
) -> None:
    classifier.save(tmp_path)
    loaded = TextClassifier.load(str(tmp_path), precision="32")
    assert loaded.labels == classifier.labels
    assert np.array_equal(loaded.embed(TEXTS), classifier.embed(TEXTS))
    for name in NEEDED:
        assert (tmp_path / name).read_bytes() == (run / name).read_bytes(), name


def test_the_config_holds_its_format_and_what_auto_became(trained: Path) -> None:
    config = yaml.safe_load((trained / "config.yaml").read_text(encoding="utf-8"))
    assert config["format"] == 2
    assert config["model"]["max_length"] == config["model"]["pooling"] == "auto"
    assert config["resolved"]["model"] == {
        "max_length": 16,
        "pooling": "mean",
        "max_ngram": 2,
        "ngram_buckets": 2048,
    }
    read = read_config(trained / "config.yaml")
    assert read.resolved == config["resolved"]
    assert read.settings.model.width == read.asked["model"]["width"] == 16
    run = read_run(trained)
    assert run.resolved.model.max_length == 16
    found = json.loads(json.dumps(differences(run.settings, run.resolved)))  # tuples as lists
    assert found == config["resolved"]


@pytest.mark.parametrize(
    "labels", [["no", "1.0", "null"], ["", "yes: é 茶", '"quoted"\n'], ["0", "00", "~"]]
)
def test_labels_survive_as_texts(
    classifier: TextClassifier, tmp_path: Path, labels: list[str]
) -> None:
    write_run(tmp_path, replace(classifier.run, task=SingleLabel(labels)))
    loaded = TextClassifier.load(tmp_path)
    assert loaded.labels == labels
    assert set(loaded.predict(TEXTS)) == set(labels)


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "file.txt"
    with atomic(file) as temporary:
        temporary.write_text("old")
        assert not file.exists()
    with pytest.raises(UnicodeEncodeError), atomic(file) as temporary:
        temporary.write_text("half\ud800", encoding="utf-8")
    assert file.read_text() == "old"
    assert list(file.parent.iterdir()) == [file]
    with atomic(file) as temporary:
        temporary.write_text("new")
    assert file.read_text() == "new"
    assert list(file.parent.iterdir()) == [file]


def test_results_have_a_row_for_each_text(classifier: TextClassifier) -> None:
    probabilities = classifier.predict_proba(TEXTS)
    assert probabilities.shape == (20, 3)
    assert classifier.embed(TEXTS).shape == (20, 32)
    assert probabilities.dtype == classifier.embed(TEXTS).dtype == np.float32
    assert probabilities.sum(1) == pytest.approx(1, abs=1e-5)
    assert classifier.labels == ["fruit", "metal", "water"]
    assert classifier.predict(TEXTS) == [classifier.labels[i] for i in probabilities.argmax(1)]


@pytest.mark.parametrize("method", ["predict_proba", "embed"])
def test_a_text_alone_equals_itself_among_others(classifier: TextClassifier, method: str) -> None:
    function = getattr(classifier, method)
    texts = [*OTHERS[:100], "", *TEXTS, "unheard of", *OTHERS[100:]]
    together = function(texts)
    assert together.shape[0] == len(texts)
    for place in (0, 39, 100, 101, 110, 121, 122, 150, 221):
        np.testing.assert_allclose(together[place : place + 1], function([texts[place]]), atol=1e-5)
    np.testing.assert_allclose(function(texts[::-1])[::-1], together, atol=1e-5)


def test_the_heads_compute_the_probabilities_from_the_embedding(classifier: TextClassifier) -> None:
    model, parts = classifier.run.model, torch.from_numpy(classifier.embed(TEXTS)).chunk(2, dim=1)
    each = [branch.head(part) for branch, part in zip(model.branches.values(), parts, strict=True)]
    scores = model.branch_weights[0] * each[0] + model.branch_weights[1] * each[1]
    np.testing.assert_allclose(
        scores.softmax(-1).detach(), classifier.predict_proba(TEXTS), atol=1e-5
    )


def test_no_texts_give_an_empty_result(classifier: TextClassifier) -> None:
    assert classifier.predict([]) == []
    assert classifier.predict_proba([]).shape == (0, 3)
    assert classifier.embed([]).shape == (0, 32)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "embed"])
def test_one_text_that_is_not_in_a_list_is_refused(classifier: TextClassifier, method: str) -> None:
    with pytest.raises(TypeError, match="list of texts"):
        getattr(classifier, method)("the apple")


def test_a_run_can_be_read_by_others_as_any_file_of_the_user(trained: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    for file in trained.iterdir():
        assert file.stat().st_mode & 0o777 == plain.stat().st_mode & 0o777, file.name
