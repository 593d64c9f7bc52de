"""The test scores of linear models, as references for several labels and for pairs of texts.

python benchmarks/references.py                # both datasets
python benchmarks/references.py --sets sick    # one of them

The datasets are folders in SELFATTN_DATA. Finished ones are kept in results/references.json, so
that a stopped command can continue.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.svm import LinearSVC

from selfattn_lm.runs import write_json
from selfattn_lm.tasks.thresholds import best_threshold

DATA = Path(os.environ.get("SELFATTN_DATA", "../shared/data"))
RESULTS = Path(__file__).parent / "results" / "references.json"
SETS = ("reuters_modapte90", "sick")
FOLDS = 5  # in which the training rows are scored
FLOORS = (0.0, 0.1, 0.2, 0.3)  # candidates for the lowest F1 with which a threshold is trusted
PARTS = 10  # in which the floor is chosen
Rows = Sequence[Mapping[str, Any]]
app = App(help=__doc__)


def read_rows(name: str, split: str) -> list[dict[str, Any]]:
    """Read the rows of one split."""
    lines = (DATA / name / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def several_labels(train: Rows, test: Rows) -> dict[str, float]:
    """Score one support vector machine per label on TF-IDF of words and pairs of words.

    All that is chosen, is chosen on training rows that are scored by machines of other rows.
    """
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    features = vectorizer.fit_transform([row["text"] for row in train])
    test_features = vectorizer.transform([row["text"] for row in test])
    binarizer = MultiLabelBinarizer()
    labels = binarizer.fit_transform([row["labels"] for row in train]) > 0
    test_labels = binarizer.transform([row["labels"] for row in test]) > 0
    scores = held_out_scores(features, labels)
    floor = choose_floor(scores, labels)
    machines = OneVsRestClassifier(LinearSVC()).fit(features, labels.astype(np.int64))
    test_scores = expit(machines.decision_function(test_features))
    micro_f1, macro_f1 = f1_scores(test_labels, test_scores >= thresholds(scores, labels, floor))
    micro_f1_at_half, macro_f1_at_half = f1_scores(test_labels, test_scores >= 0.5)
    return {
        "floor": floor,
        "micro_f1": micro_f1,
        "macro_f1": macro_f1,
        "micro_f1_at_half": micro_f1_at_half,
        "macro_f1_at_half": macro_f1_at_half,
    }


def held_out_scores(features: csr_matrix, labels: np.ndarray) -> np.ndarray:
    """Score each row by machines of other rows: (N, L), from 0 to 1.

    A label of a single row has no such machine; its scores are 0.
    """
    scores = np.zeros(labels.shape)
    for label, is_true in enumerate(labels.T):
        folds = min(FOLDS, int(is_true.sum()))
        if folds < 2:
            continue
        splitter = StratifiedKFold(folds, shuffle=True, random_state=0)
        distances = cross_val_predict(
            LinearSVC(), features, is_true, cv=splitter, method="decision_function"
        )
        scores[:, label] = expit(distances)
    return scores


def thresholds(scores: np.ndarray, labels: np.ndarray, floor: float) -> np.ndarray:
    """Choose the threshold of each label with the best F1 (SCutFBR, Yang 2001): (L,).

    If even the best F1 is below `floor`, the threshold would give a rare label to hundreds of
    texts. The highest score is taken instead, and 0.5 for a label without scores.
    """
    chosen = np.full(labels.shape[1], 0.5)
    for label, is_true in enumerate(labels.T):
        of_label = scores[:, label]
        if not of_label.any():
            continue
        threshold = best_threshold(of_label, is_true, 0.5)
        if f1_score(is_true, of_label >= threshold, zero_division=0) < floor:
            threshold = float(of_label.max())
        chosen[label] = threshold
    return chosen


def choose_floor(scores: np.ndarray, labels: np.ndarray) -> float:
    """Choose the floor with the best mean of micro-F1 and macro-F1.

    Each tenth of the rows is predicted with thresholds that were fitted on the other nine.
    """
    parts = np.random.default_rng(0).integers(PARTS, size=len(labels))
    means = []
    for floor in FLOORS:
        predicted = np.zeros(labels.shape, dtype=bool)
        for part in range(PARTS):
            is_left_out = parts == part
            fitted = thresholds(scores[~is_left_out], labels[~is_left_out], floor)
            predicted[is_left_out] = scores[is_left_out] >= fitted
        means.append(np.mean(f1_scores(labels, predicted)))
    return FLOORS[int(np.argmax(means))]


def f1_scores(true: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Compute micro-F1, and macro-F1 over all labels, where an undefined F1 is 0."""
    micro_f1 = f1_score(true, predicted, average="micro", zero_division=0)
    macro_f1 = f1_score(true, predicted, average="macro", zero_division=0)
    return float(micro_f1), float(macro_f1)


def pairs(train: Rows, test: Rows) -> dict[str, float]:
    """Score a support vector machine on the words of both texts and on pairs of them."""
    vectorizer = CountVectorizer(analyzer=words_of_pair, binary=True)
    features: csr_matrix = vectorizer.fit_transform(train)
    machine = LinearSVC(C=0.1).fit(features, [row["label"] for row in train])
    predicted = machine.predict(vectorizer.transform(test))
    return {"accuracy": float(accuracy_score([row["label"] for row in test], predicted))}


def words_of_pair(row: Mapping[str, str]) -> Iterator[str]:
    """Find the words of the left text alone, of the right alone, of both, and crossed pairs.

    How many there are of the first three is a feature, too.
    """
    left = set(row["premise"].lower().split())
    right = set(row["hypothesis"].lower().split())
    groups = {"both": left & right, "left": left - right, "right": right - left}
    for name, words in groups.items():
        yield f"{name}: {len(words)}"
        for word in words:
            yield f"{name} {word}"
    for left_word in groups["left"]:
        for right_word in groups["right"]:
            yield f"{left_word} {right_word}"


@app.default
def references(sets: str = ",".join(SETS)) -> None:
    """Compute the scores that are missing, and print all."""
    finished: dict[str, Any] = {}
    if RESULTS.is_file():
        finished = json.loads(RESULTS.read_text(encoding="utf-8"))
    for name in sets.split(","):
        if name in finished:
            continue
        train, test = read_rows(name, "train"), read_rows(name, "test")
        started = time.monotonic()
        if name == "sick":
            scores = pairs(train, test)
        else:
            scores = several_labels(train, test)
        finished[name] = {**scores, "seconds": round(time.monotonic() - started)}
        write_json(RESULTS, finished)
    for name, scores in finished.items():
        print(name, json.dumps(scores))


if __name__ == "__main__":
    app()
