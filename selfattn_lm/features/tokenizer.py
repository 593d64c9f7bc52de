"""Tokenizers: one is trained on texts or loaded; there is no other path from text to tokens."""

import re
from collections.abc import Iterable
from itertools import islice
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from selfattn_lm.config import ResolvedTokenizer

# The special tokens come first in every vocabulary of ours, in this order.
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[MASK]")
UNKNOWN, CLS, MASK = SPECIAL[1:]
CLS_ID, MASK_ID = SPECIAL.index(CLS), SPECIAL.index(MASK)
# Ends a text in BERT's vocabularies, and each text of a pair in ours, where it follows SPECIAL.
SEP = "[SEP]"
SEP_ID = len(SPECIAL)  # in our vocabularies of pairs
_WORD_START = "▁"  # marks the first piece of a word while WordPiece is trained
_LONGEST = 100_000  # characters of one text that a tokenizer is trained on
# Han, kana, Thai, Lao, Khmer, Burmese and Tibetan are written without spaces between words.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
)
# What a piece of text between spaces and punctuation may be, by the type of the tokenizer. A bpe
# token of more than 50 characters says nothing, and its training time grows with the square of it.
_PIECES = {"character": r"\S", "bpe": ".{1,50}", "word": ".+", "wordpiece": ".+"}

# BERT's normalizer would drop these line breaks as control characters, joining two words.
_LINE_BREAKS_TO_SPACES = normalizers.Replace(Regex("[\u000b\u000c\u001c-\u001f\u0085]"), " ")
# Variation selectors choose a glyph of the character before them, such as the coloured heart.
_NO_VARIATION_SELECTORS = normalizers.Replace(Regex("[\ufe00-\ufe0f]"), "")


def mostly_unspaced(texts: Iterable[str]) -> bool:
    """Whether most letters of the first texts belong to a script without spaces between words."""
    sample = "".join(text[:200] for text in islice(texts, 2000))
    letters = sum(character.isalpha() for character in sample)
    return len(_UNSPACED.findall(sample)) > letters / 2


def train_tokenizer(
    texts: Iterable[str], config: ResolvedTokenizer, *, for_pairs: bool = False
) -> Tokenizer:
    """Train a tokenizer on texts, which are read once; the same texts give the same bytes.

    Args:
        texts: The texts. Of a very long one only the beginning counts, so that it does not decide
            the vocabulary.
        config: The tokenizer's settings.
        for_pairs: Whether the vocabulary gets a [SEP], which ends each text of a pair.
    """
    texts = (text[:_LONGEST] for text in texts)
    special_tokens = list(SPECIAL)
    if for_pairs:
        special_tokens.append(SEP)
    options: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "min_frequency": config.min_frequency,
        "special_tokens": special_tokens,
        "show_progress": False,
    }
    if config.type == "wordpiece":
        pieces = _train_wordpieces(texts, config, special_tokens, trainers.BpeTrainer(**options))
        vocabulary = {piece: i for i, piece in enumerate(pieces[: config.vocab_size])}
        return _finish(_untrained(models.WordPiece(vocabulary, unk_token=UNKNOWN), config))
    if config.type == "bpe":
        tokenizer = _untrained(models.BPE(unk_token=UNKNOWN), config)
        trainer: Any = trainers.BpeTrainer(**options)
    else:
        tokenizer = _untrained(models.WordLevel(unk_token=UNKNOWN), config)
        trainer = trainers.WordLevelTrainer(**options)
    tokenizer.train_from_iterator(texts, trainer)
    return _finish(tokenizer)


def load_tokenizer(text: str) -> Tokenizer:
    """Load a tokenizer from the text of its `tokenizer.json`."""
    return _finish(Tokenizer.from_str(text))


def _untrained(model: models.Model, config: ResolvedTokenizer) -> Tokenizer:
    """A tokenizer that splits normalized texts at spaces and punctuation.

    Each Han character is a token of its own, except for `bpe`, which learns words of several. A
    token of the type `character` is one code point: a mark that has no composed form with its
    letter, as in Thai and Hindi, is a token that follows the letter's.
    """
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = _normalizer(config)
    pieces = pre_tokenizers.Split(Regex(_PIECES[config.type]), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), pieces])
    return tokenizer


def _normalizer(config: ResolvedTokenizer) -> normalizers.Normalizer:
    """Bring a text to its canonical form (Unicode's NFC), drop what is invisible, lower-case it.

    NFC comes first, so that both ways to write é or ぎ are the same, and again last, since
    lower-casing and stripping accents leave some letters decomposed, for example in Hangul.
    """
    bert = normalizers.BertNormalizer(
        handle_chinese_chars=config.type != "bpe",
        lowercase=config.lowercase,
        strip_accents=config.strip_accents,
    )
    steps = [_LINE_BREAKS_TO_SPACES, _NO_VARIATION_SELECTORS, normalizers.NFC(), bert]
    if config.lowercase:
        # Unicode lower-cases the Turkish İ to an i and a dot above it, which no Turkish text has.
        steps.append(normalizers.Replace("i\u0307", "i"))
    return normalizers.Sequence([*steps, normalizers.NFC()])


def _finish(tokenizer: Tokenizer) -> Tokenizer:
    """Let every text begin with [CLS], and end with [SEP] where the vocabulary has it."""
    cls_id, sep_id = tokenizer.token_to_id(CLS), tokenizer.token_to_id(SEP)
    if cls_id is not None and sep_id is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{CLS} $A {SEP}",
            pair=f"{CLS} $A {SEP} $B:1 {SEP}:1",
            special_tokens=[(CLS, cls_id), (SEP, sep_id)],
        )
    elif cls_id is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{CLS} $A", pair=None, special_tokens=[(CLS, cls_id)]
        )
    tokenizer.encode_special_tokens = True  # "[PAD]" in a user's text is three plain tokens
    tokenizer.no_padding()
    tokenizer.no_truncation()  # `TokenizedTexts` truncates
    return tokenizer


def _train_wordpieces(
    texts: Iterable[str],
    config: ResolvedTokenizer,
    special_tokens: list[str],
    trainer: trainers.BpeTrainer,
) -> list[str]:
    """Train WordPiece's pieces (Schuster & Nakajima 2012), in canonical order.

    The library's own WordPiece trainer numbers its pieces, and chooses among equally frequent ones,
    differently from run to run; its BPE trainer does not. So BPE is trained on words with their
    beginning marked, and its tokens become pieces: "▁un" is "un", "load" is "##load".
    """
    marked = _untrained(models.BPE(unk_token=UNKNOWN), config)
    mark = pre_tokenizers.Metaspace(replacement=_WORD_START, prepend_scheme="always", split=False)
    marked.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), mark])
    marked.train_from_iterator(texts, trainer)
    vocabulary = marked.get_vocab()
    pieces = dict.fromkeys(special_tokens)  # a dict keeps the order and drops repetitions
    for token in sorted(vocabulary, key=vocabulary.__getitem__):
        begins_a_word = token.startswith(_WORD_START)
        characters = token.removeprefix(_WORD_START)
        if token in special_tokens or not characters:
            continue
        if len(characters) == 1:  # a character may begin a word or continue one
            pieces[characters] = None
            pieces[f"##{characters}"] = None
        elif begins_a_word:
            pieces[characters] = None
        else:
            pieces[f"##{characters}"] = None
    return list(pieces)
