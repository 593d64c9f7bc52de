"""Models with random weights from settings: the one place where layers meet their settings.

V tokens of the vocabulary, K character n-grams of the token that has most, F features of a vector.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from selfattn_lm.config import BertConfig, PredictionSettings, ResolvedModel
from selfattn_lm.features.char_ngrams import char_ngram_ids
from selfattn_lm.features.vectors import Featurizer, Standardization
from selfattn_lm.nn import positions
from selfattn_lm.nn.attention import SelfAttention
from selfattn_lm.nn.baselines import Bag, Cnn, Lstm
from selfattn_lm.nn.bert import ACTIVATIONS, BertEmbedding, Pooler
from selfattn_lm.nn.classifier import Branch, Classifier
from selfattn_lm.nn.dropout import Dropout
from selfattn_lm.nn.embedding import CharNgramEmbedding, NgramEmbedding, TokenEmbedding, token_table
from selfattn_lm.nn.encoder import Encoder, EncoderLayer, PostNormLayer, feed_forward
from selfattn_lm.nn.ngrams import NgramClassifier
from selfattn_lm.nn.pooling import POOLINGS, mean_pooling, no_pooling


def build_model(
    settings: PredictionSettings,
    featurizer: Featurizer,
    outputs: int,
    *,
    in_training: bool,
    bert: BertConfig | None = None,
    ngrams: NgramClassifier | None = None,
) -> Classifier:
    """Build the model of a run.

    Args:
        settings: The settings of the run.
        featurizer: Its tokenizer, or the standardisation of its vectors.
        outputs: How many logits the head computes; 0 for a model that predicts masked tokens.
        in_training: Whether tokens are embedded with their character n-grams, if the settings say
            so. A trained classifier has them folded into a plain table.
        bert: The architecture, if the run started from a BERT.
        ngrams: The n-gram branch, if the run has one; a BERT has none.
    """
    if bert is not None:
        return build_bert(bert, settings.model, outputs)
    if isinstance(featurizer, Standardization):
        return build_vector_classifier(settings.model, featurizer.features, outputs)
    char_ngrams = None
    is_character = settings.tokenizer.type == "character"
    if in_training and settings.model.char_ngrams and not is_character:
        ids = char_ngram_ids(featurizer, settings.tokenizer.type)
        char_ngrams = torch.from_numpy(ids)
    vocab_size = featurizer.get_vocab_size()
    if outputs == 0:
        return build_masked_model(settings.model, vocab_size, char_ngrams)
    return build_classifier(
        settings.model, vocab_size, outputs, char_ngrams, ngrams, has_pairs=settings.has_pairs
    )


def build_classifier(
    config: ResolvedModel,
    vocab_size: int,
    outputs: int,
    char_ngrams: Tensor | None = None,
    ngrams: NgramClassifier | None = None,
    *,
    has_pairs: bool = False,
) -> Classifier:
    """Build a classifier with a head of `outputs` rows.

    Args:
        config: The settings of the model.
        vocab_size: How many tokens the vocabulary has.
        outputs: How many logits the head computes, one per label.
        char_ngrams: The character n-grams of each token (V, K), to train with a
            `CharNgramEmbedding`; None for a plain table of tokens.
        ngrams: The n-gram branch; None for a model without.
        has_pairs: Whether it classifies pairs of texts.
    """
    added, rotate = _positions(config)
    tokens = _token_embedding(vocab_size, config.width, char_ngrams)
    ngram_embedding = _ngram_embedding(config, has_pairs=has_pairs)
    embedding = TokenEmbedding(tokens, ngram_embedding, added, config.embedding_dropout)
    return _with_branches(config, embedding, _encoder(config, rotate), outputs, ngrams)


def build_vector_classifier(config: ResolvedModel, features: int, outputs: int) -> Classifier:
    """Build a classifier of sequences of vectors: a projection takes the place of the token table.

    Args:
        config: The settings of the model.
        features: How many features F each vector has.
        outputs: How many logits the head computes, one per label.
    """
    added, rotate = _positions(config)
    projection = nn.Linear(features, config.width)
    # Standardised vectors become vectors of about length 1, as those of tokens are.
    nn.init.normal_(projection.weight, std=1 / math.sqrt(features * config.width))
    nn.init.zeros_(projection.bias)
    embedding = TokenEmbedding(projection, None, added, config.embedding_dropout)
    return _with_branches(config, embedding, _encoder(config, rotate), outputs)


def _with_branches(
    config: ResolvedModel,
    embedding: TokenEmbedding,
    encoder: nn.Module,
    outputs: int,
    ngrams: NgramClassifier | None = None,
) -> Classifier:
    branch = Branch(encoder, POOLINGS[config.pooling], _head(config, outputs))
    if config.kind == "bag" or not config.bag_branch:
        return Classifier(embedding, {"encoder": branch}, ngrams)
    bag = Branch(Bag(), mean_pooling, _head(config, outputs))
    return Classifier(embedding, {"bag": bag, "encoder": branch}, ngrams)


def build_masked_model(
    config: ResolvedModel, vocab_size: int, char_ngrams: Tensor | None = None
) -> Classifier:
    """Build a model that predicts masked tokens: its head scores each token of the vocabulary."""
    added, rotate = _positions(config)
    tokens = _token_embedding(vocab_size, config.width, char_ngrams)
    ngrams = _ngram_embedding(config)
    embedding = TokenEmbedding(tokens, ngrams, added, config.embedding_dropout)
    encoder = _encoder(config, rotate)
    head = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, vocab_size))
    return Classifier(embedding, {"encoder": Branch(encoder, no_pooling, head)})


def _token_embedding(vocab_size: int, width: int, char_ngrams: Tensor | None) -> nn.Module:
    if char_ngrams is None:
        return token_table(vocab_size, width)
    return CharNgramEmbedding(char_ngrams, width)


def _ngram_embedding(config: ResolvedModel, *, has_pairs: bool = False) -> NgramEmbedding | None:
    if config.max_ngram == 1:
        return None
    buckets = config.ngram_buckets
    if has_pairs:  # one more for places without an n-gram
        return NgramEmbedding(buckets + 1, config.width, empty=buckets)
    return NgramEmbedding(buckets, config.width)


def _positions(config: ResolvedModel) -> tuple[nn.Module, nn.Module | None]:
    """Build what adds positions to embedded tokens, and what rotates queries and keys by them."""
    # The other encoders know the order of tokens, or are meant not to.
    order = config.positions if config.kind == "attention" else "none"
    if order == "learned":
        return positions.Learned(config.max_length, config.width), None
    if order == "sinusoidal":
        return positions.Sinusoidal(config.max_length, config.width), None
    if order == "rotary":
        return nn.Identity(), positions.Rotary(config.max_length, config.width // config.heads)
    return nn.Identity(), None


def _encoder(config: ResolvedModel, rotate: nn.Module | None) -> nn.Module:
    if config.kind == "bag":
        return Bag()
    if config.kind == "cnn":
        return Cnn(config.width, config.layers, config.dropout)
    if config.kind == "lstm":
        return Lstm(config.width, config.layers, config.dropout)
    layers = []
    for _ in range(config.layers):
        attention = SelfAttention(config.width, config.heads, rotate)
        network = feed_forward(config.width, 4 * config.width)
        norm1, norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        layers.append(EncoderLayer(attention, network, norm1, norm2, config.dropout))
    return Encoder(layers, nn.LayerNorm(config.width))


def _head(config: ResolvedModel, outputs: int) -> nn.Sequential:
    return nn.Sequential(Dropout(config.embedding_dropout), nn.Linear(config.width, outputs))


def build_bert(bert: BertConfig, config: ResolvedModel, outputs: int) -> Classifier:
    """Build a BERT with random weights that classifies.

    With `config.pooling` "cls" it pools as BERT does, through its `Pooler`.
    """
    pool: Callable[[Tensor, Tensor], Tensor] = POOLINGS[config.pooling]
    if config.pooling == "cls" and bert.pooler:
        is_distilbert = bert.model_type == "distilbert"
        pool = Pooler(config.width, nn.ReLU() if is_distilbert else nn.Tanh())
    linear = nn.Linear(config.width, outputs)
    nn.init.normal_(linear.weight, std=0.02)
    nn.init.zeros_(linear.bias)
    head = nn.Sequential(Dropout(config.embedding_dropout), linear)
    layers = [_bert_layer(bert, config) for _ in range(config.layers)]
    encoder = Encoder(layers, nn.Identity())
    embedding = BertEmbedding(
        bert.vocab_size,
        bert.max_positions,
        bert.type_vocab_size,
        config.width,
        bert.norm_eps,
        config.dropout,
    )
    return Classifier(embedding, {"encoder": Branch(encoder, pool, head)})


def _bert_layer(bert: BertConfig, config: ResolvedModel) -> PostNormLayer:
    width = config.width
    activation = ACTIVATIONS[bert.activation]
    return PostNormLayer(
        attention=SelfAttention(width, config.heads),
        feed_forward=feed_forward(width, bert.intermediate_size, activation),
        norm1=nn.LayerNorm(width, bert.norm_eps),
        norm2=nn.LayerNorm(width, bert.norm_eps),
        dropout=config.dropout,
    )
