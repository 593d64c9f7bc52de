import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers import EXACT, WORDS

from selfattn_lm import TextClassifier, UserError, fit, train


def rows(count: int, seed: int = 0) -> list[tuple[str, list[str]]]:
    """Texts of words of one label, of two or of none, with their labels."""
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        labels = chance.sample(sorted(WORDS), chance.choice([0, 1, 1, 2]))
        words = chance.choices(["the", "a", "of", "and", "with"], k=4)
        for label in labels:
            words += chance.choices(WORDS[label], k=2)
        chance.shuffle(words)
        found.append((" ".join(words), labels))
    return found


def write(path: Path, pairs: list[tuple[str, list[str]]]) -> Path:
    lines = [json.dumps({"text": text, "labels": labels}) for text, labels in pairs]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    write(folder / "train.jsonl", rows(300))
    write(folder / "test.jsonl", rows(60, seed=1))
    longer = {**EXACT["training"], "epochs": 12}
    train(folder, out=folder / "run", model=EXACT["model"], training=longer)
    return folder / "run"


def test_a_run_learns_several_labels_per_text(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["test"]["micro_f1"]["value"] > 0.9
    assert metrics["test"]["macro_f1"]["value"] > 0.9
    assert metrics["training"]["monitor"] == "micro_f1"


def test_a_run_keeps_its_thresholds(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert config["task"]["kind"] == "multi_label"
    assert len(config["task"]["thresholds"]) == len(WORDS)
    classifier = TextClassifier.load(run)
    texts = [text for text, _ in rows(60, seed=1)]
    probabilities = classifier.predict_proba(texts)
    for labels, row in zip(classifier.predict(texts), probabilities, strict=True):
        reached = row >= np.array(config["task"]["thresholds"])
        assert sorted(labels) == list(np.array(classifier.labels)[reached])


def test_the_model_card_says_that_there_are_several_labels(run: Path) -> None:
    card = (run / "README.md").read_text(encoding="utf-8")
    assert "3 labels, several per text" in card
    assert "| micro-F1 (95 % interval) |" in card


def test_the_head_starts_with_the_frequencies_of_the_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selfattn_lm.training import classify

    found: list[Any] = []

    def stop(*args: object, **kwargs: object) -> None:
        found.append(args[0])
        raise UserError("stopped")

    monkeypatch.setattr(classify, "ClassifierModule", stop)
    targets = [("fruit",), ("fruit", "metal"), (), ("fruit",)] * 10
    texts = [f"word {number}" for number in range(40)]
    with pytest.raises(UserError, match="stopped"):
        fit(texts, targets, validation_fraction=0.5, **EXACT)
    for branch in found[0].branches.values():
        bias = branch.head[-1].bias.detach()
        expected = np.array([16 / 22, 6 / 22])  # 15 and 5 of 20 texts
        np.testing.assert_allclose(bias.sigmoid(), expected, atol=0.05)
