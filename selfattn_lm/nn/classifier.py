"""Sequence in, class out: embedding, encoder, pooling, head. B batch, T tokens, C width, L labels, K views."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from selfattn_lm.config import ModelConfig
from selfattn_lm.nn import positions
from selfattn_lm.nn.attention import SelfAttention
from selfattn_lm.nn.baselines import Bag, Cnn, Lstm
from selfattn_lm.nn.dropout import Dropout
from selfattn_lm.nn.embedding import CharNgramEmbedding, NgramEmbedding, TokenEmbedding, token_table
from selfattn_lm.nn.encoder import Encoder, EncoderLayer, feed_forward


def mean(states: Tensor, attention_mask: Tensor) -> Tensor:
    """One vector for a text, the mean of its own tokens: (B, T, C), (B, T) -> (B, C), as for the others."""
    kept = states * attention_mask[..., None]  # (B, T, C)
    return kept.sum(1) / attention_mask.sum(1, keepdim=True)


def cls(states: Tensor, attention_mask: Tensor) -> Tensor:
    """The vector of the first token, `[CLS]`, which stands for the text (Devlin et al. 2018, 1810.04805)."""
    return states[:, 0]


def max(states: Tensor, attention_mask: Tensor) -> Tensor:
    """The largest value of each feature over the text's own tokens."""
    return torch.where(attention_mask[..., None], states, -math.inf).amax(1)


def each(states: Tensor, attention_mask: Tensor) -> Tensor:
    """No pooling at all, to guess hidden tokens: (B, T, C), (B, T) -> (B, T, C)."""
    return states


MAX_NGRAM_BUCKETS = 131_072  # with 30,000 tokens of 128 numbers this makes 41 MB in half precision
CONTEXT_SHARE = 0.2  # of its gradient, that the context moves the embeddings by: they are the words' first
POOLINGS = {"mean": mean, "cls": cls, "max": max}


class Branch(nn.Module):
    """One way to see a text, by which alone it can be classified.

    `encoder` (B, T, C), (B, T) -> (B, T, C), vectors that may know their context; `pool` (B, T, C), (B, T) -> (B, C),
    one vector a text; `head` (B, C) -> (B, L), a score (logit) for each label.
    """

    def __init__(self, encoder: nn.Module, pool: Callable[[Tensor, Tensor], Tensor], head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.pool, self.head = encoder, pool, head


class Classifier(nn.Module):
    """An `embedding` (B, T) -> (B, T, C), and one view or more of what it embeds: words alone, words in context.

    Each view learns to classify by itself, so that words are learned from themselves even where their combinations
    could be learned by heart; what they say is added up, weighted by `mix`, one weight a view, which is not trained.
    """

    branch_weights: Tensor

    def __init__(self, embedding: nn.Module, branches: Mapping[str, Branch]) -> None:
        super().__init__()
        self.embedding = embedding
        self.branches: Any = nn.ModuleDict(branches)
        self.register_buffer("branch_weights", torch.full((len(branches),), 1 / len(branches)))

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        """Parameters from the input up: embedding, encoder layers in order, rest of the encoders, pooling and heads."""
        layers: list[list[nn.Parameter]] = []
        in_encoders: list[nn.Parameter] = []
        for branch in self.branches.values():
            layers += [list(layer.parameters()) for layer in getattr(branch.encoder, "layers", [])]
            in_encoders += branch.encoder.parameters()
        groups = [list(self.embedding.parameters()), *layers]
        grouped = {id(parameter) for group in groups for parameter in group}
        rest = [parameter for parameter in in_encoders if id(parameter) not in grouped]
        grouped.update(map(id, rest))
        heads = [parameter for parameter in self.branches.parameters() if id(parameter) not in grouped]
        return [*groups, rest, heads]

    def sizes(self) -> dict[str, int]:
        """How many numbers each parameter has; vectors of character n-grams are folded into those of the tokens."""
        return {name: p.numel() for name, p in self.named_parameters() if ".characters." not in name}

    def mlm_logits(self, ids: Tensor, attention_mask: Tensor, hidden: Tensor) -> Tensor:
        """A score for each token of the vocabulary at the `hidden` places: (B, T) three times -> (hidden, V)."""
        branch = self.branches["encoder"]
        scores: Tensor = branch.head(branch.encoder(self.embedding(ids), attention_mask)[hidden])
        return scores

    def vectors(self, ids: Tensor, attention_mask: Tensor) -> list[Tensor]:
        """A vector for each text as each view sees it: (B, T), (B, T) -> K of (B, C)."""
        x = self.embedding(ids)
        vectors: list[Tensor] = []
        for branch in self.branches.values():
            if vectors:
                x = x.detach().lerp(x, CONTEXT_SHARE)  # the same values, with a smaller gradient
            vectors.append(branch.pool(branch.encoder(x, attention_mask), attention_mask))
        return vectors

    def embed(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        """One vector for each text, those of the K views side by side: (B, T), (B, T) -> (B, K · C)."""
        return torch.cat(self.vectors(ids, attention_mask), dim=-1)

    def scores(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The logits of each view: (B, T), (B, T) -> (K, B, L)."""
        pairs = zip(self.branches.values(), self.vectors(ids, attention_mask), strict=True)
        return torch.stack([branch.head(vector) for branch, vector in pairs])

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        """A score (logit) for each label: (B, T), (B, T) -> (B, L)."""
        scores = self.scores(ids, attention_mask)
        mixed: Tensor = torch.tensordot(self.branch_weights.to(scores.dtype), scores, dims=1)
        return mixed


def build_classifier(
    config: ModelConfig, vocab_size: int, labels: int, char_ngrams: Tensor | None = None
) -> Classifier:
    """A classifier with random weights from settings in which nothing is `auto` any more.

    With the `char_ngrams` (V, K) of each token the embedding is a `SpelledEmbedding`, which training folds at its end.
    Without labels it guesses hidden tokens: its head scores each token of the vocabulary at each place, (B, T, V).
    """
    assert config.max_length != "auto", "resolve the settings first"
    assert config.max_ngram != "auto", "resolve the settings first"
    width, heads, max_length = config.width, config.heads, config.max_length
    place = config.positions if config.kind == "attention" else "none"  # others know the order, or are meant not to
    tables = {"learned": positions.Learned, "sinusoidal": positions.Sinusoidal}
    added = tables[place](max_length, width) if place in tables else nn.Identity()
    rotate = positions.Rotary(max_length, width // heads) if place == "rotary" else None
    tokens = token_table(vocab_size, width) if char_ngrams is None else CharNgramEmbedding(char_ngrams, width)
    rows = MAX_NGRAM_BUCKETS if config.ngram_buckets == "auto" else config.ngram_buckets
    ngrams = NgramEmbedding(config.max_ngram, rows, width) if config.max_ngram > 1 else None

    def layer() -> EncoderLayer:
        attention, feed_forward_ = SelfAttention(width, heads, rotate), feed_forward(width, 4 * width)
        return EncoderLayer(attention, feed_forward_, (nn.LayerNorm(width), nn.LayerNorm(width)), config.dropout)

    encoders: dict[str, Callable[[], nn.Module]] = {
        "attention": lambda: Encoder([layer() for _ in range(config.layers)], nn.LayerNorm(width)),
        "bag": Bag,
        "cnn": lambda: Cnn(width, config.layers, config.dropout),
        "lstm": lambda: Lstm(width, config.layers, config.dropout),
    }
    embedding = TokenEmbedding(tokens, ngrams, added, config.embedding_dropout, config.token_dropout)
    encoder = encoders[config.kind]()
    if not labels:
        head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, vocab_size))
        return Classifier(embedding, {"encoder": Branch(encoder, each, head)})
    scorers = [nn.Sequential(Dropout(config.embedding_dropout), nn.Linear(width, labels)) for _ in range(2)]
    context = Branch(encoder, POOLINGS[config.pooling], scorers[0])
    if config.kind == "bag" or not config.bag_branch:
        return Classifier(embedding, {"encoder": context})
    return Classifier(embedding, {"bag": Branch(Bag(), mean, scorers[1]), "encoder": context})
