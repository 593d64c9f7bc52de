"""Tokens a second of 256x4 against text length and against batch size: shape.py.

The token ids are random, and the model has only the parts of a BERT. In theory, a token costs
24 C² + 4 T C floating-point operations in each layer, for width C and T tokens a text: with 6 C
tokens a text, a token costs twice as much as in short texts.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from measure import report_results, seconds_per_call
from torch.nn.functional import cross_entropy

from selfattn_lm.build import build_classifier
from selfattn_lm.config import ResolvedModel
from selfattn_lm.inference.low_precision import convert_precision
from selfattn_lm.inputs import Inputs
from selfattn_lm.memory import keep_memory
from selfattn_lm.training.optimizer import build_optimizer, clip_gradients

WIDTH, LAYERS, VOCABULARY, LONGEST, TOKENS = 256, 4, 30_000, 4096, 4096
LENGTHS = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096]
BATCHES, LENGTH = [1, 2, 4, 8, 16, 32, 64, 128, 256], 64


def works() -> dict[str, Callable[[Inputs], Any]]:
    """A prediction and a training step on a batch."""
    config = ResolvedModel(
        width=WIDTH,
        layers=LAYERS,
        heads=8,
        max_length=LONGEST,
        max_ngram=1,
        ngram_buckets=1,
        bag_branch=False,
        pooling="mean",
    )
    model = build_classifier(config, VOCABULARY, 4)
    narrow = convert_precision(model, "auto", "cpu").eval()
    optimizer = build_optimizer(model, 1e-4, 0.01)

    def predict(inputs: Inputs) -> Any:
        with torch.inference_mode():
            return narrow(inputs)

    def step(inputs: Inputs) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            scores = model.train()(inputs)
        cross_entropy(scores.float(), torch.zeros(len(inputs.tokens), dtype=torch.long)).backward()
        clip_gradients(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return {"prediction": predict, "training": step}


def rates(work: Callable[[Inputs], Any], sizes: list[tuple[int, int]]) -> list[float]:
    """Tokens a second for each (B, T)."""
    found = []
    for batch, length in sizes:
        ids = torch.randint(4, VOCABULARY, (batch, length))
        attention_mask = torch.ones(batch, length, dtype=torch.bool)
        seconds = seconds_per_call(partial(work, Inputs(ids, attention_mask)))
        found.append(batch * length / seconds)
    return found


def main() -> None:
    """Measure, and report the results."""
    warnings.simplefilter("ignore")
    found: dict[str, Any] = {
        "lengths": LENGTHS,
        "batches": BATCHES,
        "width": WIDTH,
        "length": LENGTH,
        "tokens": TOKENS,
    }
    for name, work in works().items():
        found[f"{name}_by_length"] = rates(
            work, [(max(1, TOKENS // length), length) for length in LENGTHS]
        )
        found[f"{name}_by_batch"] = rates(work, [(batch, LENGTH) for batch in BATCHES])
    report_results(**found)


if __name__ == "__main__":
    keep_memory()
    main()
