"""AdamW with decay groups, and the learning rate over the steps."""

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR


def build_optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2017, 1711.05101) that decays matrices, but not embeddings, biases and norms."""
    embeddings = {id(p) for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    decayed = [p for p in model.parameters() if p.ndim > 1 and id(p) not in embeddings]
    rest = [p for p in model.parameters() if p.ndim < 2 or id(p) in embeddings]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, fused=True)


def warmup_and_decay(optimizer: torch.optim.Optimizer, steps: int, warmup: float) -> LambdaLR:
    """Rise linearly over the first share of the steps, fall linearly to zero over the rest."""
    rising = max(1, round(steps * warmup))

    def share(step: int) -> float:
        return min((step + 1) / rising, max(0.0, (steps - step) / max(1, steps - rising)))

    return LambdaLR(optimizer, share)
