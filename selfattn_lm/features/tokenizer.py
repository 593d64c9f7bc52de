"""The only tokenizing path there is: train a tokenizer or load one, and turn texts into token ids."""

import io
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from selfattn_lm.config import TokenizerConfig

PAD, UNKNOWN, CLS, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[MASK]")
END = "[SEP]"  # ends a text in BERT's vocabularies; ours have none
_START = "▁"  # marks the first piece of a word while WordPiece is trained
# Han, kana, Thai, Lao, Khmer, Burmese and Tibetan are written without spaces between words.
_UNSPACED = re.compile("[\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")

# BERT's normalizer would drop these line breaks as control characters, and join the words on both sides.
_LINE_BREAKS_TO_SPACES = normalizers.Replace(Regex("[\u000b\u000c\u001c-\u001f\u0085]"), " ")
# They choose a glyph of the character before them, such as the coloured heart, and never another character.
_NO_VARIATION_SELECTORS = normalizers.Replace(Regex("[\ufe00-\ufe0f]"), "")


def mostly_unspaced(texts: Iterable[str]) -> bool:
    """Whether most letters are of a script that puts no spaces between words."""
    sample = "".join(text[:200] for text in islice(texts, 2000))
    return len(_UNSPACED.findall(sample)) > sum(character.isalpha() for character in sample) / 2


def train_tokenizer(texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
    """Learn a vocabulary from texts, read once; the same texts give the same bytes. `config.type` is not `auto`."""
    texts = (text[:100_000] for text in texts)  # one huge text shall not decide the vocabulary
    size = 30_000 if config.vocab_size == "auto" else config.vocab_size
    options: dict[str, Any] = {"vocab_size": size, "min_frequency": config.min_frequency}
    options |= {"show_progress": False, "special_tokens": list(SPECIAL)}
    if config.type == "wordpiece":
        pieces = islice(_wordpieces(texts, config, trainers.BpeTrainer(**options)), size)
        vocabulary = {piece: i for i, piece in enumerate(pieces)}
        return _finish(_untrained(models.WordPiece(vocabulary, unk_token=UNKNOWN), config))
    words = (models.WordLevel, trainers.WordLevelTrainer)
    model, trainer = (models.BPE, trainers.BpeTrainer) if config.type == "bpe" else words
    tokenizer = _untrained(model(unk_token=UNKNOWN), config)
    tokenizer.train_from_iterator(texts, trainer(**options))
    return _finish(tokenizer)


def load_tokenizer(text: str) -> Tokenizer:
    """A tokenizer from the text of its `tokenizer.json`."""
    return _finish(Tokenizer.from_str(text))


def _untrained(model: models.Model, config: TokenizerConfig) -> Tokenizer:
    """A tokenizer that splits normalized text at spaces and punctuation; only bpe learns words of several Han signs.

    A token of the unit `character` is one code point: a mark that has no composed form with its letter, as in Thai
    and Hindi, is a token of its own that follows the letter's.
    """
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = _normalizer(config)
    # A bpe token of more than 50 characters says nothing, and costs its learner time by the square of its length.
    run = {"character": r"\S", "bpe": ".{1,50}"}.get(config.type, ".+")
    split = pre_tokenizers.Split(Regex(run), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), split])
    return tokenizer


def _normalizer(config: TokenizerConfig) -> normalizers.Normalizer:
    """Give a text its one canonical form (Unicode's NFC), drop what cannot be seen, and lower-case if asked.

    NFC comes first, so that both ways to write é or ぎ are the same, and last, as lower-casing and stripping accents
    leave some letters in parts, for example Hangul.
    """
    bert = normalizers.BertNormalizer(
        handle_chinese_chars=config.type != "bpe", lowercase=config.lowercase, strip_accents=config.strip_accents
    )
    steps = [_LINE_BREAKS_TO_SPACES, _NO_VARIATION_SELECTORS, normalizers.NFC(), bert]
    if config.lowercase:
        # Unicode's small form of the Turkish İ is an i and a dot above it, which no Turkish text has.
        steps.append(normalizers.Replace("i\u0307", "i"))
    return normalizers.Sequence([*steps, normalizers.NFC()])


def _finish(tokenizer: Tokenizer) -> Tokenizer:
    special = [(token, i) for token in (CLS, END) if (i := tokenizer.token_to_id(token)) is not None]
    # Every text begins with [CLS], so that none is without a token.
    form = (f"{CLS} $A {END}", f"{CLS} $A {END} $B:1 {END}:1") if len(special) == 2 else (f"{CLS} $A", None)
    if special:
        tokenizer.post_processor = processors.TemplateProcessing(single=form[0], pair=form[1], special_tokens=special)
    tokenizer.encode_special_tokens = True  # "[PAD]" in a user's text is three plain tokens
    tokenizer.no_padding()
    tokenizer.no_truncation()  # TokenIds cuts
    return tokenizer


def _wordpieces(texts: Iterable[str], config: TokenizerConfig, trainer: trainers.BpeTrainer) -> list[str]:
    """WordPiece's pieces (Schuster & Nakajima 2012) in canonical order, single characters first.

    The library's own WordPiece trainer numbers, and at ties chooses, its pieces differently from run to run; its BPE
    trainer does not. So BPE is trained on words with their start marked, and its tokens become pieces.
    """
    marked = _untrained(models.BPE(unk_token=UNKNOWN), config)
    mark = pre_tokenizers.Metaspace(replacement=_START, prepend_scheme="always", split=False)
    marked.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), mark])
    marked.train_from_iterator(texts, trainer)
    pieces = dict.fromkeys(SPECIAL)
    for token, _ in sorted(marked.get_vocab().items(), key=lambda item: item[1]):
        word = token.removeprefix(_START)
        if len(word) == 1:  # a character may begin a word or continue one
            pieces |= {word: None, "##" + word: None}
        elif word and token not in SPECIAL:
            pieces[word if token.startswith(_START) else "##" + word] = None
    return list(pieces)


def char_ngram_ids(tokenizer: Tokenizer, unit: str, buckets: int = 32_768) -> np.ndarray:
    """The hashed character n-grams of each token, numbered from 1, filled up with 0: int64 (V, K).

    Words and their pieces are told by 3 to 5 letters, a space marking where a word begins; scripts without spaces, in
    which a character says more, by 1 to 3.
    """
    sizes = (1, 2, 3) if unit == "bpe" else (3, 4, 5)
    rows = []
    for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        text = token.removeprefix("##") if token.startswith("##") else token if sizes[0] == 1 else " " + token
        ngrams = [text[i : i + size] for size in sizes for i in range(len(text) - size + 1)] or [text]
        # crc32, as Python's own hash differs from run to run.
        rows.append([1 + crc32(ngram.encode()) % buckets for ngram in ngrams[:40] if token not in SPECIAL])
    table = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for row, numbers in zip(table, rows, strict=True):
        row[: len(numbers)] = numbers
    return table


class TokenIds:
    """The token ids of many texts in one flat array, text after text: compact, and quick to cut batches from.

    Cutting texts shortens what is read of them and moves nothing, so that the array may lie in a file, and be larger
    than memory. Where texts end with a token of their own, it stays the last.
    """

    def __init__(self, ids: np.ndarray, counts: np.ndarray, max_length: int, end: int | None) -> None:
        """Take ids of which each text has the first `counts` (texts,), or `max_length`; `end`: the last token's id."""
        self.lengths = np.minimum(counts, max_length)  # how many tokens each text has: int64 (texts,)
        self.lost = counts - self.lengths  # how many tokens of each text were cut: int64 (texts,)
        self.ids, self.end = ids, end  # int32 (tokens,)
        self.starts = np.cumsum(self.lengths) - self.lengths  # where each text begins: int64 (texts,)

    @classmethod
    def of(cls, tokenizer: Tokenizer, texts: Iterable[str], max_length: int, file: Path | None = None) -> "TokenIds":
        """Tokenize texts, which are read once; with a `file` the ids are kept there."""
        counts, stream = [np.zeros(0, np.int64)], iter(texts)
        with io.BytesIO() if file is None else file.open("wb") as flat:
            while chunk := list(islice(stream, 1000)):
                found = [encoding.ids for encoding in tokenizer.encode_batch_fast(chunk)]
                counts.append(np.array([len(ids) for ids in found]))
                flat.write(np.concatenate([np.array(ids[:max_length], np.int32) for ids in found]).tobytes())
            held = flat.getvalue() if isinstance(flat, io.BytesIO) else b""
        total = np.concatenate(counts)
        ids = mapped(file) if file is not None else np.frombuffer(held, np.int32)
        return cls(ids, total, max_length, tokenizer.token_to_id(END))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> np.ndarray:
        found = self.ids[self.starts[i] : self.starts[i] + self.lengths[i]]
        return found if self.end is None or not self.lost[i] else np.append(found[:-1], np.int32(self.end))

    @property
    def total(self) -> int:
        """How many tokens all texts have together."""
        return int(self.lengths.sum())

    def cut(self, max_length: int) -> None:
        """Cut every text that is longer, as if it had been so from the start."""
        self.lost = self.lost + np.maximum(self.lengths - max_length, 0)
        self.lengths = np.minimum(self.lengths, max_length)

    def split(self, max_length: int) -> None:
        """Make several texts of each that is longer, so that nothing of it is lost."""
        pieces = -(-self.lengths // max_length)
        before = (np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)) * max_length  # in its text
        self.starts = np.repeat(self.starts, pieces) + before
        self.lengths = np.minimum(np.repeat(self.lengths, pieces) - before, max_length)
        self.lost = np.zeros(len(before), dtype=np.int64)

    def truncation(self) -> dict[str, float]:
        """Share of the texts that were cut, and share of all tokens that were lost."""
        lost = int(self.lost.sum())
        return {"texts_cut": float((self.lost > 0).mean()), "tokens_lost": lost / (self.total + lost)}


def mapped(file: Path) -> np.ndarray:
    """The token ids in a file, read where they are needed; an empty file cannot be mapped."""
    return np.memmap(file, np.int32, "r") if file.stat().st_size else np.zeros(0, np.int32)
