"""AdamW with decay groups, embedding tables updated where they were touched, and the learning rate over the steps."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.lr_scheduler import LambdaLR

from selfattn_lm.nn import Classifier


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


def build_optimizer(model: Classifier, learning_rate: float, weight_decay: float, layer_decay: float = 1.0) -> RowAdamW:
    """Build the optimizer of a model's parameters, without those that are frozen.

    Matrices are decayed, but not embeddings, biases and norms. Each encoder layer, and the embedding below the first
    one, learns at `layer_decay` times the rate of the layer above it: what lies deeper is of more general use (Howard
    & Ruder 2018, 1801.06146).
    """
    tables = [module for module in model.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)]
    not_decayed = {id(parameter) for table in tables for parameter in table.parameters()}
    parameters: dict[tuple[float, float], list[nn.Parameter]] = {}  # by learning rate and decay
    groups = model.parameter_groups()
    for number, group in enumerate(groups):
        layers_above = max(
            0, len(groups) - 2 - number
        )  # the last two groups, beyond all layers, learn at the full rate
        rate = learning_rate * layer_decay**layers_above
        for parameter in group:
            if parameter.requires_grad:
                is_decayed = parameter.ndim > 1 and id(parameter) not in not_decayed
                decay = weight_decay if is_decayed else 0.0
                parameters.setdefault((rate, decay), []).append(parameter)
    options = []
    for (rate, decay), group in parameters.items():
        options.append({"params": group, "lr": rate, "weight_decay": decay})
    return RowAdamW(options, fused=True)


def use_dense_gradients(model: nn.Module) -> None:
    """Give tables gradients of all their rows, for devices that cannot add up those of the touched rows alone.

    Then all rows move by their momentum in each step, and a step costs as much as the tables are large.
    """
    for module in model.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.sparse = False


def freeze(model: Classifier, upto: int | Literal["none", "embeddings", "all"]) -> None:
    """Freeze the embedding, the embedding and the first `upto` encoder layers, or all but pooling and heads."""
    groups = model.parameter_groups()
    if isinstance(upto, int):
        frozen = min(1 + upto, len(groups) - 2)
    else:
        frozen = {"none": 0, "embeddings": 1, "all": len(groups) - 1}[upto]
    for group in groups[:frozen]:
        for parameter in group:
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
