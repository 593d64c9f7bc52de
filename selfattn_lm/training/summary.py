"""The few lines that open a run: what will be trained on what."""

from collections import Counter
from dataclasses import asdict

import torch

from selfattn_lm.config import Settings, flatten
from selfattn_lm.nn import Classifier
from selfattn_lm.training.data import Prepared


def opening_lines(prepared: Prepared, resolved: Settings, asked: Settings, model: Classifier) -> list[str]:
    """Data, tokens, model, training and the settings that differ from the defaults, a line each."""
    m, t, train = resolved.model, resolved.training, prepared.splits["train"]
    test, validation = prepared.splits.get("test"), prepared.splits["validation"]
    held_out = f"held out of train ({100 * resolved.data.held_out:g} %)" if prepared.held_out else "given"
    ranked = [f"{name} {count:,}" for name, count in Counter(train.labels).most_common()]
    labels = ranked if len(ranked) <= 8 else [*ranked[:3], "…", *ranked[-2:]]
    cut = prepared.train.tokens.truncation()
    parameters = sum(p.numel() for p in model.parameters())
    heads = f", {m.heads} heads" if m.kind == "attention" else ""
    on_gpu = t.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    device = "gpu" if on_gpu else "cpu" if t.accelerator == "auto" else t.accelerator
    defaults = flatten(asdict(Settings()))
    changed = [f"{k} {v}" for k, v in flatten(asdict(asked)).items() if v != defaults[k] and k != "data.source"]
    return [
        f"data        {train.where}: {len(train):,} texts to train on, {len(test) if test else 0:,} to test on",
        f"labels      {len(prepared.labels)}: {', '.join(labels)}",
        f"validation  {len(validation):,} texts, {held_out}; the best weights are chosen by {t.monitor}",
        f"tokens      {resolved.tokenizer.unit}, vocabulary {prepared.tokenizer.get_vocab_size():,};"
        f" {100 * cut['texts_cut']:.1f} % of the texts and {100 * cut['tokens_lost']:.1f} % of all tokens are cut,"
        f" beyond {m.max_tokens} a text",
        f"model       {m.kind}, {m.width} wide, {m.layers} layers{heads}; {parameters:,} parameters,"
        f" {4 * parameters / 1e6:.1f} MB",
        f"training    {t.epochs} epochs at most, {device}, {t.precision}, seed {resolved.seed}",
        f"settings    {', '.join(changed) or 'the defaults'}",
    ]
