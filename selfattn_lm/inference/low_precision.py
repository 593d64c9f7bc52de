"""Encoders that compute in fewer bits, for prediction alone.

B batch, T tokens, C width, H heads, D = C / H, O outputs of a layer.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfattn_lm import hardware
from selfattn_lm.config import Precision
from selfattn_lm.errors import UserError
from selfattn_lm.hardware import Device
from selfattn_lm.nn import Branch, Classifier, Encoder
from selfattn_lm.precision import FloatPrecision, choose_precision


def convert_precision(
    model: Classifier, precision: Precision, device: Device, floats: FloatPrecision | None = None
) -> Classifier:
    """Convert the encoders of a model; all else is shared with it and stays in fp32.

    What stays is small, and decides.

    Args:
        model: The model.
        precision: int8 computes the matrix products in 8 bits, and the rest in `floats`.
        device: Where it computes.
        floats: The floating-point precision; by default the faster one.
    """
    if precision == "int8":
        require_int8(device)
    if floats is None:
        floats = float_precision(model, precision, device)
    if precision != "int8" and floats == "32":
        return model
    dtype = torch.bfloat16 if floats == "bf16" else torch.float32
    branches = {}
    for name, branch in model.branches.items():
        encoder = branch.encoder
        if isinstance(encoder, Encoder):
            converted = to_int8(encoder, dtype) if precision == "int8" else to_bf16(encoder)
            encoder = LowPrecisionEncoder(converted, dtype)
        branches[name] = Branch(encoder, branch.pool, branch.head)
    converted_model = Classifier(model.embedding, branches, model.ngrams).eval()
    converted_model.branch_weights = model.branch_weights
    return converted_model


def float_precision(model: Classifier, precision: Precision, device: Device) -> FloatPrecision:
    """Choose the precision of all that is not computed in 8 bits: as asked for, or the faster."""
    if precision in ("32", "bf16"):
        return precision
    encoders = []
    for branch in model.branches.values():
        if isinstance(branch.encoder, Encoder):
            encoders.append(branch.encoder)
    return choose_precision(encoders, device)


def require_int8(device: Device) -> None:
    """Refuse int8 where oneDNN does not compute it."""
    if device != "cpu":
        raise UserError(
            f"precision: int8 needs a CPU with oneDNN, and this is {device}; give bf16 or 32."
        )
    if hardware.largest_int8_weight() == 0:
        reason = "int8 needs oneDNN, which this torch lacks or this processor"
        raise UserError(f"precision: {reason}; give bf16 or 32.")


class LowPrecisionEncoder(nn.Module):
    """An encoder of another precision among parts in fp32: (B, T, C), (B, T) -> (B, T, C)."""

    def __init__(self, encoder: Encoder, dtype: torch.dtype) -> None:
        super().__init__()
        self.encoder = encoder
        self.dtype = dtype

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Encode: (B, T, C), (B, T) -> (B, T, C)."""
        hidden_states: Tensor = self.encoder(x.to(self.dtype), mask)
        return hidden_states.float()


def to_bf16(encoder: Encoder) -> Encoder:
    """Copy an encoder to bf16, with oneDNN's layers where it multiplies in bf16."""
    converted = copy.deepcopy(encoder).requires_grad_(False).to(torch.bfloat16)
    on_cpu = next(encoder.parameters()).device.type == "cpu"
    if on_cpu and hardware.has_onednn_bf16():
        for layer in converted.layers:
            replace_linears(layer, PackedLinear)
    return converted


def to_int8(encoder: Encoder, rest: torch.dtype) -> Encoder:
    """Copy an encoder, with matrix products of 8-bit integers and the `rest` in another type."""
    converted = copy.deepcopy(encoder).requires_grad_(False)
    for layer in converted.layers:
        replace_linears(layer, Int8Linear)  # rounds the weights of fp32
    return converted.to(rest)


def replace_linears(layer: Any, linear: Callable[..., nn.Module]) -> None:
    """Give an `EncoderLayer` faster parts."""
    attention = layer.attention
    attention.qkv = linear(attention.qkv)
    attention.out = linear(attention.out)
    if hardware.has_amx():
        attention.backend = fused_in_tiles
    first, activation, last = layer.feed_forward
    if isinstance(activation, nn.GELU) and activation.approximate == "none":
        layer.feed_forward = nn.Sequential(linear(first, "gelu"), linear(last))
    else:
        layer.feed_forward = nn.Sequential(linear(first), activation, linear(last))


def fused_in_tiles(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Attend by torch's fused kernel, padded to a multiple of 16 tokens: -> (B, H, T, D).

    On a CPU with AMX, which multiplies in tiles of 16, it took half the written-out path's time.
    """
    length = query.shape[2]
    padding = -length % 16
    if padding > 0:
        query = F.pad(query, (0, 0, 0, padding))  # (B, H, T + padding, D)
        key = F.pad(key, (0, 0, 0, padding))
        value = F.pad(value, (0, 0, 0, padding))
        mask = F.pad(mask, (0, padding))
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
    return attended[:, :, :length]


class PackedLinear(nn.Module):
    """A linear layer whose weights are ordered as oneDNN reads them: (..., C) -> (..., O).

    At width 256 it took 3/4 of a plain layer's time. The activation is computed before rounding,
    at no cost.
    """

    def __init__(self, layer: nn.Linear, activation: str = "none") -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
        self.bias = layer.bias
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Multiply and add: (..., C) -> (..., O)."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.packed, self.bias, self.activation, [], "none"
        )
        return y


class Int8Linear(nn.Module):
    """A linear layer of 8-bit integers: (..., C) -> (..., O), in the type of its input.

    The weights of each output are scaled by the largest of them (Jacob et al. 2017, 1712.05877),
    the input by the largest number of the batch, so the result of a text depends a little on the
    others. Processors that add up products in 16 bits get weights of 7 bits, whose sums fit.
    """

    def __init__(self, layer: nn.Linear, activation: str = "none") -> None:
        super().__init__()
        weight = layer.weight.detach().float()  # (O, C)
        largest = hardware.largest_int8_weight()
        self.scale = (weight.abs().amax(1) / largest).clamp(min=1e-12)  # (O,)
        self.bias = layer.bias.detach().float()
        self.zero_points = torch.zeros(len(weight), dtype=torch.int64)
        integers = (weight / self.scale[:, None]).round().to(torch.int8)
        self.packed = torch.ops.onednn.qlinear_prepack(integers, None)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Multiply and add: (..., C) -> (..., O)."""
        low, high = x.aminmax()
        scale = max(-float(low), float(high), 1e-12) / 127
        integers = (x * (1 / scale)).round_().to(torch.int8)
        # oneDNN is fast with unsigned numbers: flipping the sign bit adds 128.
        unsigned = integers.view(torch.uint8).bitwise_xor_(128)
        y = torch.ops.onednn.qlinear_pointwise(
            unsigned.flatten(0, -2), scale, 128, self.packed, self.scale, self.zero_points,
            self.bias, 1.0, 0, x.dtype, self.activation, [], "none",
        )  # fmt: skip
        shaped: Tensor = y.view(*x.shape[:-1], -1)
        return shaped
