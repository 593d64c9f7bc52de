"""Device and precision: decided here for training, scoring and prediction alike."""

import logging
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfattn_lm.errors import UserError
from selfattn_lm.measurements import recall, remember
from selfattn_lm.threads import single_core_threads

log = logging.getLogger(__name__)

Device = Literal["cpu", "cuda", "mps"]
FloatPrecision = Literal["32", "bf16"]
Product = tuple[int, int]  # a matrix product by its weights: so many numbers a token in, so many out

GAIN = 1.3  # bf16 rounds, so `auto` chooses it only if it is at least this many times as fast as fp32
_ROUNDS = 7
_OPERATIONS = 2**28  # floating-point operations of one round in one precision: about 2 ms on a core
_FEWEST_TOKENS, _MOST_TOKENS = 32, 1024


def choose_device(asked: str = "auto") -> Device:
    """The device that `training.accelerator` names; auto is a CUDA device if there is one, else the CPU.

    MPS is used only if it is asked for, by name or as the only GPU.
    """
    with_cuda, with_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if asked == "cpu" or (asked == "auto" and not with_cuda):
        return "cpu"
    if with_cuda and asked in ("auto", "gpu", "cuda"):
        return "cuda"
    if with_mps and asked in ("gpu", "mps"):
        return "mps"
    raise UserError(f"training.accelerator: {asked} is asked for, and torch finds none here; use cpu or auto.")


def choose_device_count(asked: int | str) -> int:
    """How many devices of a machine train together; auto is one, or one for each process that torchrun started."""
    if asked != "auto":
        return int(asked)
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def can_reduce_sparse_gradients(device: str, processes: int) -> bool:
    """Whether tables can have gradients of the touched rows alone; NCCL cannot add up sparse ones, MPS has none."""
    return device == "cpu" or (device == "cuda" and processes == 1)


def has_onednn() -> bool:
    """Whether this torch was built with oneDNN, and may use it."""
    built_in = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return built_in and bool(torch.backends.mkldnn.enabled)


def supports_bf16(device: str) -> bool:
    """Whether products in bf16 have a kernel of their own; elsewhere torch's plain operations compute them slowly."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and has_onednn_bf16()


def has_onednn_bf16() -> bool:
    """Whether oneDNN multiplies in bf16 on this processor, with what `ONEDNN_MAX_CPU_ISA` lets it use."""
    return has_onednn() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def has_amx() -> bool:
    """Whether the processor multiplies bf16 matrices in tiles, as far as this version of torch can tell."""
    is_supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return is_supported is not None and has_onednn_bf16() and bool(is_supported())


def largest_int8_weight() -> int:
    """The largest weight that int8 products compute exactly: 127, on processors without VNNI 63, 0 if there are none.

    Those add up two products in 16 bits, which 2 · 255 · 127 exceeds and 2 · 255 · 63 does not. It is tried, as oneDNN
    may use less than the processor has.
    """
    if not has_onednn():
        return 0
    for largest in (127, 63):
        if _int8_is_exact(largest):
            return largest
    return 0


@cache
def _int8_is_exact(largest: int) -> bool:
    rows, inputs, outputs = 16, 64, 32
    x = torch.full((rows, inputs), 255, dtype=torch.uint8)
    weights = torch.full((outputs, inputs), largest, dtype=torch.int8)
    scales, zeros, bias = torch.ones(outputs), torch.zeros(outputs, dtype=torch.int64), torch.zeros(outputs)
    try:
        packed = torch.ops.onednn.qlinear_prepack(weights, None)
        y = torch.ops.onednn.qlinear_pointwise(
            x, 1.0, 0, packed, scales, zeros, bias, 1.0, 0, torch.float32, "none", [], "none"
        )
    except (AttributeError, RuntimeError):  # this torch has no such operation, or not for this processor
        return False
    return bool((y == 255 * largest * inputs).all())


def choose_precision(modules: Iterable[nn.Module], device: str) -> FloatPrecision:
    """The faster precision for the matrix products of some modules; on a CPU it is measured, once for each shape.

    What was measured is kept in the process and on the disk, so that the next call chooses the same.
    """
    if not supports_bf16(device):
        return "32"
    if device == "cuda":
        return "bf16"
    products = products_of(modules)
    if not products:  # a bag of embeddings multiplies nothing, so bf16 has nothing to gain
        return "32"
    found = recall(products)
    if found is None:
        fp32_seconds, bf16_seconds = measure(products)
        found = remember(products, choose(fp32_seconds, bf16_seconds), fp32_seconds, bf16_seconds)
    return "bf16" if found == "bf16" else "32"


def repeat_precision(recorded: str, device: str) -> FloatPrecision:
    """The precision that a run recorded; fp32, and a sentence in the log, where this machine has no bf16."""
    if recorded == "bf16" and supports_bf16(device):
        return "bf16"
    if recorded == "bf16":
        log.warning("the run was begun in bf16, which this machine does not compute in; it goes on in fp32")
    return "32"


def choose(fp32_seconds: float, bf16_seconds: float) -> FloatPrecision:
    """The precision to compute in, from what the same products take in each."""
    return "bf16" if fp32_seconds >= GAIN * bf16_seconds else "32"


def products_of(modules: Iterable[nn.Module]) -> list[Product]:
    """The different matrix products of some modules, in a fixed order."""
    found: set[Product] = set()
    for module in modules:
        for part in module.modules():
            if isinstance(part, nn.Linear):
                found.add((part.in_features, part.out_features))
            elif isinstance(part, nn.Conv1d):
                found.add((part.in_channels * part.kernel_size[0], part.out_channels))
            elif isinstance(part, nn.LSTM):
                found.add((part.input_size, 4 * part.hidden_size))
                found.add((part.hidden_size, 4 * part.hidden_size))
    return sorted(found)


def measure(products: Sequence[Product]) -> tuple[float, float]:
    """The seconds that one core takes for these products in fp32 and in bf16: medians of alternating measurements.

    It takes some tens of milliseconds. One core is measured because its time tells little of what else the machine
    does: the clock counts the thread's own time, not that of others who interrupt it.
    """
    operations = sum(2 * inputs * outputs for inputs, outputs in products)
    tokens = _OPERATIONS // operations // 32 * 32
    tokens = max(_FEWEST_TOKENS, min(tokens, _MOST_TOKENS))
    with single_core_threads(1) as thread:
        return thread.submit(_time_both, products, tokens).result()


def _time_both(products: Sequence[Product], tokens: int) -> tuple[float, float]:
    in_fp32 = [_layer(product, tokens, torch.float32) for product in products]
    in_bf16 = [_layer(product, tokens, torch.bfloat16) for product in products]
    fp32_seconds: list[float] = []
    bf16_seconds: list[float] = []
    with torch.inference_mode():
        _time(in_fp32)  # the first of each shape makes its kernel
        _time(in_bf16)
        for _ in range(_ROUNDS):
            fp32_seconds.append(_time(in_fp32))
            bf16_seconds.append(_time(in_bf16))
    return statistics.median(fp32_seconds), statistics.median(bf16_seconds)


def _layer(product: Product, tokens: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """What comes into a layer, and the layer's weights."""
    inputs, outputs = product
    return torch.full((tokens, inputs), 0.5, dtype=dtype), torch.full((outputs, inputs), 0.5, dtype=dtype)


def _time(layers: Sequence[tuple[Tensor, Tensor]]) -> float:
    clock = time.thread_time if time.get_clock_info("thread_time").resolution < 1e-5 else time.perf_counter
    started = clock()
    for x, weights in layers:
        F.linear(x, weights)
    return clock() - started
