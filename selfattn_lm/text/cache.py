"""The token ids of many texts, kept on the disk from one run to the next, as to tokenize them takes minutes."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from selfattn_lm import __version__
from selfattn_lm.config import TokenizerConfig
from selfattn_lm.places import cache_folder
from selfattn_lm.text.tokenization import END, TokenIds, load_tokenizer, mapped, train_tokenizer

log = logging.getLogger(__name__)
MANY = 50_000  # texts from which on it is worth it: fewer take seconds
_LEARNED_FROM = 200_000  # texts at most: more teach a vocabulary of 30,000 nothing new, and take half a minute
_KEPT = 8  # entries, of some bytes a token


def tokenized(
    texts: Sequence[str], fingerprint: str, config: TokenizerConfig, tokenizer: Tokenizer | None, max_tokens: int
) -> tuple[Tokenizer, TokenIds]:
    """A tokenizer, trained on the texts if none is given, and their ids; those of many texts are kept.

    The `fingerprint` stands for the texts. Where nothing can be written nothing is kept, and a warning says so.
    """
    if len(texts) < MANY:
        return _compute(texts, config, tokenizer, max_tokens)
    known = [__version__, fingerprint, max_tokens, tokenizer.to_str() if tokenizer else asdict(config)]
    place = cache_folder() / hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]
    with suppress(Exception):  # not there, or broken: tokenizers raises nothing narrower
        return _read(place, max_tokens)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _forget(place.parent)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".") as temporary:
            entry = Path(temporary) / "entry"
            entry.mkdir()
            tokenizer, tokens = _compute(texts, config, tokenizer, max_tokens, entry / "ids.int32")
            np.save(entry / "counts.npy", tokens.lengths + tokens.lost)
            (entry / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
            shutil.rmtree(place, ignore_errors=True)  # what was broken
            entry.rename(place)
        return tokenizer, tokens
    except OSError as error:
        log.warning("%s: token ids cannot be kept there (%s)", place.parent, error.strerror)
        return _compute(texts, config, tokenizer, max_tokens)


def _compute(
    texts: Sequence[str],
    config: TokenizerConfig,
    tokenizer: Tokenizer | None,
    max_tokens: int,
    file: Path | None = None,
) -> tuple[Tokenizer, TokenIds]:
    tokenizer = tokenizer or train_tokenizer(texts[:: -(-len(texts) // _LEARNED_FROM)], config)
    return tokenizer, TokenIds.of(tokenizer, texts, max_tokens, file)


def _read(place: Path, max_tokens: int) -> tuple[Tokenizer, TokenIds]:
    tokenizer = load_tokenizer((place / "tokenizer.json").read_text(encoding="utf-8"))
    counts = np.load(place / "counts.npy")  # which opens no pickle
    found = TokenIds(mapped(place / "ids.int32"), counts, max_tokens, tokenizer.token_to_id(END))
    if found.total != len(found.ids):
        raise ValueError("the file was cut")
    os.utime(place)  # when it was last of use
    return tokenizer, found


def _forget(place: Path) -> None:
    """Make room for an entry: keep those that were of use last, and what a run may be writing."""
    entries = sorted((entry for entry in place.iterdir() if entry.is_dir()), key=lambda entry: entry.stat().st_mtime)
    old = [entry for entry in entries if not entry.name.startswith(".")][: 1 - _KEPT]
    left = [entry for entry in entries if entry.name.startswith(".") and time.time() - entry.stat().st_mtime > 86_400]
    for entry in old + left:
        shutil.rmtree(entry, ignore_errors=True)
