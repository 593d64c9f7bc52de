"""The few lines that open a run: what will be trained on what."""

import torch

from selfattn_lm.config import Settings, flatten, to_plain
from selfattn_lm.nn import Classifier
from selfattn_lm.training.data import Prepared


def opening_lines(prepared: Prepared, resolved: Settings, asked: Settings, model: Classifier) -> list[str]:
    """Data, tokens, model, training and the settings that differ from the defaults, a line each."""
    parameters = sum(p.numel() for p in model.parameters())
    cut = prepared.train.tokens.truncation()
    m, t = resolved.model, resolved.training
    shape = f"{m.kind}, {m.width} wide, {m.layers} layers" + (f", {m.heads} heads" if m.kind == "attention" else "")
    defaults = flatten(to_plain(Settings()))
    changed = [f"{k} {v}" for k, v in flatten(to_plain(asked)).items() if v != defaults[k] and k != "data.source"]
    device = "gpu" if t.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else t.accelerator
    return [
        f"data        {_data(prepared)}",
        f"labels      {_labels(prepared)}",
        f"validation  {_validation(prepared, resolved)}",
        f"tokens      {resolved.tokenizer.unit}, vocabulary {prepared.tokenizer.get_vocab_size():,}; cut after {m.max_tokens}:"
        f" {100 * cut['texts_cut']:.1f} % of the texts, {100 * cut['tokens_lost']:.1f} % of the tokens",
        f"model       {shape}, {parameters:,} parameters ({4 * parameters / 1e6:.1f} MB)",
        f"training    {t.epochs} epochs, {'cpu' if device == 'auto' else device}, {t.precision}, seed {resolved.seed}",
        f"settings    {', '.join(changed) or 'the defaults'}",
    ]


def _data(prepared: Prepared) -> str:
    train = prepared.splits["train"]
    test = prepared.splits.get("test")
    return f"{train.where}: {len(train):,} texts to train on" + (
        f", {len(test):,} to test" if test else ", no test split"
    )


def _labels(prepared: Prepared) -> str:
    counts = prepared.splits["train"].describe()["labels"]
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    shown = ranked if len(ranked) <= 8 else [*ranked[:3], *ranked[-2:]]
    parts = [f"{name} {count:,}" for name, count in shown]
    if len(ranked) > 8:
        parts.insert(3, "…")
    return f"{len(prepared.labels)}: {', '.join(parts)}"


def _validation(prepared: Prepared, resolved: Settings) -> str:
    rows = len(prepared.splits["validation"])
    held = f"held out of train ({100 * resolved.data.held_out:g} %)" if prepared.held_out else "given"
    return f"{rows:,} texts, {held}; the best weights are chosen by {resolved.training.monitor}"
