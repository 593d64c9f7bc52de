"""The examples of two splits as the model reads them, and the settings that this decides."""

import logging
from dataclasses import dataclass, replace

import numpy as np
from tokenizers import Tokenizer

from selfattn_lm.config import (
    ModelConfig,
    ResolvedModel,
    ResolvedTokenizer,
    Settings,
    TokenizerConfig,
)
from selfattn_lm.data.examples import Split
from selfattn_lm.errors import UserError
from selfattn_lm.features.cache import tokenize
from selfattn_lm.features.pairs import MIN_PAIR_LENGTH, TokenizedPairs, tokenize_pairs
from selfattn_lm.features.sequences import TokenizedTexts, Tokens
from selfattn_lm.features.tokenizer import mostly_unspaced
from selfattn_lm.features.vectors import Featurizer, Standardization, VectorSequences
from selfattn_lm.features.weighted_ngrams import WithNgrams
from selfattn_lm.features.windows import MOST_IN_TRAINING, NO_LIMIT, by_text, fit_length
from selfattn_lm.training.ngram_branch import CountedNgrams, count_ngrams
from selfattn_lm.training.resolve import longest_automatic, resolve_model, resolve_tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodedSplits:
    """What the model reads of the training and of the validation split.

    Attributes:
        train: The tokens of the training split.
        validation: The tokens of the validation split.
        featurizer: The tokenizer, or the standardisation of vectors.
        tokenizer_config: The settings of the tokenizer; vectors have none, and these go unused.
        model_config: The settings of the model.
        ngrams: The weighted n-grams of whole texts; None for a model without an n-gram branch.
    """

    train: Tokens
    validation: Tokens
    featurizer: Featurizer
    tokenizer_config: ResolvedTokenizer
    model_config: ResolvedModel
    ngrams: CountedNgrams | None = None


def encode_texts(
    train: Split, validation: Split, settings: Settings, featurizer: Featurizer | None, outputs: int
) -> EncodedSplits:
    """Tokenize texts or pairs, with a tokenizer trained on them if none is given.

    Args:
        train: The training split.
        validation: The validation split.
        settings: The settings of the run.
        featurizer: The tokenizer, if there is one.
        outputs: The number of outputs of the model.
    """
    assert not isinstance(featurizer, Standardization), "it is of vectors"
    unspaced = mostly_unspaced(train.texts)
    tokenizer_config = resolve_tokenizer(settings.tokenizer, unspaced=unspaced, rows=len(train))
    longest = _longest(settings.model)
    kept = longest  # tokens of a text
    if settings.model.ngram_branch and train.pairs is None:
        kept = NO_LIMIT  # the n-grams are those of whole texts
    tokenizer, tokens = tokenize_split(train, tokenizer_config, featurizer, kept)
    lengths = tokens.truncate(longest).lengths
    batch_tokens = settings.training.batch_tokens
    config = resolve_model(settings.model, tokenizer_config, lengths, batch_tokens)
    validation_tokens = tokenize_split(validation, tokenizer_config, tokenizer, kept)[1]
    most_windows = min(MOST_IN_TRAINING, batch_tokens // config.max_length)
    read_of_validation = by_text(fit_length(validation_tokens, config))
    ngrams = None
    if config.ngram_branch:
        whole, whole_of_validation = tokens, validation_tokens
        if train.pairs is not None:  # which are compared token by token, at the length that is read
            whole = tokens.truncate(config.max_length)
            whole_of_validation = validation_tokens.truncate(config.max_length)
        ngrams = count_ngrams(whole, whole_of_validation, config.max_ngram, outputs)
        if ngrams is None:
            log.warning("%s: no n-gram occurs in two texts; no n-gram branch", train.source)
            config = replace(config, ngram_branch=False)
    if ngrams is not None:
        read_of_validation = WithNgrams(read_of_validation, ngrams.validation)
    return EncodedSplits(
        train=by_text(fit_length(tokens, config, most_windows)),
        validation=read_of_validation,
        featurizer=tokenizer,
        tokenizer_config=tokenizer_config,
        model_config=config,
        ngrams=ngrams,
    )


def _longest(config: ModelConfig) -> int:
    """The number of tokens of a text that the encoders may read."""
    if config.long_texts != "head":
        return NO_LIMIT
    if config.max_length == "auto":
        return longest_automatic(config)
    return config.max_length


def tokenize_split(
    split: Split, config: ResolvedTokenizer, tokenizer: Tokenizer | None, max_length: int
) -> tuple[Tokenizer, TokenizedTexts | TokenizedPairs]:
    """Tokenize a split, with a tokenizer trained on it if none is given."""
    if split.pairs is None:
        return tokenize(split.texts, config, tokenizer, max_length)
    if max_length < MIN_PAIR_LENGTH:
        reason = f"{max_length} tokens are too few for a pair of texts"
        raise UserError(f"model.max_length: {reason}; give at least {MIN_PAIR_LENGTH}.")
    return tokenize_pairs(split.texts, split.pairs, config, tokenizer, max_length)


def encode_vectors(
    train: Split, validation: Split, settings: Settings, featurizer: Featurizer | None
) -> EncodedSplits:
    """Standardise sequences of vectors, by the training split if no standardisation is given."""
    if featurizer is None:
        _refuse_settings_of_texts(settings)
        featurizer = Standardization.fit(train.texts)
    assert isinstance(featurizer, Standardization), "it is of texts"
    for split in (train, validation):
        problem = featurizer.problem(split.texts[0])
        if problem:
            raise UserError(f"{split.source}: {problem}; leave it out, or train from scratch.")
    tokenizer_config = resolve_tokenizer(settings.tokenizer, unspaced=False, rows=len(train))
    # Neighbouring vectors have no n-grams, and vectors no characters.
    model = replace(
        settings.model, max_ngram=1, ngram_buckets=1, ngram_branch=False, char_ngrams=False
    )
    lengths = np.array([len(sequence) for sequence in train.texts])
    batch_tokens = settings.training.batch_tokens
    config = resolve_model(model, tokenizer_config, lengths, batch_tokens)
    return EncodedSplits(
        train=VectorSequences.of(train.texts, featurizer, config.max_length),
        validation=VectorSequences.of(validation.texts, featurizer, config.max_length),
        featurizer=featurizer,
        tokenizer_config=tokenizer_config,
        model_config=config,
    )


def _refuse_settings_of_texts(settings: Settings) -> None:
    """Refuse settings that vectors have no use for."""
    model = settings.model
    if model.pooling == "cls":
        reason = "cls reads the [CLS] of a text, which sequences of vectors do not have"
        raise UserError(f"model.pooling: {reason}; choose mean or max.")
    if settings.tokenizer != TokenizerConfig():
        raise UserError("tokenizer: sequences of vectors have no tokens; leave its settings out.")
    if model.max_ngram not in ("auto", 1) or model.ngram_buckets not in ("auto", 1):
        raise UserError("model.max_ngram: sequences of vectors have no n-grams; leave it out.")
