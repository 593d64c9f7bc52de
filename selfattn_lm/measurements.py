"""The cache of measured precisions: which one was faster on this machine, in memory and on disk."""

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
_VERSION = 1  # of the way of measuring
_VARIABLES = (  # they limit the instructions of oneDNN, torch or MKL, or lower their precision
    "ATEN_CPU_CAPABILITY",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
)
# Lines of /proc/cpuinfo.
_ON_X86 = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags")
_ON_ARM = ("CPU implementer", "CPU part", "Features")
_known: dict[str, str] = {}  # precision by file name


def recall(products: Sequence[tuple[int, int]]) -> str | None:
    """Return the precision that was chosen for these products on this machine, if there is one.

    Args:
        products: Input and output features of each matrix product.
    """
    facts = _facts(products)
    name = _file_name(facts)
    if name not in _known:
        with suppress(OSError, ValueError, TypeError, KeyError):  # the file is missing or damaged
            recorded = json.loads((cache_folder() / name).read_text(encoding="utf-8"))
            if recorded["facts"] == facts and recorded["precision"] in ("32", "bf16"):
                _known[name] = recorded["precision"]
    return _known.get(name)


def remember(
    products: Sequence[tuple[int, int]], precision: str, fp32_seconds: float, bf16_seconds: float
) -> str:
    """Record the precision and return it, or the one that another process recorded meanwhile."""
    earlier = recall(products)
    if earlier is not None:
        return earlier
    facts = _facts(products)
    name = _file_name(facts)
    _known[name] = precision
    record = {
        "precision": precision,
        "fp32_seconds": fp32_seconds,
        "bf16_seconds": bf16_seconds,
        "facts": facts,
    }
    folder = cache_folder()
    try:
        _write(folder / name, json.dumps(record, indent=1) + "\n")
    except OSError as error:
        reason = f"cannot write the measured precision ({error.strerror})"
        log.warning("%s: %s; each process will measure it again", folder, reason)
    return precision


def _facts(products: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return everything that the faster precision depends on, as JSON can express it."""
    return {
        "version": _VERSION,
        "torch": torch.__version__,
        "processor": _processor(),
        "instructions": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "products": [list(product) for product in products],
    }


def _file_name(facts: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return f"precision-{digest[:32]}.json"


@cache
def _processor() -> dict[str, str]:
    """Describe the processor and its instructions: processors of one name can differ in these."""
    found = {"machine": platform.machine(), "processor": platform.processor()}
    with suppress(OSError):
        first_core = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
        for line in first_core.splitlines():
            key, _, value = line.partition(":")
            if key.strip() in _ON_X86 + _ON_ARM:
                found[key.strip()] = value.strip()
    return found


def _write(path: Path, text: str) -> None:
    """Write the file under a temporary name and rename it, so that no process reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
