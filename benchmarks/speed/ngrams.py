"""Seconds of the n-gram branch on one core: ngrams.py [SET …], of the datasets in SELFATTN_DATA.

For each dataset: to count the n-grams of both splits, to solve the branch, and the texts per second
that the branch alone predicts, from token ids to logits, the median of five turns.
"""

import statistics
import sys
import time

import torch
from measure import DATA, report_results

from selfattn_lm.config import settings_from
from selfattn_lm.data.sources import load_splits
from selfattn_lm.features.sequences import TokenizedTexts
from selfattn_lm.training.data import prepare
from selfattn_lm.training.ngram_branch import count_ngrams, solve_branch

SETS = ("ag_news", "imdb", "clinc150")
TURNS = 5


def measure(name: str) -> dict[str, float]:
    """Measure one dataset."""
    settings = settings_from({"data": {"source": str(DATA / name)}}, "settings")
    data = prepare(load_splits(settings.data), settings, None)
    assert data.ngrams is not None
    tokenizer = data.featurizer
    train = TokenizedTexts.from_texts(tokenizer, data.splits["train"].texts, 2**31)
    validation = TokenizedTexts.from_texts(tokenizer, data.splits["validation"].texts, 2**31)
    max_ngram = data.settings.model.max_ngram
    started = time.perf_counter()
    ngrams = count_ngrams(train, validation, max_ngram, data.task.outputs)
    counted = time.perf_counter()
    assert ngrams is not None
    targets = data.splits["train"].targets
    branch = solve_branch(ngrams, data.task, settings.training, targets, settings.seed)
    solved = time.perf_counter()
    turns = []
    for _ in range(TURNS):
        begun = time.perf_counter()
        with torch.inference_mode():
            branch(ngrams.vocabulary.rows(validation))
        turns.append(time.perf_counter() - begun)
    return {
        "rows": len(train),
        "count_s": counted - started,
        "solve_s": solved - counted,
        "texts_per_s": len(validation) / statistics.median(turns),
        "megabytes": branch.bytes / 1e6,
    }


def main() -> None:
    """Measure the datasets that are named, or all, and report the results."""
    torch.set_num_threads(1)
    results: dict[str, dict[str, float]] = {}
    for name in sys.argv[1:] or SETS:
        results[name] = measure(name)
        print(name, results[name], flush=True)
    report_results(**results)


if __name__ == "__main__":
    main()
