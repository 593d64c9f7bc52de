"""Models with random weights from settings: the one place where layers meet their settings.

V tokens of the vocabulary, K character n-grams of the token that has most.
"""

from collections.abc import Callable

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from selfattn_lm.config import BertConfig, PredictionSettings, ResolvedModel
from selfattn_lm.features.char_ngrams import char_ngram_ids
from selfattn_lm.nn import positions
from selfattn_lm.nn.attention import SelfAttention
from selfattn_lm.nn.baselines import Bag, Cnn, Lstm
from selfattn_lm.nn.bert import ACTIVATIONS, BertEmbedding, Pooler
from selfattn_lm.nn.classifier import Branch, Classifier
from selfattn_lm.nn.dropout import Dropout
from selfattn_lm.nn.embedding import CharNgramEmbedding, NgramEmbedding, TokenEmbedding, token_table
from selfattn_lm.nn.encoder import Encoder, EncoderLayer, PostNormLayer, feed_forward
from selfattn_lm.nn.pooling import POOLINGS, mean_pooling, no_pooling


def build_model(
    settings: PredictionSettings,
    tokenizer: Tokenizer,
    outputs: int,
    *,
    in_training: bool,
    bert: BertConfig | None = None,
) -> Classifier:
    """Build the model of a run.

    Args:
        settings: The settings of the run.
        tokenizer: Its tokenizer.
        outputs: How many logits the head computes; 0 for a model that predicts masked tokens.
        in_training: Whether tokens are embedded with their character n-grams, if the settings say
            so. A trained classifier has them folded into a plain table.
        bert: The architecture, if the run started from a BERT.
    """
    if bert is not None:
        return build_bert(bert, settings.model, outputs)
    char_ngrams = None
    is_character = settings.tokenizer.type == "character"
    if in_training and settings.model.char_ngrams and not is_character:
        ids = char_ngram_ids(tokenizer, settings.tokenizer.type)
        char_ngrams = torch.from_numpy(ids)
    vocab_size = tokenizer.get_vocab_size()
    if outputs == 0:
        return build_masked_model(settings.model, vocab_size, char_ngrams)
    has_pairs = settings.has_pairs
    return build_classifier(settings.model, vocab_size, outputs, char_ngrams, has_pairs=has_pairs)


def build_classifier(
    config: ResolvedModel,
    vocab_size: int,
    outputs: int,
    char_ngrams: Tensor | None = None,
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
        has_pairs: Whether it classifies pairs of texts.
    """
    embedding, encoder = _embedding_and_encoder(config, vocab_size, char_ngrams, has_pairs)
    head = _head(config, outputs)
    branch = Branch(encoder, POOLINGS[config.pooling], head)
    if config.kind == "bag" or not config.bag_branch:
        return Classifier(embedding, {"encoder": branch})
    bag = Branch(Bag(), mean_pooling, _head(config, outputs))
    return Classifier(embedding, {"bag": bag, "encoder": branch})


def build_masked_model(
    config: ResolvedModel, vocab_size: int, char_ngrams: Tensor | None = None
) -> Classifier:
    """Build a model that predicts masked tokens: its head scores each token of the vocabulary."""
    embedding, encoder = _embedding_and_encoder(config, vocab_size, char_ngrams)
    head = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, vocab_size))
    return Classifier(embedding, {"encoder": Branch(encoder, no_pooling, head)})


def _embedding_and_encoder(
    config: ResolvedModel, vocab_size: int, char_ngrams: Tensor | None, has_pairs: bool = False
) -> tuple[TokenEmbedding, nn.Module]:
    width = config.width
    # The other encoders know the order of tokens, or are meant not to.
    order = config.positions if config.kind == "attention" else "none"
    added: nn.Module = nn.Identity()
    rotate = None
    if order == "learned":
        added = positions.Learned(config.max_length, width)
    elif order == "sinusoidal":
        added = positions.Sinusoidal(config.max_length, width)
    elif order == "rotary":
        rotate = positions.Rotary(config.max_length, width // config.heads)
    tokens: nn.Module
    if char_ngrams is None:
        tokens = token_table(vocab_size, width)
    else:
        tokens = CharNgramEmbedding(char_ngrams, width)
    ngrams = None
    if config.max_ngram > 1:
        buckets = config.ngram_buckets
        if has_pairs:  # one more for places without an n-gram
            ngrams = NgramEmbedding(buckets + 1, width, empty=buckets)
        else:
            ngrams = NgramEmbedding(buckets, width)
    embedding = TokenEmbedding(tokens, ngrams, added, config.embedding_dropout)
    return embedding, _encoder(config, rotate)


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
