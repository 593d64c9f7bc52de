"""Sequence in, class out: embedding, encoder, pooling, head. B batch, T tokens, C width, L labels."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from selfattn_lm.config import ModelConfig
from selfattn_lm.nn import positions
from selfattn_lm.nn.attention import SelfAttention
from selfattn_lm.nn.baselines import Bag, Cnn, Lstm
from selfattn_lm.nn.embedding import NgramEmbedding, SpelledEmbedding, TokenEmbedding, token_table
from selfattn_lm.nn.encoder import Encoder


def mean(states: Tensor, keep: Tensor) -> Tensor:
    """One vector for a text, the mean of its own tokens: (B, T, C), (B, T) -> (B, C), as for the others."""
    kept = states * keep[..., None]  # (B, T, C)
    return kept.sum(1) / keep.sum(1, keepdim=True)


def cls(states: Tensor, keep: Tensor) -> Tensor:
    """The vector of the first token, `[CLS]`, which stands for the text (Devlin et al. 2018, 1810.04805)."""
    return states[:, 0]


def max(states: Tensor, keep: Tensor) -> Tensor:
    """The largest value of each feature over the text's own tokens."""
    return torch.where(keep[..., None], states, -math.inf).amax(1)


NGRAM_ROWS = 49_152  # with 30,000 tokens of 128 numbers this makes 41 MB
POOLINGS = {"mean": mean, "cls": cls, "max": max}


class Classifier(nn.Module):
    """Puts four parts together, each of which may be used alone.

    `embedding` (B, T) -> (B, T, C); `encoder` (B, T, C), (B, T) -> (B, T, C), vectors that know their context;
    `pool` (B, T, C), (B, T) -> (B, C), one vector a text; `head` (B, C) -> (B, L), a score for each label.
    """

    def __init__(
        self, embedding: nn.Module, encoder: nn.Module, pool: Callable[[Tensor, Tensor], Tensor], head: nn.Module
    ) -> None:
        super().__init__()
        self.embedding, self.encoder, self.pool, self.head = embedding, encoder, pool, head

    def embed(self, ids: Tensor, keep: Tensor) -> Tensor:
        """One vector for each text: (B, T), (B, T) -> (B, C)."""
        return self.pool(self.encoder(self.embedding(ids), keep), keep)

    def forward(self, ids: Tensor, keep: Tensor) -> Tensor:
        """A score (logit) for each label: (B, T), (B, T) -> (B, L)."""
        logits: Tensor = self.head(self.embed(ids, keep))
        return logits


def build_classifier(config: ModelConfig, vocab_size: int, labels: int, spelling: Tensor | None = None) -> Classifier:
    """A classifier with random weights from settings in which nothing is `auto` any more.

    With the `spelling` (V, K) of each token the embedding is a `SpelledEmbedding`, which training folds at its end.
    """
    assert config.max_tokens != "auto", "resolve the settings first"
    assert config.ngrams != "auto", "resolve the settings first"
    width, heads, max_tokens = config.width, config.heads, config.max_tokens
    added: nn.Module = nn.Identity()
    rotate: nn.Module | None = None
    if config.kind == "attention":  # the others know the order, or are meant not to
        if config.positions == "learned":
            added = positions.Learned(max_tokens, width)
        elif config.positions == "sinusoidal":
            added = positions.Sinusoidal(max_tokens, width)
        elif config.positions == "rotary":
            rotate = positions.Rotary(max_tokens, width // heads)
    tokens = token_table(vocab_size, width) if spelling is None else SpelledEmbedding(spelling, width)
    ngrams = NgramEmbedding(config.ngrams, NGRAM_ROWS, width) if config.ngrams > 1 else None
    attention = partial(SelfAttention, width, heads, rotate)
    encoders: dict[str, Callable[[], nn.Module]] = {
        "attention": lambda: Encoder(width, config.layers, attention, config.dropout, config.skip),
        "bag": Bag,
        "cnn": lambda: Cnn(width, config.layers, config.dropout),
        "lstm": lambda: Lstm(width, config.layers, config.dropout),
    }
    return Classifier(
        TokenEmbedding(tokens, ngrams, added, config.embedding_dropout, config.token_dropout),
        encoders[config.kind](),
        POOLINGS[config.pooling],
        nn.Sequential(nn.Dropout(config.embedding_dropout), nn.Linear(width, labels)),
    )
