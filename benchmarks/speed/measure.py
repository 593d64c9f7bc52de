"""Shared by all measurements: child processes, the machine and its peak speed, the datasets."""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("SELFATTN_DATA", "../shared/data"))
RESULTS = Path(__file__).parents[1] / "results" / "speed.json"
WORK = Path(tempfile.gettempdir()) / "selfattn_speed"  # models and files that scripts share
PACKAGES = (
    "torch",
    "lightning",
    "transformers",
    "accelerate",
    "onnxruntime",
    "fasttext",
    "scikit-learn",
)
Found = dict[str, Any]


def child(script: str, *arguments: object) -> Found:
    """Run a script of this folder in a process of its own.

    Returns:
        The results, `wall_s` (seconds, with start-up) and `memory_gb` (peak memory).
    """
    command = [sys.executable, str(Path(__file__).parent / f"{script}.py")]
    command += [str(argument) for argument in arguments]
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as messages:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages, text=True)
        assert process.stdout is not None
        lines = process.stdout.read().strip().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        messages.seek(0)
        if status:
            raise RuntimeError(f"{' '.join(command)}: {messages.read()[-2000:]}")
    seconds = time.monotonic() - started
    return {**json.loads(lines[-1]), "wall_s": seconds, "memory_gb": usage.ru_maxrss / 1e6}


def report_results(**found: Any) -> None:
    """Print the results for the parent process; `child` reads the last line."""
    print(json.dumps(found))


def machine() -> Found:
    """Processor, cores and the versions of the packages that are compared."""
    versions: dict[str, str] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {"processor": processor(), "cores": os.cpu_count(), "versions": versions}


def processor() -> str:
    """The name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor()


def seconds_per_call(work: Callable[[], Any], seconds: float = 0.5) -> float:
    """Seconds of one call, after a warm-up: the median of three series of calls."""
    work()
    found = []
    for _ in range(3):
        calls = 0
        started = time.perf_counter()
        while time.perf_counter() - started < seconds / 3:
            work()
            calls += 1
        found.append((time.perf_counter() - started) / calls)
    return statistics.median(found)


def peak_speed() -> Found:
    """GFLOP/s of the fastest matrix product, in fp32 and in bf16."""
    import torch

    shapes = ((2048, 2048, 2048), (4096, 384, 1536), (4096, 256, 1024))
    found = {}
    for name, dtype in (("32", torch.float32), ("bf16", torch.bfloat16)):
        rates = []
        for rows, inner, columns in shapes:
            a = torch.randn(rows, inner, dtype=dtype)
            b = torch.randn(inner, columns, dtype=dtype)
            seconds = seconds_per_call(partial(torch.matmul, a, b))
            rates.append(2 * rows * inner * columns / seconds / 1e9)
        found[name] = max(rates)
    return found


def rows_of(name: str, split: str) -> tuple[list[str], list[str]]:
    """Texts and labels of a split of a dataset."""
    from selfattn_lm.config import DataConfig
    from selfattn_lm.data.sources import load_split

    found = load_split(DataConfig(str(DATA / name)), split)
    return found.texts, found.targets


if __name__ == "__main__":
    report_results(**peak_speed())
