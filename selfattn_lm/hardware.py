"""The machine's devices, and what they support."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import torch

from selfattn_lm.errors import UserError

Device = Literal["cpu", "cuda", "mps"]


def choose_device(accelerator: str = "auto") -> Device:
    """Return the device for a value of `training.accelerator`.

    `auto` is CUDA where torch finds it, else the CPU. MPS is used only on request: by its name, or
    by `gpu` where there is no CUDA.

    Raises:
        UserError: torch does not find the requested device.
    """
    has_cuda = torch.cuda.is_available()
    has_mps = torch.backends.mps.is_available()
    if accelerator == "cpu" or (accelerator == "auto" and not has_cuda):
        return "cpu"
    if has_cuda and accelerator in ("auto", "gpu", "cuda"):
        return "cuda"
    if has_mps and accelerator in ("gpu", "mps"):
        return "mps"
    raise UserError(f"training.accelerator: torch finds no {accelerator} device; use cpu or auto.")


def choose_device_count(devices: int | str) -> int:
    """Return the number of devices on this machine that train together.

    `auto` is the number of processes that torchrun started here, else one.
    """
    if devices != "auto":
        return int(devices)
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def can_reduce_sparse_gradients(device: str, processes: int) -> bool:
    """Return whether embedding tables can have sparse gradients, of only the rows in a batch.

    NCCL cannot sum sparse gradients over processes, and MPS does not support them.
    """
    return device == "cpu" or (device == "cuda" and processes == 1)


def has_onednn() -> bool:
    """Return whether torch was built with oneDNN and is allowed to use it."""
    built_in = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return built_in and bool(torch.backends.mkldnn.enabled)


def supports_bf16(device: str) -> bool:
    """Return whether the device has kernels for products in bf16, which is slow without them."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and has_onednn_bf16()


def has_onednn_bf16() -> bool:
    """Return whether oneDNN multiplies in bf16 here, as `ONEDNN_MAX_CPU_ISA` may limit it."""
    return has_onednn() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def has_amx() -> bool:
    """Return whether the processor multiplies bf16 matrices in tiles, as far as torch can tell."""
    is_supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return is_supported is not None and has_onednn_bf16() and bool(is_supported())


def largest_int8_weight() -> int:
    """Return the largest weight with which int8 products are exact: 127, 63, or 0 for none.

    Processors without VNNI add two products in 16 bits. 2 * 255 * 127 overflows them, 2 * 255 * 63
    does not. A product is computed to find out, because oneDNN may use fewer instructions than the
    processor has.
    """
    if not has_onednn():
        return 0
    for largest in (127, 63):
        if _int8_is_exact(largest):
            return largest
    return 0


@cache
def _int8_is_exact(weight: int) -> bool:
    """Compare a product of the largest input, 255, and the weight with the exact result."""
    rows, inputs, outputs = 16, 64, 32
    x = torch.full((rows, inputs), 255, dtype=torch.uint8)
    weights = torch.full((outputs, inputs), weight, dtype=torch.int8)
    scales = torch.ones(outputs)
    zero_points = torch.zeros(outputs, dtype=torch.int64)
    bias = torch.zeros(outputs)
    try:
        packed = torch.ops.onednn.qlinear_prepack(weights, None)
        y = torch.ops.onednn.qlinear_pointwise(
            x, 1.0, 0, packed, scales, zero_points, bias, 1.0, 0, torch.float32, "none", [], "none"
        )
    except (AttributeError, RuntimeError):  # torch lacks the operation, or the processor does
        return False
    return bool((y == 255 * weight * inputs).all())


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Have this thread compute numbers below 1e-38 as zero, with which processors are slow.

    Gradients through attention become so small, most often with many labels: training with 90 of
    them takes a fifth less time, and no longer than with one label per text.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
