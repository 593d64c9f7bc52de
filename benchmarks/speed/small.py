"""A few ratios within a minute, with the packages of the tests: `python benchmarks/speed small`.

It only prints; because machines are noisy, no ratio makes it fail. The texts are Python's own
documentation.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import torch
from measure import peak_speed

from selfattn_lm.memory import keep_memory

WIDTH, LAYERS, STEPS, TEXTS, ROUNDS = 128, 2, 12, 256, 3


def parts() -> tuple[Any, Any, list[str]]:
    """Settings, the prepared training data, and texts to predict."""
    from training import settings_of

    from selfattn_lm.config import DataConfig, settings_from
    from selfattn_lm.data.sources import load_split
    from selfattn_lm.training.data import prepare

    settings = settings_from(settings_of("ours", WIDTH, LAYERS, "bf16"), "")
    split = load_split(DataConfig("stdlib-docs"), "train")
    data = prepare({"train": split}, settings, None)
    return settings, data, split.texts[:TEXTS]


def stepper(
    model: torch.nn.Module, optimizer: Any, scores: Callable[[Any], Any], bf16: bool
) -> Callable[[Any], None]:
    """A training step on a batch."""

    def step(batch: Any) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = scores(batch)
        torch.nn.functional.cross_entropy(logits.float(), batch.targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    model.train()
    return step


def training() -> dict[str, float]:
    """Tokens a second of ours and of a BERT of transformers, on the same batches."""
    from training import bert

    from selfattn_lm.build import build_model
    from selfattn_lm.training.data import train_loader
    from selfattn_lm.training.optimizer import build_optimizer

    settings, data, _ = parts()
    loader = train_loader(data.train, settings.training, settings.seed)
    batches = list(islice(loader, STEPS))
    model = build_model(data.settings, data.featurizer, data.task.outputs, in_training=True)
    theirs = bert(WIDTH, LAYERS, data)
    optimizer = build_optimizer(model, 1e-4, 0.01)
    their_optimizer = torch.optim.AdamW(theirs.parameters(), 1e-4)

    def logits(batch: Any) -> Any:
        return model(batch.inputs)

    def their_logits(batch: Any) -> Any:
        return theirs(batch.inputs.tokens, batch.inputs.attention_mask.long()).logits

    ways: dict[str, Sequence[Any]] = {}
    for precision in ("bf16", "fp32"):
        bf16 = precision == "bf16"
        ways[f"ours, {precision}"] = [stepper(model, optimizer, logits, bf16), batches]
        their_step = stepper(theirs, their_optimizer, their_logits, bf16)
        ways[f"BERT of transformers, {precision}"] = [their_step, batches]
    tokens = sum(int(batch.inputs.attention_mask.sum()) for batch in batches)
    return {way: tokens / seconds for way, seconds in in_turns(ways).items()}


def prediction() -> dict[str, float]:
    """Texts a second in each precision."""
    from selfattn_lm import TextClassifier
    from selfattn_lm.build import build_model
    from selfattn_lm.runs import Run

    settings, data, texts = parts()
    model = build_model(data.settings, data.featurizer, data.task.outputs, in_training=False).eval()
    run = Run(settings, data.settings, data.task, data.featurizer, model)
    ways: dict[str, Sequence[Any]] = {}
    for precision in ("bf16", "int8", "32"):
        ways[f"predicted, {precision}"] = [TextClassifier(run, precision).predict_proba, [texts]]
    return {way: len(texts) / seconds for way, seconds in in_turns(ways).items()}


def in_turns(ways: dict[str, Sequence[Any]]) -> dict[str, float]:
    """Median seconds of each way, a function and its inputs; the ways alternate."""
    found: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(ROUNDS + 1):
        for way, (function, inputs) in ways.items():
            begun = time.perf_counter()
            for given in inputs:
                function(given)
            if turn > 0:  # the first is a warm-up
                found[way].append(time.perf_counter() - begun)
    return {way: statistics.median(seconds) for way, seconds in found.items()}


def main() -> None:
    """Measure and print."""
    keep_memory()
    torch.manual_seed(0)
    peaks = peak_speed()
    print(f"matrix products: {peaks['bf16']:,.0f} GFLOP/s in bf16, {peaks['32']:,.0f} in fp32")
    for unit, rates in (("tokens/s", training()), ("texts/s", prediction())):
        first = next(iter(rates.values()))
        for way, rate in rates.items():
            print(f"{way:30} {rate:10,.0f} {unit}   {first / rate:5.2f} × as much by the first")
