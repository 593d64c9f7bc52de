import numpy as np
import pytest

from selfattn_lm.config import ModelConfig, ResolvedTokenizer
from selfattn_lm.training.resolve import TrainingFacts, epochs, resolve_model

WORDPIECE = ResolvedTokenizer(type="wordpiece", vocab_size=30_000)


def facts(
    *, tokens: int, is_bag: bool = False, rows: int = 3000, labels: int = 20
) -> TrainingFacts:
    return TrainingFacts(
        start="scratch",
        rows=rows,
        tokens=tokens,
        batches=50,
        labels=labels,
        width=128,
        modules=[],
        is_bag=is_bag,
    )


@pytest.mark.parametrize(
    ("tokens", "is_bag", "expected"),
    [
        (100_000, False, 33),  # as many as few rows of many labels need
        (600_000, False, 10),  # as many as five minutes allow
        (600_000, True, 25),  # a bag is faster
        (20_000_000, False, 3),  # never fewer
    ],
)
def test_the_number_of_epochs_looks_at_the_cost(tokens: int, is_bag: bool, expected: int) -> None:
    assert epochs(facts(tokens=tokens, is_bag=is_bag)) == expected


@pytest.mark.parametrize(("ngram_branch", "expected"), [(True, 256), (False, 512)])
def test_encoders_read_less_of_long_texts_beside_an_ngram_branch(
    ngram_branch: bool, expected: int
) -> None:
    config = ModelConfig(ngram_branch=ngram_branch)
    resolved = resolve_model(config, WORDPIECE, np.full(100, 900), batch_tokens=8192)
    assert resolved.max_length == expected
    short = resolve_model(config, WORDPIECE, np.full(100, 40), batch_tokens=8192)
    assert short.max_length == 40
