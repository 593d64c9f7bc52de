"""AdamW with decay groups, embedding tables updated where they were touched, and the learning rate over the steps."""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.lr_scheduler import LambdaLR

_HEAD = 1000  # deeper than any encoder


class RowAdamW(torch.optim.AdamW):
    """AdamW (Loshchilov & Hutter 2017, 1711.05101), fused, that updates a table with sparse gradients row by row.

    A row that a step did not touch keeps its value and its moments, where plain Adam would move it on by its momentum;
    touched in every step, it moves as plain Adam moves it. Such tables are not decayed.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Run the closure, which computes the gradients, then update."""
        with torch.enable_grad():
            loss = closure() if closure is not None else None
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None and table.grad.is_sparse:
                    self._update_rows(table, table.grad.coalesce(), group)
                    table.grad = None  # what is left is dense, and plain AdamW's
        super().step()
        return loss

    def _update_rows(self, table: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[table]
        if not state:
            state |= {name: torch.zeros_like(table) for name in ("exp_avg", "exp_avg_sq")}
            state["step"] = torch.zeros((), device=table.device)
        rows, values = gradient.indices()[0], gradient.values()  # (N,), (N, C)
        whole = (table, state["exp_avg"], state["exp_avg_sq"])
        weights, first, second = touched = [tensor.index_select(0, rows) for tensor in whole]
        settings = {"lr": group["lr"], "eps": group["eps"], "weight_decay": 0.0, "amsgrad": False, "maximize": False}
        settings["beta1"], settings["beta2"] = group["betas"]
        adamw([weights], [values], [first], [second], [], [state["step"]], fused=True, **settings)
        for tensor, part in zip(whole, touched, strict=True):
            tensor.index_copy_(0, rows, part)


def build_optimizer(model: nn.Module, lr: float, weight_decay: float, layer_decay: float = 1.0) -> RowAdamW:
    """Decays matrices, but not embeddings, biases and norms; leaves out what is frozen.

    Each layer learns at `layer_decay` times the rate of the one above it: what lies deeper is of more general use
    (Howard & Ruder 2018, 1801.06146).
    """
    tables = [m for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
    embeddings = {id(p) for table in tables for p in table.parameters()}
    depths = {name: depth(name) for name, _ in model.named_parameters()}
    above = 1 + max((place for place in depths.values() if place < _HEAD - 1), default=0)  # where the head stands
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            rate = lr * layer_decay ** max(0, above - depths[name])
            decay = weight_decay if p.ndim > 1 and id(p) not in embeddings else 0.0
            groups.setdefault((rate, decay), []).append(p)
    return RowAdamW(
        [{"params": group, "lr": rate, "weight_decay": decay} for (rate, decay), group in groups.items()], fused=True
    )


def use_dense_gradients(model: nn.Module) -> None:
    """Give tables gradients of all their rows, for devices that cannot add up those of the touched rows alone.

    Then all rows move by their momentum in each step, and a step costs as much as the tables are large.
    """
    for module in model.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.sparse = False


def depth(name: str) -> int:
    """How far above the input a parameter works: 0 in the embedding, 1 in the first layer, in the head beyond all."""
    if layer := re.search(r"\.encoder\.layers\.(\d+)\.", name):
        return 1 + int(layer[1])
    return 0 if name.startswith("embedding.") else _HEAD - (".encoder." in name)


def freeze(model: nn.Module, what: int | str) -> None:
    """Keep some parameters as they are: the embeddings, they and the first `what` layers, or all but the head."""
    last = {"none": -1, "embeddings": 0, "all": _HEAD - 1}.get(str(what), what)
    for name, parameter in model.named_parameters():
        if depth(name) <= int(last):
            parameter.requires_grad_(False)


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> float:
    """Scale all gradients, sparse ones too, so that their norm together is at most `max_norm`.

    Returns the norm before; where it is NaN or infinite nothing is scaled.
    """
    gradients: list[Tensor] = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
        if parameter.grad is not None:
            gradients.append(parameter.grad.values() if parameter.grad.is_sparse else parameter.grad)
    norm = float(torch.nn.utils.get_total_norm(gradients, foreach=True))
    if max_norm < norm < math.inf:
        torch._foreach_mul_(gradients, max_norm / (norm + 1e-6))
    return norm


def warmup_and_decay(optimizer: torch.optim.Optimizer, steps: int, warmup: float) -> LambdaLR:
    """Rise linearly over the first share of the steps, fall linearly to zero over the rest."""
    rising = max(1, round(steps * warmup))

    def share(step: int) -> float:
        return min((step + 1) / rising, max(0.0, (steps - step) / max(1, steps - rising)))

    return LambdaLR(optimizer, share)
