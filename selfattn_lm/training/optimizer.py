"""AdamW that updates tables by row, its parameter groups, clipping and learning rates.

V rows of a table, C width, N rows with a gradient.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.lr_scheduler import LambdaLR

from selfattn_lm.nn import Classifier


class RowAdamW(torch.optim.AdamW):
    """AdamW (Loshchilov & Hutter 2017, 1711.05101) that updates tables of sparse gradients by row.

    A row without a gradient keeps its value and its moments, where plain Adam would move it on by
    its momentum. With a gradient in every step it moves as with plain Adam. Tables with sparse
    gradients are not decayed.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Run the closure, which computes the gradients, and update the parameters."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None and table.grad.is_sparse:
                    self._update_rows(table, table.grad.coalesce(), group)
                    table.grad = None  # the rest, which is dense, is for plain AdamW
        super().step()
        return loss

    def _update_rows(self, table: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Update N rows of a table (V, C), given its sparse gradient."""
        state = self.state[table]
        if not state:
            state["exp_avg"] = torch.zeros_like(table)
            state["exp_avg_sq"] = torch.zeros_like(table)
            state["step"] = torch.zeros((), device=table.device)
        rows, values = gradient.indices()[0], gradient.values()  # (N,), (N, C)
        weights = table.index_select(0, rows)  # (N, C)
        first_moments = state["exp_avg"].index_select(0, rows)
        second_moments = state["exp_avg_sq"].index_select(0, rows)
        beta1, beta2 = group["betas"]
        adamw(
            [weights],
            [values],
            [first_moments],
            [second_moments],
            [],
            [state["step"]],
            fused=True,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            eps=group["eps"],
            weight_decay=0.0,
            amsgrad=False,
            maximize=False,
        )
        table.index_copy_(0, rows, weights)
        state["exp_avg"].index_copy_(0, rows, first_moments)
        state["exp_avg_sq"].index_copy_(0, rows, second_moments)


def build_optimizer(
    model: Classifier, learning_rate: float, weight_decay: float, layer_decay: float = 1.0
) -> RowAdamW:
    """Build the optimizer of a model's parameters, without those that are frozen.

    Matrices are decayed, but not embeddings, biases and norms. Each encoder layer, and the
    embedding below the first one, learns at `layer_decay` times the rate of the layer above it:
    what lies deeper is of more general use (Howard & Ruder 2018, 1801.06146).
    """
    tables = [
        module for module in model.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)
    ]
    not_decayed = {id(parameter) for table in tables for parameter in table.parameters()}
    parameters: dict[tuple[float, float], list[nn.Parameter]] = {}  # by learning rate and decay
    groups = model.parameter_groups()
    for number, group in enumerate(groups):
        # The last two groups are beyond all layers and learn at the full rate.
        layers_above = max(0, len(groups) - 2 - number)
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
    """Give tables dense gradients, for devices that cannot add up sparse ones.

    All rows then move by their momentum in each step, and a step takes time in proportion to the
    size of the tables.
    """
    for module in model.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.sparse = False


def freeze(model: Classifier, upto: int | Literal["none", "embeddings", "all"]) -> None:
    """Freeze the embedding, alone or with the first `upto` layers, or all but pooling and heads."""
    groups = model.parameter_groups()
    if isinstance(upto, int):
        frozen = min(1 + upto, len(groups) - 2)
    else:
        frozen = {"none": 0, "embeddings": 1, "all": len(groups) - 1}[upto]
    for group in groups[:frozen]:
        for parameter in group:
            parameter.requires_grad_(False)


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> float:
    """Scale all gradients, sparse ones too, so that their common norm is at most `max_norm`.

    Returns the norm before; gradients of which it is NaN or infinite are not scaled.
    """
    gradients: list[Tensor] = []
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        if gradient.is_sparse:
            gradient = gradient.coalesce()
            parameter.grad = gradient
            gradient = gradient.values()
        gradients.append(gradient)
    norm = float(torch.nn.utils.get_total_norm(gradients, foreach=True))
    if max_norm < norm < math.inf:
        torch._foreach_mul_(gradients, max_norm / (norm + 1e-6))
    return norm


def warmup_and_decay(
    optimizer: torch.optim.Optimizer, steps: int, warmup_fraction: float
) -> LambdaLR:
    """Raise the learning rate linearly over a fraction of the steps, then lower it to zero."""
    warmup_steps = max(1, round(steps * warmup_fraction))
    decay_steps = max(1, steps - warmup_steps)

    def factor(step: int) -> float:
        rising = (step + 1) / warmup_steps
        falling = max(0.0, (steps - step) / decay_steps)
        return min(rising, falling)

    return LambdaLR(optimizer, factor)
