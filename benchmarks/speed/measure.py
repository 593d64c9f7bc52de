"""What all measurements share: the machine, its ceiling, the data, and a process of its own for each."""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("SELFATTN_DATA", "../shared/data"))
RESULTS = Path(__file__).parents[1] / "results" / "speed.json"
WORK = Path(tempfile.gettempdir()) / "selfattn_speed"  # models and files that the parts share; made where missing
PACKAGES = ("torch", "lightning", "transformers", "accelerate", "onnxruntime", "fasttext", "scikit-learn")
Found = dict[str, Any]


def child(part: str, *arguments: object) -> Found:
    """Run a part in a process of its own; what it found, its seconds, start included, and its peak memory in GB."""
    command = [sys.executable, str(Path(__file__).parent / f"{part}.py"), *map(str, arguments)]
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told, text=True)
        assert process.stdout is not None
        lines = process.stdout.read().strip().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        told.seek(0)
        if status:
            raise RuntimeError(f"{' '.join(command)}: {told.read()[-2000:]}")
    return {**json.loads(lines[-1]), "wall_s": time.monotonic() - begun, "memory_gb": usage.ru_maxrss / 1e6}


def tell(**found: Any) -> None:
    """What a child ends with."""
    print(json.dumps(found))


def machine() -> Found:
    """Processor, cores and the versions of all that is compared."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {"processor": names[0] if names else platform.processor(), "cores": os.cpu_count(), "versions": versions}


def steadily(work: Callable[[], Any], seconds: float = 0.5) -> float:
    """Seconds of one call, called again and again; the median of three."""
    work()
    found = []
    for _ in range(3):
        begun, calls = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds / 3:
            work()
            calls += 1
        found.append((time.perf_counter() - begun) / calls)
    return statistics.median(found)


def ceiling() -> Found:
    """Billions of floating-point operations a second of the best matrix product, in 32 bits and in bf16."""
    import torch

    shapes = ((2048, 2048, 2048), (4096, 384, 1536), (4096, 256, 1024))
    found = {}
    for name, dtype in (("32", torch.float32), ("bf16", torch.bfloat16)):
        rates = []
        for rows, inner, columns in shapes:
            a, b = torch.randn(rows, inner, dtype=dtype), torch.randn(inner, columns, dtype=dtype)
            rates.append(2 * rows * inner * columns / steadily(lambda a=a, b=b: a @ b) / 1e9)
        found[name] = max(rates)
    return found


def rows_of(name: str, split: str) -> tuple[list[str], list[str]]:
    """Texts and labels of a split of a data set."""
    from selfattn_lm.config import DataConfig
    from selfattn_lm.data.sources import load_split

    found = load_split(DataConfig(str(DATA / name)), split)
    return found.texts, found.labels


def middle(values: Sequence[float]) -> Found:
    """Median and spread."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "runs": len(values)}


if __name__ == "__main__":
    tell(**ceiling())
