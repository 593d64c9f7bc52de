"""Sequence in, class out: an embedding and one or more branches, each with an encoder and a head.

B batch, T tokens, C width, L outputs, K branches, H heads.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from selfattn_lm.inputs import Inputs
from selfattn_lm.nn.ngrams import NgramClassifier

# The fraction of its gradient by which the second branch moves the embedding: the first branch, a
# bag of words, decides what single words mean.
GRADIENT_FRACTION = 0.2


class Branch(nn.Module):
    """One way to classify a text.

    Args:
        encoder: Gives each token its context, (B, T, C), (B, T) -> (B, T, C).
        pool: Turns the vectors of a text into one, (B, T, C), (B, T) -> (B, C).
        head: Computes the logits, (B, C) -> (B, L).
    """

    def __init__(
        self, encoder: nn.Module, pool: Callable[[Tensor, Tensor], Tensor], head: nn.Module
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pool = pool
        self.head = head

    def forward(self, embedded: Tensor, attention_mask: Tensor) -> Tensor:
        """Compute one vector per text, before the head: (B, T, C), (B, T) -> (B, C)."""
        hidden_states = self.encoder(embedded, attention_mask)
        return self.pool(hidden_states, attention_mask)


class Classifier(nn.Module):
    """Inputs in, logits out: a shared embedding with one or two branches, and an n-gram branch.

    - `bag`: the mean of the embeddings, blind to context (a fastText-like classifier);
    - `encoder`: the embeddings after self-attention, pooled;
    - `ngrams`: a linear model of the n-grams of the whole text, which shares nothing with them.

    The first two are trained, each with its own loss, so the embeddings learn what single words say
    even where the encoder could memorise whole texts. The prediction is the sum of the branches'
    logits, weighted by `branch_weights` (K,), which are chosen on the validation split.

    Args:
        embedding: `Inputs` of (B, T) -> (B, T, C).
        branches: The branches on the embedding by name, in the order of `branch_weights`.
        ngrams: The n-gram branch, the last in `branch_weights`; None for a model without.
    """

    branch_weights: Tensor

    def __init__(
        self,
        embedding: nn.Module,
        branches: Mapping[str, Branch],
        ngrams: NgramClassifier | None = None,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.branches: Any = nn.ModuleDict(branches)
        self.ngrams = ngrams
        count = len(self.branch_names)
        self.register_buffer("branch_weights", torch.full((count,), 1 / count))

    @property
    def branch_names(self) -> list[str]:
        """The names of the K branches, in the order of `branch_weights`."""
        names = list(self.branches)
        if self.ngrams is not None:
            names.append("ngrams")
        return names

    def forward(self, inputs: Inputs) -> Tensor:
        """Compute the logits: (B, T) -> (B, L)."""
        by_branch = self.branch_logits(inputs)  # (K, B, L)
        weights = self.branch_weights.to(by_branch.dtype)
        logits: Tensor = torch.tensordot(weights, by_branch, dims=1)
        return logits

    def branch_logits(self, inputs: Inputs) -> Tensor:
        """Compute the logits of each branch: (B, T) -> (K, B, L)."""
        return self.with_ngrams(self.trained_logits(inputs), inputs)

    def with_ngrams(self, trained: Tensor, inputs: Inputs) -> Tensor:
        """Append the logits of the n-gram branch to those of the others: -> (K, B, L)."""
        if self.ngrams is None:
            return trained
        assert inputs.weighted_ngrams is not None, "features.weighted_ngrams computes them"
        logits = self.ngrams(inputs.weighted_ngrams)  # (B, L)
        return torch.cat([trained, logits[None].to(trained.dtype)])

    def trained_logits(self, inputs: Inputs) -> Tensor:
        """Compute the logits of each branch on the embedding: (B, T) -> (branches, B, L)."""
        logits = []
        for branch, pooled in zip(self.branches.values(), self.pooled(inputs), strict=True):
            logits.append(branch.head(pooled))
        return torch.stack(logits)

    def pooled(self, inputs: Inputs) -> list[Tensor]:
        """Compute one vector per text and branch on the embedding: (B, T) -> each (B, C)."""
        first, *others = self.branches.values()
        embedded = self.embedding(inputs)
        pooled = [first(embedded, inputs.attention_mask)]
        for branch in others:
            # The same values, with a smaller gradient.
            damped = embedded.detach().lerp(embedded, GRADIENT_FRACTION)
            pooled.append(branch(damped, inputs.attention_mask))
        return pooled

    def embed(self, inputs: Inputs) -> Tensor:
        """Compute one vector per text, those of its branches side by side: -> (B, branches · C)."""
        return torch.cat(self.pooled(inputs), dim=-1)

    def mlm_logits(self, inputs: Inputs, masked: Tensor) -> Tensor:
        """Compute the logits of M masked tokens: (B, T), masked (B, T) bool -> (M, V)."""
        branch = self.branches["encoder"]
        hidden_states = branch.encoder(self.embedding(inputs), inputs.attention_mask)
        logits: Tensor = branch.head(hidden_states[masked])
        return logits

    def attend(self, inputs: Inputs) -> list[Tensor]:
        """Compute each layer's attention weights: (B, T) -> (B, H, T, T) for each layer."""
        embedded = self.embedding(inputs)
        encoder = self.branches["encoder"].encoder
        weights: list[Tensor] = encoder.attend(embedded, inputs.attention_mask)[1]
        return weights

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        """Group the parameters: embedding, encoder layers, rest of the encoders, the others."""
        layers = []
        for branch in self.branches.values():
            for layer in getattr(branch.encoder, "layers", []):
                layers.append(list(layer.parameters()))
        groups = [list(self.embedding.parameters()), *layers]
        seen = {id(parameter) for group in groups for parameter in group}
        rest = []
        for branch in self.branches.values():
            rest += [p for p in branch.encoder.parameters() if id(p) not in seen]
        seen.update(id(parameter) for parameter in rest)
        heads = [p for p in self.branches.parameters() if id(p) not in seen]
        return [*groups, rest, heads]

    def tables(self) -> dict[str, nn.Parameter]:
        """Name the tables of the embedding: the vectors of tokens, n-grams, positions and types.

        They are nine tenths of a model, and lose nothing when they are stored in half precision.
        """
        named = self.embedding.named_parameters(prefix="embedding")
        return {name: parameter for name, parameter in named if parameter.ndim > 1}

    def load_backbone(self, other: "Classifier", *, with_heads: bool) -> None:
        """Copy the trained weights of another model: all, or all but the heads.

        The other model must have every weight that is copied, and none besides, in the same shape.
        The n-gram branch and the branch weights stay: they belong to the data, and are found anew.
        """
        weights = other._trained_weights(with_heads=with_heads)
        own = self._trained_weights(with_heads=with_heads)
        unexpected = weights.keys() - own.keys()
        assert not unexpected, f"not in this model: {', '.join(unexpected)}"
        missing = own.keys() - weights.keys()
        assert not missing, f"not in the other model: {', '.join(missing)}"
        self.load_state_dict(weights, strict=False)

    def _trained_weights(self, *, with_heads: bool) -> dict[str, Tensor]:
        """The state of the embedding and of its branches, with their heads or without."""
        weights = {}
        for name, weight in self.state_dict().items():
            is_trained = name.startswith(("embedding.", "branches."))
            if is_trained and (with_heads or name not in self._head_names()):
                weights[name] = weight
        return weights

    def _head_names(self) -> set[str]:
        """The names of the heads' weights in the state dict."""
        names: set[str] = set()
        for name, branch in self.branches.items():
            names.update(f"branches.{name}.head.{part}" for part in branch.head.state_dict())
        return names
