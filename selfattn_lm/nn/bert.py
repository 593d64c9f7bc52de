"""What BERT (Devlin et al. 2018, 1810.04805) has beside our own encoder's parts.

B batch, T tokens, C width.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from selfattn_lm.inputs import Inputs
from selfattn_lm.nn.dropout import Dropout
from selfattn_lm.nn.positions import Learned

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "relu": nn.ReLU,
    "silu": nn.SiLU,
}


class BertEmbedding(nn.Module):
    """Adds up the vectors of a token, its position and its type, and normalises the sum."""

    def __init__(
        self,
        vocab_size: int,
        max_positions: int,
        type_vocab_size: int,
        width: int,
        norm_eps: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, width, sparse=True)
        self.positions = Learned(max_positions, width)
        # A model without types has one that adds nothing and is not trained.
        types = torch.zeros(max(1, type_vocab_size), width)
        self.types = nn.Parameter(types, requires_grad=type_vocab_size > 0)
        self.norm = nn.LayerNorm(width, norm_eps)
        self.drop = Dropout(dropout)

    def forward(self, inputs: Inputs) -> Tensor:
        """Embed a batch: (B, T) -> (B, T, C)."""
        types = self.types[0]
        if inputs.types is not None:
            # A model without types reads all tokens as those of type 0.
            types = self.types[inputs.types.clamp(max=len(self.types) - 1)]
        embedded = self.positions(self.tokens(inputs.tokens) + types)
        dropped: Tensor = self.drop(self.norm(embedded))
        return dropped


class Pooler(nn.Module):
    """Turns the first token's vector into the text's, by a layer of its own: -> (B, C)."""

    def __init__(self, width: int, activation: nn.Module) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.activation = activation

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        """Pool: (B, T, C), (B, T) -> (B, C)."""
        pooled: Tensor = self.activation(self.dense(hidden_states[:, 0]))
        return pooled
