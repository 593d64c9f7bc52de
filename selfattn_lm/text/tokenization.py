"""The only tokenizing path there is: train a tokenizer or load one, and turn texts into token ids."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import tokenizers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from selfattn_lm.config import TokenizerConfig

PAD, UNKNOWN, CLS, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[MASK]")
_START = "▁"  # marks the first piece of a word while WordPiece is trained
# Han, kana, Thai, Lao, Khmer, Burmese and Tibetan are written without spaces between words.
_UNSPACED = re.compile("[\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


def mostly_unspaced(texts: Iterable[str]) -> bool:
    """Whether most letters are of a script that puts no spaces between words."""
    sample = "".join(text[:200] for text in islice(texts, 2000))
    letters = sum(character.isalpha() for character in sample)
    return len(_UNSPACED.findall(sample)) > letters / 2


def train_tokenizer(texts: Sequence[str], config: TokenizerConfig) -> Tokenizer:
    """Learn a vocabulary from texts; the same texts give the same bytes.

    Args:
        texts: The training texts.
        config: Its settings, resolved: `unit` is not `auto`.
    """
    kind = config.unit
    limits: dict[str, Any] = {"vocab_size": config.vocab_size, "min_frequency": config.min_frequency}
    limits |= {"show_progress": False, "special_tokens": list(SPECIAL)}
    if kind == "wordpiece":
        tokenizer = Tokenizer(
            models.WordPiece(_wordpieces(texts, config), unk_token=UNKNOWN, max_input_chars_per_word=100)
        )
    elif kind == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    else:
        tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    _split_like(tokenizer, config)
    if kind == "bpe":
        tokenizer.train_from_iterator(_cut(texts), trainers.BpeTrainer(**limits))
    elif kind != "wordpiece":
        tokenizer.train_from_iterator(_cut(texts), trainers.WordLevelTrainer(**limits))
    return _finish(tokenizer)


def load_tokenizer(text: str) -> Tokenizer:
    """A tokenizer from the text of its `tokenizer.json`."""
    return _finish(Tokenizer.from_str(text))


def _split_like(tokenizer: Tokenizer, config: TokenizerConfig) -> None:
    """Clean text, put spaces around Han characters, fold case, and split at spaces and punctuation."""
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=config.lowercase, strip_accents=config.lowercase)
    if config.unit == "character":
        each = pre_tokenizers.Split(tokenizers.Regex(r"\S"), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), each])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()


def _finish(tokenizer: Tokenizer) -> Tokenizer:
    cls = tokenizer.token_to_id(CLS)
    # Every text begins with [CLS], so that none is without a token.
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{CLS} $A", special_tokens=[(CLS, cls)])
    tokenizer.encode_special_tokens = True  # "[PAD]" in a user's text is three plain tokens
    return tokenizer


def _wordpieces(texts: Sequence[str], config: TokenizerConfig) -> dict[str, int]:
    """A WordPiece vocabulary (Schuster & Nakajima 2012) in canonical order.

    The library's own WordPiece trainer numbers, and at ties chooses, its pieces differently from run to run; its BPE
    trainer does not. So BPE is trained on words with their start marked, and its tokens become pieces.
    """
    marked = Tokenizer(models.BPE(unk_token=UNKNOWN))
    _split_like(marked, config)
    mark = pre_tokenizers.Metaspace(replacement=_START, prepend_scheme="always", split=False)
    marked.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), mark])
    trainer = trainers.BpeTrainer(vocab_size=config.vocab_size, min_frequency=config.min_frequency, show_progress=False)
    marked.train_from_iterator(_cut(texts), trainer)
    pieces = dict.fromkeys(SPECIAL)
    for token, _ in sorted(marked.get_vocab().items(), key=lambda item: item[1]):
        word = token.removeprefix(_START)
        if len(word) == 1:  # a character may begin a word or continue one
            pieces |= {word: None, "##" + word: None}
        elif word:
            pieces[word if token.startswith(_START) else "##" + word] = None
    return {piece: i for i, piece in enumerate(pieces)}


def _cut(texts: Iterable[str], length: int = 100_000) -> Iterator[str]:
    """The texts, the longest in part: one huge text shall not decide the vocabulary."""
    return (text[:length] for text in texts)


class TokenIds:
    """The token ids of many texts in two flat arrays: compact, and quick to cut batches from.

    Attributes:
        ids: All ids, text after text: int32 (tokens,).
        starts: Where each text begins, and where the last ends: int64 (texts + 1,).
        lost: How many tokens of each text were cut: int64 (texts,).
    """

    def __init__(self, tokenizer: Tokenizer, texts: Iterable[str], max_tokens: int) -> None:
        parts: list[np.ndarray] = []
        lengths: list[int] = []
        lost: list[int] = []
        stream = iter(texts)
        while chunk := list(islice(stream, 1000)):
            for encoding in tokenizer.encode_batch_fast(chunk):
                ids = encoding.ids
                parts.append(np.array(ids[:max_tokens], dtype=np.int32))
                lengths.append(len(parts[-1]))
                lost.append(len(ids) - lengths[-1])
        self.ids = np.concatenate(parts) if parts else np.zeros(0, np.int32)
        self.starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))).astype(np.int64)
        self.lost = np.array(lost, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.lost)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.ids[self.starts[i] : self.starts[i + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """How many tokens each text has: int64 (texts,)."""
        return np.diff(self.starts)

    def cut(self, max_tokens: int) -> None:
        """Cut every text that is longer, as if it had been so from the start."""
        lengths = np.minimum(self.lengths, max_tokens)
        inside = np.arange(len(self.ids)) - np.repeat(self.starts[:-1], self.lengths) < max_tokens
        self.lost += self.lengths - lengths
        self.ids = self.ids[inside]
        self.starts = np.concatenate(([0], np.cumsum(lengths)))

    def truncation(self) -> dict[str, float]:
        """Share of the texts that were cut, and share of all tokens that were lost."""
        total = len(self.ids) + int(self.lost.sum())
        return {"texts_cut": float((self.lost > 0).mean()), "tokens_lost": float(self.lost.sum() / total)}
