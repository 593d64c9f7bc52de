"""BERT (Devlin et al. 2018, 1810.04805) from the parts of our own encoder. B batch, T tokens, C width, L labels."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from selfattn_lm.config import BertConfig, ModelConfig
from selfattn_lm.nn.attention import SelfAttention
from selfattn_lm.nn.classifier import POOLINGS, Branch, Classifier
from selfattn_lm.nn.dropout import Dropout
from selfattn_lm.nn.encoder import Encoder, PostNormLayer, feed_forward
from selfattn_lm.nn.positions import Learned

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU, "gelu_tanh": partial(nn.GELU, approximate="tanh"), "relu": nn.ReLU, "silu": nn.SiLU
}  # fmt: skip


class BertEmbedding(nn.Module):
    """Adds the vectors of a token, of its place and of its type (which sentence), and norms: (B, T) -> (B, T, C)."""

    def __init__(self, shape: BertConfig, width: int, dropout: float) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocab_size, width, sparse=True)  # updated only where it is touched
        self.positions = Learned(shape.max_positions, width)
        # Without types there is one that adds nothing and learns nothing.
        self.types = nn.Parameter(
            torch.zeros(max(1, shape.type_vocab_size), width), requires_grad=shape.type_vocab_size > 0
        )
        self.norm = nn.LayerNorm(width, shape.norm_eps)
        self.drop = Dropout(dropout)

    def forward(self, ids: Tensor, types: Tensor | None = None) -> Tensor:
        """Embed token ids, all of type 0 unless `types` are given: (B, T), (B, T) -> (B, T, C)."""
        typed = self.types[0] if types is None else self.types[types]
        embedded: Tensor = self.drop(self.norm(self.positions(self.tokens(ids) + typed)))
        return embedded


class Pooler(nn.Module):
    """One vector a text, from its first token's by a layer that was trained with it: (B, T, C), (B, T) -> (B, C)."""

    def __init__(self, width: int, activation: nn.Module) -> None:
        super().__init__()
        self.dense, self.activation = nn.Linear(width, width), activation

    def forward(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        """Pool: (B, T, C), (B, T) -> (B, C)."""
        pooled: Tensor = self.activation(self.dense(states[:, 0]))
        return pooled


def build_bert(shape: BertConfig, config: ModelConfig, labels: int) -> Classifier:
    """A BERT with random weights that classifies; `config.pooling` cls is BERT's own, through its `Pooler`."""
    width, norm = config.width, partial(nn.LayerNorm, config.width, shape.norm_eps)

    def layer() -> PostNormLayer:
        attention = SelfAttention(width, config.heads)
        feed_forward_ = feed_forward(width, shape.intermediate_size, ACTIVATIONS[shape.activation])
        return PostNormLayer(attention, feed_forward_, (norm(), norm()), config.dropout)

    own = config.pooling == "cls" and shape.pooler
    pool = (
        Pooler(width, nn.ReLU() if shape.model_type == "distilbert" else nn.Tanh()) if own else POOLINGS[config.pooling]
    )
    scorer = nn.Linear(width, labels)
    nn.init.normal_(scorer.weight, std=0.02)
    nn.init.zeros_(scorer.bias)
    head = nn.Sequential(Dropout(config.embedding_dropout), scorer)
    encoder = Encoder([layer() for _ in range(config.layers)], nn.Identity())
    return Classifier(BertEmbedding(shape, width, config.dropout), {"encoder": Branch(encoder, pool, head)})
