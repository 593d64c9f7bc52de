"""Speed beside the peers, every measurement in a process of its own, ways taking turns; under 20 minutes.

python benchmarks/speed          # measures all into benchmarks/results/speed.json, then writes docs/performance.md
python benchmarks/speed table    # writes its tables and its picture again
python benchmarks/speed small    # prints a few ratios within a minute, of texts from Python's own documentation

What was stopped goes on where it was, on the same machine with the same versions. The data are folders in
SELFATTN_DATA.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any

import report
import small
from cyclopts import App
from measure import RESULTS, WORK, Found, child, machine

PARTIAL = RESULTS.with_suffix(".partial.json")  # what a stopped run leaves
SECONDS = 3  # of measuring a training
ROUNDS, LIMIT = 3, 90  # repetitions; seconds to reach a score
Cell = tuple[str, tuple[object, ...]]  # a part, and what it is called with
app = App(help=__doc__)


def turns(rounds: int, *cells: Cell) -> Iterator[Cell]:
    """The cells one after the other, again and again."""
    for _ in range(rounds):
        yield from cells


def plan() -> Iterator[Cell]:
    """All that is measured, in order; a score to reach is known when TF-IDF's is."""
    ceiling: Cell = ("measure", ())
    yield ceiling
    yield from turns(ROUNDS, *(("training", (way, "256x4", SECONDS)) for way in ("ours", "trainer", "best")))
    yield from turns(2, *(("training", (way, "128x2", SECONDS)) for way in ("ours", "trainer", "best")))
    yield from turns(2, *(("training", (way, "384x6", SECONDS)) for way in ("ours", "trainer", "best")))
    yield from (("training", (way, "256x4", SECONDS)) for way in ("ours-32", "best-32", "whole"))
    yield "where", ("256x4",)
    yield "where", ("128x2", "embedding")
    yield ceiling
    ways = ("ours", "ours-32", "ours-int8", "pipeline", "onnx", "onnx-int8")
    yield from turns(ROUNDS, *(("inference", ("texts", way, "384x6")) for way in ways))
    yield from (("inference", ("texts", way, "384x6")) for way in ("pipeline-bf16", "fasttext"))
    yield "inference", ("scores", "all", "384x6")
    yield from turns(ROUNDS, *(("inference", ("latency", way, "256x4")) for way in ("ours", "pipeline", "onnx")))
    yield from turns(ROUNDS, *(("rows", ("cold", way)) for way in ("ours", "pipeline", "onnx")))
    yield "rows", ("long", "ours")
    yield from (("inference", ("sample", way, "128x2")) for way in ("pipeline", "onnx", "fasttext"))
    for rows in (10_000, 100_000, 1_000_000):  # the first time, then from the cache, which few rows do not fill
        yield from (("rows", ("start", rows)), ("rows", ("start", rows)), ("rows", ("predict", rows)))
    yield from (("peers", (way,)) for way in ("tfidf", "fasttext"))
    yield from (("score", (way,)) for way in ("quick", "accurate", "best"))
    yield "shape", ()


def name_of(cell: Cell) -> str:
    """What a cell is called in the results."""
    return " ".join(map(str, (cell[0], *cell[1])))


def measured(cell: Cell, found: dict[str, list[Found]]) -> Found:
    """Measure a cell."""
    part, arguments = cell
    if part == "score":
        arguments = (*arguments, found["peers tfidf"][0]["accuracy"], LIMIT)
    return child(part, *arguments)


@app.default
def everything() -> None:
    """Measure, or go on; then write the tables."""
    here = machine()
    results: dict[str, Any] = {"machine": here, "seconds": 0.0, "cells": {}}
    if PARTIAL.is_file() and (before := json.loads(PARTIAL.read_text()))["machine"] == here:
        results = before
    os.environ["SELFATTN_CACHE"] = str(WORK / "cache")
    if not results["cells"]:
        shutil.rmtree(WORK / "cache", ignore_errors=True)  # the first start is to be the first
    begun, before = time.monotonic() - results["seconds"], dict[str, int]()
    child("rows", "make", "all")
    for cell in plan():
        name = name_of(cell)
        before[name] = before.get(name, 0) + 1
        if len(results["cells"].get(name, [])) >= before[name]:
            continue
        found = measured(cell, results["cells"])
        results["cells"].setdefault(name, []).append(found)
        results["seconds"] = time.monotonic() - begun
        write(results)
        told = {key: value for key, value in found.items() if not isinstance(value, list | dict)}
        print(f"{results['seconds']:5.0f} s  {name}: {json.dumps(told)}", flush=True)
    os.replace(PARTIAL, RESULTS)
    table()


def write(results: dict[str, Any]) -> None:
    """Write what was measured so far."""
    made = PARTIAL.with_suffix(".tmp")
    made.parent.mkdir(parents=True, exist_ok=True)
    made.write_text(json.dumps(results, indent=1) + "\n")
    os.replace(made, PARTIAL)


@app.command
def table() -> None:
    """Write the tables and the picture of docs/ from the results."""
    report.write(json.loads(RESULTS.read_text()))


@app.command(name="small")
def few() -> None:
    """Print a few ratios."""
    small.main()


if __name__ == "__main__":
    sys.exit(app())
