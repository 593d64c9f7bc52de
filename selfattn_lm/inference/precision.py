"""Encoders that compute in fewer bits, for prediction alone. B batch, T tokens, C width, O a layer's outputs."""

import copy
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfattn_lm.config import Precision
from selfattn_lm.errors import UserError
from selfattn_lm.nn import Classifier, Encoder, View
from selfattn_lm.nn.attention import SelfAttention


def best_precision(device: str) -> Literal["32", "bf16"]:
    """Half precision where a device (cpu, cuda, mps) computes in it; elsewhere it is emulated and slow."""
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"
    abilities = torch.cpu.get_capabilities()
    return "bf16" if device == "cpu" and (abilities.get("amx_bf16") or abilities.get("avx512_bf16")) else "32"


def in_precision(model: Classifier, precision: Precision, device: str) -> Classifier:
    """The model with encoders in another precision, sharing all else, which is small and decides: it stays in 32 bits.

    `int8` computes the matrix products in 8 bits and the rest in the device's best precision.
    """
    with_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if precision == "int8" and not (device == "cpu" and with_onednn):
        raise UserError(f"precision: int8 needs a CPU with oneDNN, and this is {device}; give bf16 or 32.")
    bits = best_precision(device) if precision in ("auto", "int8") else precision
    if bits == "32" and precision != "int8":
        return model
    views = {}
    for name, view in model.views.items():
        encoder = view.encoder
        if isinstance(encoder, Encoder):
            encoder = _Narrow(encoder, torch.bfloat16 if bits == "bf16" else torch.float32, precision == "int8")
        views[name] = View(encoder, view.pool, view.head)
    narrow = Classifier(model.embedding, views).eval()
    narrow.mix = model.mix
    return narrow


class _Narrow(nn.Module):
    """A copy of an encoder that computes in another type, or in 8 bits: (B, T, C), (B, T) -> (B, T, C), float32."""

    def __init__(self, encoder: Encoder, dtype: torch.dtype, integer: bool) -> None:
        super().__init__()
        self.dtype, self.encoder = dtype, copy.deepcopy(encoder).requires_grad_(False)
        if not integer:  # which is made from weights of 32 bits
            self.encoder.to(dtype)
        if integer or _packs(encoder, dtype):
            for layer in self.encoder.layers:
                _rebuild(layer, Int8Linear if integer else PackedLinear)
        self.encoder.to(dtype)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """Encode: (B, T, C), (B, T) -> (B, T, C)."""
        states: Tensor = self.encoder(x.to(self.dtype), keep)
        return states.float()


def _packs(encoder: Encoder, dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies this type here."""
    on_cpu = next(encoder.parameters()).device.type == "cpu"
    return on_cpu and dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _rebuild(layer: Any, linear: Callable[..., nn.Module]) -> None:
    """Give an `EncoderLayer` faster parts."""
    attention, (first, activation, last) = layer.attention, layer.feed_forward
    attention.project, attention.combine = linear(attention.project), linear(attention.combine)
    if torch.cpu.get_capabilities().get("amx_bf16"):
        layer.attention = FusedAttention(attention)
    exact = isinstance(activation, nn.GELU) and activation.approximate == "none"
    first = [linear(first, "gelu")] if exact else [linear(first), activation]
    layer.feed_forward = nn.Sequential(*first, linear(last))


class FusedAttention(nn.Module):
    """Self-attention by the fused kernel: (B, T, C), (B, T) -> (B, T, C), None.

    Forward alone, on a CPU with AMX, it took half the written-out path's time for T a multiple of 16, else as much.
    """

    def __init__(self, attention: SelfAttention) -> None:
        super().__init__()
        self.inner = attention

    def forward(self, x: Tensor, keep: Tensor) -> tuple[Tensor, None]:
        """Attend: (B, T, C), (B, T) -> (B, T, C), None."""
        (query, key, value), more = self.inner.ask(x), -x.shape[1] % 16
        if more:  # without padding there is nothing to copy
            query, key, value = (F.pad(part, (0, 0, 0, more)) for part in (query, key, value))  # (B, H, T + more, D)
            keep = F.pad(keep, (0, more))
        mask = keep[:, None, None, :]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)[:, :, : x.shape[1]]
        return self.inner.combine(mixed.transpose(1, 2).flatten(2)), None


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
    largest number of the batch, so that a text's result depends a little on its neighbours.
    """

    def __init__(self, layer: nn.Linear, activation: str = "none") -> None:
        super().__init__()
        weight = layer.weight.detach().float()  # (O, C)
        self.scale = (weight.abs().amax(1) / 127).clamp(min=1e-12)  # (O,)
        self.bias, self.zero = layer.bias.detach().float(), torch.zeros(len(weight), dtype=torch.int64)
        whole = (weight / self.scale[:, None]).round().to(torch.int8)
        self.packed, self.activation = torch.ops.onednn.qlinear_prepack(whole, None), activation

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
