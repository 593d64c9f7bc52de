"""The token ids of large datasets, kept on disk between runs: tokenizing them takes minutes."""

import hashlib
import json
import logging
import math
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import Tokenizer

from selfattn_lm import __version__
from selfattn_lm.config import ResolvedTokenizer
from selfattn_lm.features.sequences import TokenizedTexts, map_ids
from selfattn_lm.features.tokenizer import SEP, load_tokenizer, train_tokenizer
from selfattn_lm.places import cache_folder

log = logging.getLogger(__name__)
MANY = 50_000  # texts; fewer are tokenized in seconds and are not kept
# A tokenizer is trained on at most this many texts, evenly spread over the dataset: more teach a
# vocabulary of 30,000 tokens nothing new, and take half a minute.
_TRAINING_TEXTS = 200_000
_MAX_ENTRIES = 8  # each of some bytes per token
_IDS, _LENGTHS, _TOKENIZER = "ids.int32", "counts.npy", "tokenizer.json"  # the files of an entry


class BrokenEntryError(Exception):
    """A cache entry does not hold what was written; the message says why."""


def tokenize(
    texts: Sequence[str], config: ResolvedTokenizer, tokenizer: Tokenizer | None, max_length: int
) -> tuple[Tokenizer, TokenizedTexts]:
    """Tokenize texts, truncated to `max_length`, with a tokenizer trained on them if none is given.

    The ids of many texts are kept in the cache. Where nothing can be written there is a warning.
    """
    if len(texts) < MANY:
        return _compute(texts, config, tokenizer, max_length)
    entry = cache_folder() / _name(texts, config, tokenizer, max_length)
    try:
        return _read(entry, max_length)
    except FileNotFoundError:
        pass
    except BrokenEntryError as error:
        log.warning("%s: cached token ids cannot be read (%s); computing them again", entry, error)
    try:
        return _compute_and_keep(entry, texts, config, tokenizer, max_length)
    except OSError as error:
        reason = error.strerror or error
        log.warning("%s: cannot write the token cache (%s)", entry.parent, reason)
        return _compute(texts, config, tokenizer, max_length)


def _name(
    texts: Sequence[str], config: ResolvedTokenizer, tokenizer: Tokenizer | None, max_length: int
) -> str:
    """A name for all that the ids depend on: texts, tokenizer, and the versions of the code."""
    digest = hashlib.sha256()
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    source = asdict(config) if tokenizer is None else tokenizer.to_str()
    known = [__version__, tokenizers.__version__, digest.hexdigest(), max_length, source]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]


def _compute_and_keep(
    entry: Path,
    texts: Sequence[str],
    config: ResolvedTokenizer,
    tokenizer: Tokenizer | None,
    max_length: int,
) -> tuple[Tokenizer, TokenizedTexts]:
    """Compute the ids into a temporary folder and rename it; another process may do the same."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    _make_room(entry.parent)
    with tempfile.TemporaryDirectory(dir=entry.parent, prefix=".") as temporary:
        made = Path(temporary) / "entry"
        made.mkdir()
        tokenizer, tokens = _compute(texts, config, tokenizer, max_length, made / _IDS)
        np.save(made / _LENGTHS, tokens.full_lengths)
        (made / _TOKENIZER).write_text(tokenizer.to_str(), encoding="utf-8")
        if entry.is_dir():  # it is broken
            with suppress(OSError):  # another process is moving it too
                entry.rename(Path(temporary) / "broken")
        with suppress(FileExistsError):
            _move_unless_there(made, entry)
    return tokenizer, tokens


def _move_unless_there(made: Path, entry: Path) -> None:
    """Move a folder to its place; raises FileExistsError if another process was faster."""
    try:
        made.rename(entry)
    except OSError as error:
        if entry.is_dir():
            raise FileExistsError(error.errno, error.strerror, str(entry)) from None
        raise


def _compute(
    texts: Sequence[str],
    config: ResolvedTokenizer,
    tokenizer: Tokenizer | None,
    max_length: int,
    file: Path | None = None,
) -> tuple[Tokenizer, TokenizedTexts]:
    if tokenizer is None:
        tokenizer = train_on_some(texts, config)
    return tokenizer, TokenizedTexts.from_texts(tokenizer, texts, max_length, file)


def train_on_some(
    texts: Sequence[str], config: ResolvedTokenizer, *, for_pairs: bool = False
) -> Tokenizer:
    """Train a tokenizer on at most 200,000 texts, evenly spread over those given."""
    every = math.ceil(len(texts) / _TRAINING_TEXTS)
    return train_tokenizer(texts[::every], config, for_pairs=for_pairs)


def _read(entry: Path, max_length: int) -> tuple[Tokenizer, TokenizedTexts]:
    """Read an entry.

    Raises FileNotFoundError if there is none, and BrokenEntryError if it is not as it was written.
    """
    if not entry.is_dir():
        raise FileNotFoundError(entry)
    try:
        written = (entry / _TOKENIZER).read_text(encoding="utf-8")
        full_lengths = np.load(entry / _LENGTHS)  # opens no pickle
        ids = map_ids(entry / _IDS)
    except (OSError, ValueError, EOFError) as error:  # missing, of another format, or cut off
        raise BrokenEntryError(" ".join(str(error).split())) from None
    try:
        tokenizer = load_tokenizer(written)
    except Exception as error:  # the library raises nothing narrower
        raise BrokenEntryError(" ".join(str(error).split())) from None
    is_array = isinstance(full_lengths, np.ndarray) and full_lengths.ndim == 1
    if not is_array or full_lengths.dtype != np.int64:
        raise BrokenEntryError(f"{_LENGTHS} does not hold the numbers of tokens")
    sep_id = tokenizer.token_to_id(SEP)
    tokens = TokenizedTexts.from_flat(ids, full_lengths, max_length, sep_id)
    if tokens.total != len(ids):
        raise BrokenEntryError(f"{_IDS} was cut off")
    with suppress(OSError):  # the cache may be read-only
        os.utime(entry)  # when it was last used
    return tokenizer, tokens


def _make_room(folder: Path) -> None:
    """Delete all but the most recently used entries, and what killed processes left behind.

    Another process may do the same, and what a run is writing at the moment stays.
    """
    found: list[tuple[float, Path]] = []
    for entry in folder.iterdir():
        with suppress(FileNotFoundError):
            if entry.is_dir():
                found.append((entry.stat().st_mtime, entry))
    found.sort()
    a_day_ago = time.time() - 86_400
    entries: list[Path] = []
    for last_used, entry in found:
        if not entry.name.startswith("."):
            entries.append(entry)
        elif last_used < a_day_ago:
            shutil.rmtree(entry, ignore_errors=True)
    room_for = _MAX_ENTRIES - 1
    for entry in entries[: max(0, len(entries) - room_for)]:
        shutil.rmtree(entry, ignore_errors=True)
