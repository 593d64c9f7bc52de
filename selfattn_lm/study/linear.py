"""The linear baseline, TF-IDF with a support vector machine, by scikit-learn."""

import time
from typing import Any

import numpy as np
import torch

from selfattn_lm.data.labels import encode_labels
from selfattn_lm.data.sources import Split
from selfattn_lm.errors import UserError
from selfattn_lm.evaluation import score
from selfattn_lm.features.tokenizer import mostly_unspaced


def tfidf(train: Split, test: Split, labels: list[str]) -> dict[str, Any]:
    """Score TF-IDF of words and their pairs (of one to three characters where no spaces are written) with LinearSVC."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.svm import LinearSVC
    except ImportError:
        raise UserError("study: tfidf needs scikit-learn; pip install 'selfattn_lm[study]' or leave it out.") from None
    started = time.monotonic()
    units = {"analyzer": "char", "ngram_range": (1, 3)} if mostly_unspaced(train.texts) else {"ngram_range": (1, 2)}
    features = TfidfVectorizer(sublinear_tf=True, **units)
    machine = LinearSVC(C=0.5).fit(features.fit_transform(train.texts), train.labels)
    seconds = time.monotonic() - started
    predicted = encode_labels(machine.predict(features.transform(test.texts)).tolist(), labels)
    texts_per_s = len(test) / (time.monotonic() - started - seconds)
    certain = torch.from_numpy(np.eye(len(labels), dtype=np.float32)[predicted])  # it knows no probabilities
    values = score(certain, torch.from_numpy(encode_labels(test.labels, labels)), labels)
    size = int(machine.coef_.size + machine.intercept_.size)
    scores = {name: values[name] for name in ("accuracy", "macro_f1")}
    return {**scores, "parameters": size, "seconds": seconds, "texts_per_s": texts_per_s, "rows": len(train)}
