"""The choice of a floating-point precision, fp32 or bf16; on a CPU the faster one is measured."""

import logging
import statistics
import time
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfattn_lm import hardware
from selfattn_lm.measurements import recall, remember
from selfattn_lm.threads import single_core_threads

log = logging.getLogger(__name__)

FloatPrecision = Literal["32", "bf16"]
Product = tuple[int, int]  # a matrix product of a layer: its input and output features

MIN_SPEEDUP = 1.3  # bf16 rounds, so `auto` chooses it only if it is this many times as fast as fp32
_REPETITIONS = 7
_OPERATIONS = 2**28  # floating-point operations in each measurement: about 2 ms on one core
_MIN_TOKENS, _MAX_TOKENS = 32, 1024


def choose_precision(modules: Iterable[nn.Module], device: str) -> FloatPrecision:
    """Return the faster precision for the matrix products of the modules.

    On a CPU both precisions are measured, once for each set of shapes. The result is cached in the
    process and on the disk, so that later calls return the same precision.
    """
    if not hardware.supports_bf16(device):
        return "32"
    if device == "cuda":
        return "bf16"
    products = products_of(modules)
    if not products:  # a bag of embeddings has no matrix products that bf16 could make faster
        return "32"
    chosen = recall(products)
    if chosen is None:
        fp32_seconds, bf16_seconds = measure(products)
        measured = faster_precision(fp32_seconds, bf16_seconds)
        chosen = remember(products, measured, fp32_seconds, bf16_seconds)
    if chosen == "bf16":
        return "bf16"
    return "32"


def repeat_precision(recorded: str, device: str) -> FloatPrecision:
    """Return the precision that a run recorded, or fp32 with a warning if bf16 is not supported."""
    if recorded != "bf16":
        return "32"
    if not hardware.supports_bf16(device):
        log.warning("the run was trained in bf16, which this machine does not support; using fp32")
        return "32"
    return "bf16"


def faster_precision(fp32_seconds: float, bf16_seconds: float) -> FloatPrecision:
    """Return bf16 if it is at least `MIN_SPEEDUP` times as fast as fp32, else fp32."""
    if fp32_seconds >= MIN_SPEEDUP * bf16_seconds:
        return "bf16"
    return "32"


def products_of(modules: Iterable[nn.Module]) -> list[Product]:
    """Return the distinct matrix products of the modules, sorted."""
    products: set[Product] = set()
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                products.add((layer.in_features, layer.out_features))
            elif isinstance(layer, nn.Conv1d):
                products.add((layer.in_channels * layer.kernel_size[0], layer.out_channels))
            elif isinstance(layer, nn.LSTM):  # its four gates are computed together
                products.add((layer.input_size, 4 * layer.hidden_size))
                products.add((layer.hidden_size, 4 * layer.hidden_size))
    return sorted(products)


def measure(products: Sequence[Product]) -> tuple[float, float]:
    """Return the seconds that one core takes for the products in fp32 and in bf16.

    They are medians of alternating measurements, which together take some tens of milliseconds. A
    single thread is measured by its own clock, so that other work of the machine hardly matters.
    """
    operations_per_token = 0
    for inputs, outputs in products:
        operations_per_token += 2 * inputs * outputs
    tokens = _OPERATIONS // operations_per_token
    tokens = tokens // 32 * 32
    tokens = max(_MIN_TOKENS, min(tokens, _MAX_TOKENS))
    with single_core_threads(1) as thread:
        return thread.submit(_time_both, products, tokens).result()


def _time_both(products: Sequence[Product], tokens: int) -> tuple[float, float]:
    fp32_layers = _layers(products, tokens, torch.float32)
    bf16_layers = _layers(products, tokens, torch.bfloat16)
    fp32_seconds: list[float] = []
    bf16_seconds: list[float] = []
    with torch.inference_mode():
        _time(fp32_layers)  # oneDNN generates a kernel at the first call with a shape
        _time(bf16_layers)
        for _ in range(_REPETITIONS):
            fp32_seconds.append(_time(fp32_layers))
            bf16_seconds.append(_time(bf16_layers))
    return statistics.median(fp32_seconds), statistics.median(bf16_seconds)


def _layers(
    products: Sequence[Product], tokens: int, dtype: torch.dtype
) -> list[tuple[Tensor, Tensor]]:
    """Inputs (tokens, inputs) and weights (outputs, inputs) of each product."""
    layers: list[tuple[Tensor, Tensor]] = []
    for inputs, outputs in products:
        x = torch.full((tokens, inputs), 0.5, dtype=dtype)
        weights = torch.full((outputs, inputs), 0.5, dtype=dtype)
        layers.append((x, weights))
    return layers


def _time(layers: Sequence[tuple[Tensor, Tensor]]) -> float:
    """The seconds of one pass through the layers."""
    clock = time.perf_counter
    if time.get_clock_info("thread_time").resolution < 1e-5:  # some systems count in ticks of 15 ms
        clock = time.thread_time
    started = clock()
    for x, weights in layers:
        F.linear(x, weights)
    return clock() - started
