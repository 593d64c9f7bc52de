"""Which precision was measured to be the faster one on this machine: kept in the process and in a small file."""

import hashlib
import json
import logging
import os
import platform
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch

from selfattn_lm.places import cache_folder

log = logging.getLogger(__name__)
_VERSION = 1  # of how it is measured
_INSTRUCTIONS = (  # variables that forbid oneDNN, torch or MKL some instructions, or round where they did not
    "ATEN_CPU_CAPABILITY",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
)
_ON_X86 = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags")  # lines of /proc/cpuinfo
_ON_ARM = ("CPU implementer", "CPU part", "Features")
_known: dict[str, str] = {}


def recall(products: Sequence[tuple[int, int]]) -> str | None:
    """The precision that was chosen for these products on this machine, if it is known."""
    facts = _facts(products)
    name = _name(facts)
    if name not in _known:
        with suppress(OSError, ValueError, TypeError, KeyError):  # not there, or not what was written
            kept = json.loads((cache_folder() / name).read_text(encoding="utf-8"))
            if kept["facts"] == facts and kept["precision"] in ("32", "bf16"):
                _known[name] = kept["precision"]
    return _known.get(name)


def remember(products: Sequence[tuple[int, int]], precision: str, fp32_seconds: float, bf16_seconds: float) -> str:
    """Keep what was chosen; returns it, or what another process has chosen meanwhile."""
    if earlier := recall(products):
        return earlier
    facts = _facts(products)
    name = _name(facts)
    kept = {"precision": precision, "fp32_seconds": fp32_seconds, "bf16_seconds": bf16_seconds, "facts": facts}
    _known[name] = precision
    try:
        _write(cache_folder() / name, json.dumps(kept, indent=1) + "\n")
    except OSError as error:
        reason = f"{cache_folder()}: the measured precision cannot be kept there ({error.strerror})"
        log.warning("%s, so each process measures it anew", reason)
    return precision


def _facts(products: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """All that the answer depends on, in plain values."""
    return {
        "version": _VERSION,
        "torch": torch.__version__,
        "processor": _processor(),
        "instructions": {name: os.environ[name] for name in _INSTRUCTIONS if name in os.environ},
        "products": [list(product) for product in products],
    }


def _name(facts: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return f"precision-{digest[:32]}.json"


@cache
def _processor() -> dict[str, str]:
    """What tells this processor from others: many have the same name and not the same instructions."""
    found = {"machine": platform.machine(), "processor": platform.processor()}
    with suppress(OSError):
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
        for line in first.splitlines():
            key, _, value = line.partition(":")
            if key.strip() in _ON_X86 + _ON_ARM:
                found[key.strip()] = value.strip()
    return found


def _write(path: Path, text: str) -> None:
    """Write a whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
