"""The linear baseline of a study: TF-IDF and a support vector machine from scikit-learn."""

import time
from typing import Any

import numpy as np

from selfattn_lm.data.examples import Split
from selfattn_lm.errors import UserError
from selfattn_lm.features.tokenizer import mostly_unspaced
from selfattn_lm.tasks import SingleLabel


def fit_tfidf(train: Split) -> Any:
    """Fit scikit-learn's LinearSVC on TF-IDF features; returns a pipeline, texts in, labels out.

    The features are words and pairs of words; for scripts without spaces, one to three characters.

    Raises:
        UserError: scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import make_pipeline
        from sklearn.svm import LinearSVC
    except ImportError:
        advice = "pip install 'selfattn_lm[study]', or leave tfidf out"
        raise UserError(f"study: tfidf needs scikit-learn; {advice}.") from None

    if mostly_unspaced(train.texts):
        vectorizer = TfidfVectorizer(sublinear_tf=True, analyzer="char", ngram_range=(1, 3))
    else:
        vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    return make_pipeline(vectorizer, LinearSVC(C=0.5)).fit(train.texts, train.targets)


def train_tfidf(train: Split, test: Split, task: SingleLabel) -> dict[str, Any]:
    """Fit the linear baseline and score it on the test split.

    Returns:
        The values of a cell: scores, number of parameters, training seconds, predicted texts per
        second, and rows.

    Raises:
        UserError: scikit-learn is not installed.
    """
    started = time.monotonic()
    baseline = fit_tfidf(train)
    classifier = baseline[-1]
    trained = time.monotonic()
    predicted = task.encode(baseline.predict(test.texts).tolist())
    finished = time.monotonic()

    # LinearSVC gives no probabilities: all of it goes to the predicted label.
    probabilities = np.eye(task.outputs, dtype=np.float32)[predicted]  # (N, L)
    test_scores = task.score(probabilities, task.encode(test.targets))
    return {
        "accuracy": test_scores["accuracy"],
        "macro_f1": test_scores["macro_f1"],
        "parameters": int(classifier.coef_.size + classifier.intercept_.size),
        "seconds": trained - started,
        "texts_per_s": len(test) / (finished - trained),
        "rows": len(train),
    }
