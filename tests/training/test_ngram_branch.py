"""The n-gram branch of a run: what it learns of each task, and that it is the one that is saved."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import write_csv
from sklearn.svm import LinearSVC
from sklearn.utils.class_weight import compute_sample_weight

from selfattn_lm import TextClassifier, fit, train
from selfattn_lm.config import TrainingConfig
from selfattn_lm.features.sequences import TokenizedTexts
from selfattn_lm.tasks import MultiLabel, Regression, SingleLabel
from selfattn_lm.training import encoding, ngram_branch
from selfattn_lm.training.ngram_branch import MAX_BYTES, CountedNgrams, count_ngrams, solve_branch

SMALL: dict[str, Any] = {
    "width": 8,
    "heads": 2,
    "layers": 1,
    "precision": "32",
    "epochs": 1,
    "ngram_buckets": 1024,
}
RANDOM = np.random.default_rng(0)
# Each text is a token of its label, 10 to 12, among tokens that say nothing.
LABELS = RANDOM.integers(0, 3, 400)
IDS = np.concatenate(
    [np.array([2, *RANDOM.integers(20, 60, 4), 10 + label]) for label in LABELS]
).astype(np.int32)
TEXTS = TokenizedTexts.from_flat(IDS, np.full(400, 6), 2**31, sep_id=None)


def counted(outputs: int = 3) -> CountedNgrams:
    ngrams = count_ngrams(TEXTS, TEXTS, max_ngram=2, outputs=outputs)
    assert ngrams is not None
    return ngrams


def test_one_label_per_text_is_learned() -> None:
    ngrams = counted()
    targets = [str(label) for label in LABELS]
    task = SingleLabel(["0", "1", "2"])
    branch = solve_branch(ngrams, task, TrainingConfig(), targets, seed=0)
    logits = branch(ngrams.validation)
    assert (logits.argmax(1).numpy() == LABELS).mean() > 0.99


def test_several_labels_per_text_are_learned_one_against_the_rest() -> None:
    ngrams = counted()
    targets = [(str(label), "all") for label in LABELS]
    task = MultiLabel(["0", "1", "2", "all"])
    branch = solve_branch(ngrams, task, TrainingConfig(), targets, seed=0)
    predicted = (branch(ngrams.validation) > 0).numpy()
    assert (predicted == (task.encode(targets) > 0)).mean() > 0.99


def test_numbers_are_learned_standardised() -> None:
    ngrams = counted(outputs=1)
    numbers = [float(1000 + 10 * label) for label in LABELS]
    task = Regression(mean=float(np.mean(numbers)), std=float(np.std(numbers)))
    branch = solve_branch(ngrams, task, TrainingConfig(), numbers, seed=0)
    predicted = task.activate(branch(ngrams.validation))[:, 0].numpy()
    assert np.corrcoef(predicted, numbers)[0, 1] > 0.95
    assert abs(predicted - numbers).mean() < 4


def test_balanced_labels_are_weighted_as_in_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngram_branch, "_choose", lambda *args: ngram_branch._Choice(cost=0.5))
    ngrams = counted()
    rare = LABELS.copy()
    rare[(rare == 2) & (np.arange(400) % 10 > 0)] = 1
    task = SingleLabel(["0", "1", "2"])
    config = TrainingConfig(class_weights="balanced")
    branch = solve_branch(ngrams, task, config, [str(label) for label in rare], seed=0)
    weights = compute_sample_weight("balanced", rare)
    features = ngrams.train.times(torch.eye(len(ngrams.vocabulary.hashes))).numpy()
    svc = LinearSVC(C=0.5, tol=1e-6, max_iter=10_000)
    expected = svc.fit(features, rare, weights).decision_function(features)
    np.testing.assert_allclose(branch(ngrams.train), expected, atol=0.05)  # it is rounded


def test_the_logits_are_as_sure_as_they_are_right() -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, 4000)
    tokens = [np.array([2, *random.integers(20, 60, 4), 10 + label]) for label in labels]
    ids = np.concatenate(tokens).astype(np.int32)
    texts = TokenizedTexts.from_flat(ids, np.full(4000, 6), 2**31, sep_id=None)
    noisy = np.where(random.random(4000) < 0.3, random.integers(0, 3, 4000), labels)
    ngrams = count_ngrams(texts, texts, 2, 3)
    assert ngrams is not None
    train = replace(ngrams, train=ngrams.train.select(range(2000)))
    task = SingleLabel(["0", "1", "2"])
    targets = [str(label) for label in noisy[:2000]]
    branch = solve_branch(train, task, TrainingConfig(), targets, seed=0)
    probabilities = branch(ngrams.train.select(range(2000, 4000))).softmax(1)
    right = (probabilities.argmax(1).numpy() == noisy[2000:]).mean()
    assert float(probabilities.amax(1).mean()) == pytest.approx(right, abs=0.08)


def test_labels_are_solved_in_parts_as_they_are_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ngrams = counted()
    targets: list[Any] = [(str(label), "all") for label in LABELS[:200]]
    targets += [(str(label),) for label in LABELS[200:]]
    task = MultiLabel(["0", "1", "2", "all"])
    for config in (TrainingConfig(), TrainingConfig(class_weights="balanced")):
        at_once = solve_branch(ngrams, task, config, targets, seed=0)(ngrams.train)
        with monkeypatch.context() as few:
            few.setattr(ngram_branch, "_SCORES_AT_ONCE", 900)  # two labels
            in_parts = solve_branch(ngrams, task, config, targets, seed=0)(ngrams.train)
        torch.testing.assert_close(in_parts, at_once, atol=0.1, rtol=0.05)


def test_the_branch_is_small_whatever_the_number_of_labels() -> None:
    ngrams = count_ngrams(TEXTS, TEXTS, max_ngram=2, outputs=100_000)
    assert ngrams is not None
    branch_bytes = len(ngrams.vocabulary.hashes) * (100_000 + 6)
    assert 0.5 * MAX_BYTES < branch_bytes <= MAX_BYTES


def test_texts_without_a_common_ngram_have_no_branch() -> None:
    ids = np.arange(10, 22, dtype=np.int32)
    texts = TokenizedTexts.from_flat(ids, np.full(4, 3), 2**31, sep_id=None)
    assert count_ngrams(texts, texts, 2, 2) is None


def test_texts_that_share_no_words_are_learned_without_the_branch() -> None:
    texts = [chr(0x4E00 + i) for i in range(40)]
    classifier = fit(texts, ["a", "b"] * 20, **SMALL)
    assert classifier.run.model.ngrams is None
    assert not classifier.run.resolved.model.ngram_branch
    assert len(classifier.predict(texts)) == 40


def test_the_end_of_a_text_that_the_encoder_does_not_read_counts() -> None:
    texts, labels = [], []
    for i in range(200):
        label = ("good", "bad")[i % 2]
        texts.append(f"the film number {i % 7} that we saw was, in the end, {label}")
        labels.append(label)
    classifier = fit(texts, labels, max_length=4, **SMALL)
    text = "the film number 3 that we saw was, in the end,"
    assert classifier.predict([f"{text} good", f"{text} bad"]) == ["good", "bad"]
    model, tokens = classifier.run.model, classifier.encode([f"{text} good", f"{text} bad"])
    by_branch = model.branch_logits(classifier._with_ngrams(tokens.batch([0, 1])))
    torch.testing.assert_close(by_branch[:2, 0], by_branch[:2, 1])
    assert not torch.allclose(by_branch[2, 0], by_branch[2, 1])


def test_pairs_are_counted_at_the_length_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def look(*args: Any) -> Any:
        seen.append(count_ngrams(*args))
        return seen[-1]

    monkeypatch.setattr(encoding, "count_ngrams", look)
    first = [f"the answer is {i % 3} " + "and so on " * (i % 100 == 0) * 20 for i in range(200)]
    second = [f"is it {i % 3} " + "or is it not " * (i % 100 == 0) * 20 for i in range(200)]
    classifier = fit(first, ["x", "y"] * 100, pairs=second, **SMALL)
    assert classifier.run.resolved.model.max_length < 100
    encoded: Any = classifier.encode(first, second)
    counts = sorted(encoded.weighted_ngrams.offsets.diff().tolist())
    in_training = [seen[0].train, seen[0].validation]
    trained = sorted(np.concatenate([rows.offsets.diff().numpy() for rows in in_training]).tolist())
    assert counts == trained


def test_pairs_are_told_apart_by_what_they_share() -> None:
    words = [
        "red",
        "green",
        "blue",
        "black",
        "white",
        "small",
        "large",
        "old",
        "new",
        "fast",
        "slow",
        "loud",
    ]
    random = np.random.default_rng(0)
    first, second, labels = [], [], []
    for i in range(300):
        chosen = random.choice(words, 6, replace=False)
        first.append(" ".join(chosen[:3]))
        same = i % 2 == 0
        second.append(" ".join(random.permutation(chosen[:3]) if same else chosen[3:]))
        labels.append("same" if same else "other")
    classifier = fit(first, labels, pairs=second, **SMALL)
    tokens = classifier.encode(first, second)
    rows: Any = tokens
    branch: Any = classifier.run.model.ngrams
    logits = branch(rows.weighted_ngrams)
    predicted = [classifier.labels[number] for number in logits.argmax(1)]
    assert np.mean([p == label for p, label in zip(predicted, labels, strict=True)]) > 0.95


def test_what_validates_is_what_is_saved_and_loaded(tmp_path: Path) -> None:
    rows = [(f"{label} text {i % 9}", label) for i in range(300) for label in ("x", "y")]
    write_csv(tmp_path / "train.csv", rows)
    result = train(tmp_path / "train.csv", out=tmp_path / "run", **SMALL)
    trained = result.classifier
    loaded = TextClassifier.load(tmp_path / "run", "32")
    texts = ["x text 3", "y y 4", "text", "unheard of"]
    np.testing.assert_array_equal(trained.predict_proba(texts), loaded.predict_proba(texts))
    state = loaded.run.model.state_dict()
    names = [name for name in state if name.startswith("ngrams.")]
    assert sorted(names) == [f"ngrams.{n}" for n in ("bias", "hashes", "idf", "scale", "weight")]
    assert state["ngrams.weight"].dtype == torch.int8
    card = (tmp_path / "run" / "README.md").read_text()
    ngrams = len(state["ngrams.hashes"])
    assert f"(attention, 8 wide, 1 layer, with a linear model of {ngrams} n-grams)" in card
    assert "\nThe n-grams are those of whole texts.\n" in card
    copied = TextClassifier.load(tmp_path / "run", "bf16")
    assert copied.predict(texts[:2]) == ["x", "y"]


def test_windows_share_the_ngrams_of_their_text() -> None:
    texts = [f"{label} text {i % 9}" for i in range(60) for label in ("x", "y")]
    classifier = fit(texts, ["x", "y"] * 60, max_length=8, long_texts="windows", **SMALL)
    encoded: Any = classifier.encode(["x text 3 " * 500, "y"])
    assert len(encoded) > 100
    assert encoded.weighted_ngrams.height == 2
    last = encoded.batch([0, 50, len(encoded) - 1]).weighted_ngrams.offsets.diff().tolist()
    assert last[0] == last[1] > last[2] > 0


@pytest.mark.parametrize("long_texts", ["head", "windows"])
def test_the_parts_of_the_branches_add_up_to_the_prediction(long_texts: str) -> None:
    texts = [f"{label} text {i % 9} of several words" for i in range(60) for label in ("x", "y")]
    classifier = fit(texts, ["x", "y"] * 60, max_length=5, long_texts=long_texts, **SMALL)
    parts = classifier.branch_logits(texts[:7])
    assert list(parts) == ["bag", "encoder", "ngrams"]
    logits = torch.from_numpy(sum(parts.values()))
    expected = classifier.predict_proba(texts[:7])
    np.testing.assert_allclose(logits.softmax(1), expected, atol=1e-5)


def test_a_run_from_another_one_has_a_branch_of_its_own_data(tmp_path: Path) -> None:
    first = [(f"{label} text {i % 9}", label) for i in range(60) for label in ("x", "y")]
    second = [
        (f"{word} of day {i % 5}", label)
        for i in range(60)
        for word, label in (("text", "x"), ("9", "y"))
    ]
    write_csv(tmp_path / "first.csv", first)
    write_csv(tmp_path / "second.csv", second)
    one = train(tmp_path / "first.csv", out=tmp_path / "one", **SMALL).classifier
    other = train(
        tmp_path / "second.csv", out=tmp_path / "other", init=tmp_path / "one", epochs=1
    ).classifier
    assert one.run.model.ngrams is not None
    assert other.run.model.ngrams is not None
    assert not torch.equal(one.run.model.ngrams.hashes, other.run.model.ngrams.hashes)


def test_the_branch_can_be_left_out(tmp_path: Path) -> None:
    texts = ["good film", "bad film"] * 40
    classifier = fit(texts, ["a", "b"] * 40, ngram_branch=False, **SMALL)
    assert classifier.run.model.branch_names == ["bag", "encoder"]
    assert classifier.predict(["good film"]) in (["a"], ["b"])
