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
FOLDS = 5
MIN_F1 = 0.1
Rows = Sequence[Mapping[str, Any]]
app = App(help=__doc__)


def read_rows(name: str, split: str) -> list[dict[str, Any]]:
    """Read the rows of one split."""
    lines = (DATA / name / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def several_labels(train: Rows, test: Rows) -> dict[str, float]:
    """Score one support vector machine per label on TF-IDF of words and pairs of words.

    The threshold of each label is the one with the best F1 on training rows, scored by machines
    that were trained on other rows; 0 for a label of a single row.
    """
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    features = vectorizer.fit_transform([row["text"] for row in train])
    test_features = vectorizer.transform([row["text"] for row in test])
    binarizer = MultiLabelBinarizer()
    labels = binarizer.fit_transform([row["labels"] for row in train])
    test_labels = binarizer.transform([row["labels"] for row in test])
    thresholds = []
    for is_true in labels.T:
        thresholds.append(held_out_threshold(features, is_true))
    scores = OneVsRestClassifier(LinearSVC()).fit(features, labels).decision_function(test_features)
    fitted = (scores >= np.array(thresholds)).astype(np.int64)
    unfitted = (scores >= 0).astype(np.int64)
    return {
        "micro_f1": float(f1_score(test_labels, fitted, average="micro")),
        "macro_f1": macro_f1(test_labels, fitted),
        "micro_f1_at_0": float(f1_score(test_labels, unfitted, average="micro")),
        "macro_f1_at_0": macro_f1(test_labels, unfitted),
    }


def held_out_threshold(features: csr_matrix, is_true: np.ndarray) -> float:
    """Choose the threshold of one label by cross-validation.

    If no threshold has an F1 of 0.1, that of a rare label would give it to hundreds of texts. The
    highest score is taken instead (SCutFBR.1, Yang 2001).
    """
    folds = min(FOLDS, int(is_true.sum()))
    if folds < 2:
        return 0.0
    splitter = StratifiedKFold(folds, shuffle=True, random_state=0)
    scores = cross_val_predict(
        LinearSVC(), features, is_true, cv=splitter, method="decision_function"
    )
    threshold = best_threshold(scores, is_true > 0, 0.0)
    if f1_score(is_true, scores >= threshold) < MIN_F1:
        return float(scores.max())
    return threshold


def macro_f1(true: np.ndarray, predicted: np.ndarray) -> float:
    """Compute the mean F1 of all labels, 0 where it is undefined."""
    return float(f1_score(true, predicted, average="macro", zero_division=0))


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
    """Compute what is missing, and print all of it."""
    finished: dict[str, Any] = {}
    if RESULTS.is_file():
        finished = json.loads(RESULTS.read_text(encoding="utf-8"))
    for name in sets.split(","):
        if name in finished:
            continue
        score = pairs if name == "sick" else several_labels
        started = time.monotonic()
        scores = score(read_rows(name, "train"), read_rows(name, "test"))
        finished[name] = {**scores, "seconds": round(time.monotonic() - started)}
        write_json(RESULTS, finished)
    for name, scores in finished.items():
        print(name, json.dumps(scores))


if __name__ == "__main__":
    app()
