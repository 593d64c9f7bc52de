"""Encoders that compute in fewer bits, for prediction alone. B batch, T tokens, C width, O a layer's outputs."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfattn_lm import hardware
from selfattn_lm.config import Precision
from selfattn_lm.errors import UserError
from selfattn_lm.hardware import FloatPrecision
from selfattn_lm.nn import Branch, Classifier, Encoder
from selfattn_lm.nn.attention import SelfAttention


def in_precision(
    model: Classifier, precision: Precision, device: str, floats: FloatPrecision | None = None
) -> Classifier:
    """The model with encoders in another precision, sharing all else, which is small and decides: it stays in 32 bits.

    `int8` computes the matrix products in 8 bits and the rest in `floats`, by default what is fastest on the device.
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
    narrow = Classifier(model.embedding, branches).eval()
    narrow.branch_weights = model.branch_weights
    return narrow


def float_precision(model: Classifier, precision: Precision, device: str) -> FloatPrecision:
    """The precision of all that is not computed in 8 bits: the one asked for, or the fastest on the device."""
    if precision in ("32", "bf16"):
        return precision
    encoders = [branch.encoder for branch in model.branches.values() if isinstance(branch.encoder, Encoder)]
    return hardware.choose_precision(encoders, device)


def require_int8(device: str) -> None:
    """Refuse int8 where oneDNN does not compute it."""
    if device != "cpu":
        raise UserError(f"precision: int8 needs a CPU with oneDNN, and this is {device}; give bf16 or 32.")
    if hardware.largest_int8_weight() == 0:
        raise UserError("precision: int8 needs oneDNN, which this torch lacks or this processor; give bf16 or 32.")


class LowPrecisionEncoder(nn.Module):
    """An encoder of another type among parts in 32 bits: (B, T, C), (B, T) -> (B, T, C), float32."""

    def __init__(self, encoder: Encoder, dtype: torch.dtype) -> None:
        super().__init__()
        self.encoder = encoder
        self.dtype = dtype

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        """Encode: (B, T, C), (B, T) -> (B, T, C)."""
        states: Tensor = self.encoder(x.to(self.dtype), attention_mask)
        return states.float()


def to_bf16(encoder: Encoder) -> Encoder:
    """A copy in bf16; where oneDNN multiplies in it, with its layers, elsewhere by torch's plain operations."""
    converted = copy.deepcopy(encoder).requires_grad_(False).to(torch.bfloat16)
    on_cpu = next(encoder.parameters()).device.type == "cpu"
    if on_cpu and hardware.has_onednn_bf16():
        for layer in converted.layers:
            replace_linears(layer, PackedLinear)
    return converted


def to_int8(encoder: Encoder, rest: torch.dtype) -> Encoder:
    """A copy whose matrix products are those of 8-bit whole numbers, the `rest` in another type."""
    converted = copy.deepcopy(encoder).requires_grad_(False)
    for layer in converted.layers:
        replace_linears(layer, Int8Linear)  # which is made from weights of 32 bits
    return converted.to(rest)


def replace_linears(layer: Any, linear: Callable[..., nn.Module]) -> None:
    """Give an `EncoderLayer` faster parts."""
    attention = layer.attention
    attention.qkv = linear(attention.qkv)
    attention.out = linear(attention.out)
    if hardware.has_amx():
        layer.attention = FusedAttention(attention)
    first, activation, last = layer.feed_forward
    if isinstance(activation, nn.GELU) and activation.approximate == "none":
        layer.feed_forward = nn.Sequential(linear(first, "gelu"), linear(last))
    else:
        layer.feed_forward = nn.Sequential(linear(first), activation, linear(last))


class FusedAttention(nn.Module):
    """Self-attention by the fused kernel: (B, T, C), (B, T) -> (B, T, C), None.

    Forward alone, on a CPU with AMX, it took half the written-out path's time for T a multiple of 16, else as much.
    """

    def __init__(self, attention: SelfAttention) -> None:
        super().__init__()
        self.inner = attention

    def forward(self, x: Tensor, attention_mask: Tensor) -> tuple[Tensor, None]:
        """Attend: (B, T, C), (B, T) -> (B, T, C), None."""
        (query, key, value), more = self.inner.project_qkv(x), -x.shape[1] % 16
        if more:  # without padding there is nothing to copy
            query, key, value = (F.pad(part, (0, 0, 0, more)) for part in (query, key, value))  # (B, H, T + more, D)
            attention_mask = F.pad(attention_mask, (0, more))
        mask = attention_mask[:, None, None, :]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)[:, :, : x.shape[1]]
        return self.inner.out(mixed.transpose(1, 2).flatten(2)), None


class PackedLinear(nn.Module):
    """A linear layer whose weights lie in the order in which oneDNN reads them: (..., C) -> (..., O).

    At width 256 it took 3/4 of a plain layer's time; the activation is computed before rounding, and costs nothing.
    """

    def __init__(self, layer: nn.Linear, activation: str = "none") -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
        self.bias, self.activation = layer.bias, activation

    def forward(self, x: Tensor) -> Tensor:
        """Multiply and add: (..., C) -> (..., O)."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, self.activation, [], "none")
        return y


class Int8Linear(nn.Module):
    """A linear layer of 8-bit whole numbers: (..., C) -> (..., O), in the type of what comes in.

    Each output's weights are scaled by the largest of them (Jacob et al. 2017, 1712.05877), what comes in by the
    largest number of the batch, so that a text's result depends a little on its neighbours. Processors that add up
    products in 16 bits get weights of 7 bits, whose sums fit.
    """

    def __init__(self, layer: nn.Linear, activation: str = "none") -> None:
        super().__init__()
        weight = layer.weight.detach().float()  # (O, C)
        largest = hardware.largest_int8_weight()
        self.scale = (weight.abs().amax(1) / largest).clamp(min=1e-12)  # (O,)
        self.bias = layer.bias.detach().float()
        self.zero = torch.zeros(len(weight), dtype=torch.int64)
        whole = (weight / self.scale[:, None]).round().to(torch.int8)
        self.packed = torch.ops.onednn.qlinear_prepack(whole, None)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Multiply and add: (..., C) -> (..., O)."""
        low, high = x.aminmax()
        scale = max(-float(low), float(high), 1e-12) / 127
        # oneDNN is fast with unsigned numbers: adding 128 is to turn the sign's bit.
        whole = (x * (1 / scale)).round_().to(torch.int8).view(torch.uint8).bitwise_xor_(128)
        y = torch.ops.onednn.qlinear_pointwise(
            whole.flatten(0, -2), scale, 128, self.packed, self.scale, self.zero, self.bias, 1.0, 0, x.dtype,
            self.activation, [], "none",
        )  # fmt: skip
        shaped: Tensor = y.view(*x.shape[:-1], -1)
        return shaped
