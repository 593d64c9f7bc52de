"""Speed beside the peers, each measurement in a process of its own; takes under 20 minutes.

python benchmarks/speed          # measures all, writes results/speed.json and docs/performance.md
python benchmarks/speed table    # writes its tables and its figure again
python benchmarks/speed small    # prints a few ratios within a minute, on Python's documentation

A stopped run continues on the same machine with the same versions. The datasets are folders in
SELFATTN_DATA.
"""

import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import report
import small
from cyclopts import App
from measure import RESULTS, WORK, Found, child, machine

PARTIAL = RESULTS.with_suffix(".partial.json")  # the results of a stopped run
SECONDS = 3  # that a training is measured
ROUNDS = 3
LIMIT = 90  # seconds to reach a score
Cell = tuple[str, tuple[object, ...]]  # the script of a measurement and its arguments
app = App(help=__doc__)


def alternate(rounds: int, script: str, ways: Sequence[str], *arguments: object) -> Iterator[Cell]:
    """A cell for each way, `rounds` times; each way is the first argument of its cell."""
    for _ in range(rounds):
        for way in ways:
            yield script, (way, *arguments)


def alternate_inference(rounds: int, task: str, ways: Sequence[str], size: str) -> Iterator[Cell]:
    """A cell of inference.py for each way, `rounds` times."""
    for _ in range(rounds):
        for way in ways:
            yield "inference", (task, way, size)


def plan() -> Iterator[Cell]:
    """All measurements in order; TF-IDF, whose score the others must reach, comes before them."""
    ceiling: Cell = ("measure", ())
    yield ceiling
    yield from alternate(ROUNDS, "training", ("ours", "trainer", "best"), "256x4", SECONDS)
    yield from alternate(2, "training", ("ours", "trainer", "best"), "128x2", SECONDS)
    yield from alternate(2, "training", ("ours", "trainer", "best"), "384x6", SECONDS)
    yield from alternate(1, "training", ("ours-32", "best-32", "whole"), "256x4", SECONDS)
    yield "where", ("256x4",)
    yield "where", ("128x2", "embedding")
    yield ceiling
    ways = ("ours", "ours-32", "ours-int8", "pipeline", "onnx", "onnx-int8")
    yield from alternate_inference(ROUNDS, "texts", ways, "384x6")
    yield from alternate_inference(1, "texts", ("pipeline-bf16", "fasttext"), "384x6")
    yield "inference", ("scores", "all", "384x6")
    yield from alternate_inference(ROUNDS, "latency", ("ours", "pipeline", "onnx"), "256x4")
    for _ in range(ROUNDS):
        for way in ("ours", "pipeline", "onnx"):
            yield "rows", ("cold", way)
    yield "rows", ("long", "ours")
    yield from alternate_inference(1, "sample", ("pipeline", "onnx", "fasttext"), "128x2")
    for rows in (10_000, 100_000, 1_000_000):
        yield "rows", ("start", rows)
        yield "rows", ("start", rows)  # from the cache, unless there are few rows
        yield "rows", ("predict", rows)
    yield from alternate(1, "peers", ("tfidf", "fasttext"))
    yield from alternate(1, "score", ("quick", "accurate", "best"))
    yield "shape", ()


def name_of(cell: Cell) -> str:
    """The name of a cell in the results."""
    script, arguments = cell
    return " ".join(str(part) for part in (script, *arguments))


def measured(cell: Cell, found: dict[str, list[Found]]) -> Found:
    """Measure a cell; `found` are the cells that were measured before it."""
    script, arguments = cell
    if script == "score":
        arguments = (*arguments, found["peers tfidf"][0]["accuracy"], LIMIT)
    return child(script, *arguments)


@app.default
def everything() -> None:
    """Measure everything, or continue a stopped run; then write the tables."""
    results = started_results()
    os.environ["SELFATTN_CACHE"] = str(WORK / "cache")
    if not results["cells"]:
        shutil.rmtree(WORK / "cache", ignore_errors=True)  # so that the first start is a cold one
    started = time.monotonic() - results["seconds"]
    child("rows", "make", "all")
    planned: Counter[str] = Counter()
    for cell in plan():
        name = name_of(cell)
        planned[name] += 1
        if len(results["cells"].get(name, [])) >= planned[name]:
            continue
        found = measured(cell, results["cells"])
        results["cells"].setdefault(name, []).append(found)
        results["seconds"] = time.monotonic() - started
        write(results)
        numbers = {key: value for key, value in found.items() if not isinstance(value, list | dict)}
        print(f"{results['seconds']:5.0f} s  {name}: {json.dumps(numbers)}", flush=True)
    os.replace(PARTIAL, RESULTS)
    table()


def started_results() -> dict[str, Any]:
    """The results of a run that was stopped on this machine, or empty ones."""
    here = machine()
    if PARTIAL.is_file():
        partial: dict[str, Any] = json.loads(PARTIAL.read_text())
        if partial["machine"] == here:
            return partial
    return {"machine": here, "seconds": 0.0, "cells": {}}


def write(results: dict[str, Any]) -> None:
    """Write the results so far."""
    made = PARTIAL.with_suffix(".tmp")
    made.parent.mkdir(parents=True, exist_ok=True)
    made.write_text(json.dumps(results, indent=1) + "\n")
    os.replace(made, PARTIAL)


@app.command
def table() -> None:
    """Write the tables and the figure of docs/ from the results."""
    report.write(json.loads(RESULTS.read_text()))


@app.command(name="small")
def few() -> None:
    """Print a few ratios."""
    small.main()


if __name__ == "__main__":
    sys.exit(app())
