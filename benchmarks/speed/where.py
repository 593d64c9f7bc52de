"""Where the time of a training step goes, by torch's profiler: where.py SIZE [embedding]."""

import sys
import time
import warnings
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import Callback
from measure import report_results
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile
from training import Clock, ours, prepared

from selfattn_lm.memory import keep_memory

FIRST, LAST = 10, 40
KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm", "linear"),
    "softmax": ("_softmax", "_softmax_backward_data"),
    "activation": ("gelu", "gelu_backward"),
    "norms": ("native_layer_norm", "native_layer_norm_backward"),
    "copies and casts": ("copy_", "_to_copy", "cat", "clone", "contiguous"),
    "dropout's random numbers": ("random_", "ge"),
    "sums, products, masks": ("add", "add_", "mul", "mul_", "div", "sum", "where"),
    "optimizer": (
        "_fused_adamw_",
        "index_add_",
        "lerp_",
        "linalg_vector_norm",
        "_coalesce",
        "addcmul_",
        "sqrt_",
    ),
    "embedding": (
        "index_select",
        "embedding",
        "embedding_sparse_backward",
        "_embedding_bag",
        "index",
        "_unique2",
    ),
}


class Steps(Callback):
    """Profiles the steps between the first and the last."""

    def __init__(self) -> None:
        self.count = 0
        self.profile = profile(activities=[ProfilerActivity.CPU])
        self.started = 0.0
        self.seconds = 0.0

    def on_train_batch_start(self, *args: Any) -> None:
        """Start or stop the profiler."""
        self.count += 1
        if self.count == FIRST:
            self.profile.__enter__()
            self.started = time.perf_counter()
        elif self.count == LAST:
            self.seconds = time.perf_counter() - self.started
            self.profile.__exit__(None, None, None)


def where(size: str) -> dict[str, float]:
    """Fraction of the time of each kind of work; the rest is Python."""
    steps = Steps()
    width, layers = (int(part) for part in size.split("x"))
    ours("ours", width, layers, "bf16", Clock(6), steps)
    names: dict[str, str] = {}
    for kind, operations in KINDS.items():
        names.update(dict.fromkeys(operations, kind))
    shares = dict.fromkeys([*KINDS, "other tensor work"], 0.0)
    for event in steps.profile.key_averages():
        if event.key.startswith("aten::"):
            kind = names.get(event.key.removeprefix("aten::"), "other tensor work")
            shares[kind] += event.self_cpu_time_total / 1e6 / steps.seconds
    return {**shares, "Python: Lightning, autograd, batching": 1 - sum(shares.values())}


def embedding(rounds: int = 5, steps: int = 15) -> dict[str, float]:
    """Seconds of a step of 128 x 2, with and without updates of the embeddings."""
    from selfattn_lm.build import build_model
    from selfattn_lm.features.ngrams import add_ngrams
    from selfattn_lm.training.data import train_loader
    from selfattn_lm.training.optimizer import build_optimizer, clip_gradients, freeze

    settings, data = prepared("whole", 128, 2, "bf16")
    loader = train_loader(data.train, settings.training, settings.seed)
    batches = list(islice(loader, steps))
    config = data.settings.model
    models = {}
    for name in ("all", "rest"):
        models[name] = build_model(
            data.settings, data.featurizer, data.task.outputs, in_training=True
        )
    freeze(models["rest"], "embeddings")
    found: dict[str, list[float]] = {name: [] for name in models}
    optimizers = {name: build_optimizer(model, 1e-4, 0.01) for name, model in models.items()}
    for _ in range(rounds):
        for name, model in models.items():
            begun = time.perf_counter()
            for batch in batches:
                with torch.autocast("cpu", torch.bfloat16):
                    inputs = add_ngrams(batch.inputs, config.max_ngram, config.ngram_buckets)
                    by_branch = model.branch_logits(inputs).float()
                losses = [cross_entropy(logits, batch.targets) for logits in by_branch]
                torch.stack(losses).mean().backward()
                clip_gradients(model.parameters(), 1.0)
                optimizers[name].step()
                optimizers[name].zero_grad()
            found[name].append((time.perf_counter() - begun) / steps)
    all_, rest = (sorted(found[name])[rounds // 2] for name in ("all", "rest"))
    return {
        "step_s": all_,
        "without_s": rest,
        "ratio": all_ / rest,
        "vocabulary": data.featurizer.get_vocab_size(),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    keep_memory()
    if sys.argv[2:]:
        report_results(**embedding())
    else:
        report_results(**where(sys.argv[1]))
