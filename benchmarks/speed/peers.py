"""Seconds and accuracy of TF-IDF + LinearSVC and of fastText on ag_news: peers.py WAY."""

import sys
import time
from pathlib import Path

import numpy as np
from measure import WORK, report_results, rows_of

HELD_OUT = 2000  # random rows of train on which the ways are compared


def parts() -> tuple[list[str], list[str], list[str], list[str]]:
    """Texts and labels to train on, then those that are held out."""
    texts, labels = rows_of("ag_news", "train")
    order = np.random.default_rng(0).permutation(len(texts)).tolist()
    held, rest = order[:HELD_OUT], order[HELD_OUT:]

    def select(values: list[str], rows: list[int]) -> list[str]:
        return [values[row] for row in rows]

    return select(texts, rest), select(labels, rest), select(texts, held), select(labels, held)


def fasttext_model() -> Path:
    """The model file of fastText with word bigrams and five epochs, trained if it is missing."""
    from fasttext import train_supervised

    file = WORK / "fasttext.bin"
    texts, labels, _, _ = parts()
    if not file.is_file():
        lines = [f"__label__{label} {text}" for text, label in zip(texts, labels, strict=True)]
        WORK.mkdir(parents=True, exist_ok=True)
        (WORK / "fasttext.txt").write_text("\n".join(line.replace("\n", " ") for line in lines))
        train_supervised(str(WORK / "fasttext.txt"), wordNgrams=2, verbose=0).save_model(str(file))
    return file


def main(way: str) -> None:
    """Train, score the held-out rows, and report the results."""
    texts, labels, held, truth = parts()
    begun = time.perf_counter()
    if way == "tfidf":
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.svm import LinearSVC

        features = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
        model = LinearSVC(C=0.5).fit(features.fit_transform(texts), labels)
        seconds = time.perf_counter() - begun
        found = model.predict(features.transform(held))
    else:
        from fasttext import load_model

        (WORK / "fasttext.bin").unlink(missing_ok=True)
        inner = load_model(str(fasttext_model())).f
        seconds = time.perf_counter() - begun
        rows = [inner.predict(text.replace("\n", " ") + "\n", 1, 0.0, "strict") for text in held]
        found = np.array([row[0][1].removeprefix("__label__") for row in rows])
    report_results(seconds=seconds, accuracy=float((found == np.array(truth)).mean()))


if __name__ == "__main__":
    main(sys.argv[1])
