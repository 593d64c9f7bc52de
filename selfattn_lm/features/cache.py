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
import tokenizers
from tokenizers import Tokenizer

from selfattn_lm import __version__
from selfattn_lm.config import TokenizerConfig
from selfattn_lm.features.tokenizer import END, TokenIds, load_tokenizer, mapped, train_tokenizer
from selfattn_lm.places import cache_folder

log = logging.getLogger(__name__)
MANY = 50_000  # texts from which on it is worth it: fewer take seconds
_LEARNED_FROM = 200_000  # texts at most: more teach a vocabulary of 30,000 nothing new, and take half a minute
_KEPT = 8  # entries, of some bytes a token


def tokenized(
    texts: Sequence[str], config: TokenizerConfig, tokenizer: Tokenizer | None, max_length: int
) -> tuple[Tokenizer, TokenIds]:
    """A tokenizer, trained on the texts if none is given, and their ids; those of many texts are kept.

    Where nothing can be written nothing is kept, and a warning says so.
    """
    if len(texts) < MANY:
        return _compute(texts, config, tokenizer, max_length)
    entry = cache_folder() / _name(texts, config, tokenizer, max_length)
    try:
        return _read(entry, max_length)
    except FileNotFoundError:
        pass
    except Broken as reason:
        log.warning("%s: token ids that were kept cannot be read (%s); they are made again", entry, reason)
    try:
        return _compute_and_keep(entry, texts, config, tokenizer, max_length)
    except OSError as error:
        log.warning("%s: token ids cannot be kept there (%s)", entry.parent, error.strerror or error)
        return _compute(texts, config, tokenizer, max_length)


class Broken(Exception):
    """An entry does not hold what was written; the message says why."""


def _name(texts: Sequence[str], config: TokenizerConfig, tokenizer: Tokenizer | None, max_length: int) -> str:
    """A name for all that the ids depend on: the texts, and not their labels, the tokenizer and its library."""
    digest = hashlib.sha256()
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    versions = [__version__, tokenizers.__version__]
    source = tokenizer.to_str() if tokenizer is not None else asdict(config)
    known = json.dumps([*versions, digest.hexdigest(), max_length, source])
    return hashlib.sha256(known.encode()).hexdigest()[:32]


def _compute_and_keep(
    entry: Path, texts: Sequence[str], config: TokenizerConfig, tokenizer: Tokenizer | None, max_length: int
) -> tuple[Tokenizer, TokenIds]:
    """Compute, and move what came of it to its place as a whole; another process may do the same meanwhile."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    _make_room(entry.parent)
    with tempfile.TemporaryDirectory(dir=entry.parent, prefix=".") as temporary:
        made = Path(temporary) / "entry"
        made.mkdir()
        tokenizer, tokens = _compute(texts, config, tokenizer, max_length, made / "ids.int32")
        np.save(made / "counts.npy", tokens.lengths + tokens.lost)
        (made / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
        if entry.is_dir():
            with suppress(OSError):  # another process is moving it too
                entry.rename(Path(temporary) / "broken")
        with suppress(FileExistsError):
            _move_unless_there(made, entry)
    return tokenizer, tokens


def _move_unless_there(made: Path, entry: Path) -> None:
    """Move a folder to its place, or raise FileExistsError if another process was faster."""
    try:
        made.rename(entry)
    except OSError as error:
        if entry.is_dir():
            raise FileExistsError(error.errno, error.strerror, str(entry)) from None
        raise


def _compute(
    texts: Sequence[str],
    config: TokenizerConfig,
    tokenizer: Tokenizer | None,
    max_length: int,
    file: Path | None = None,
) -> tuple[Tokenizer, TokenIds]:
    tokenizer = tokenizer or train_tokenizer(texts[:: -(-len(texts) // _LEARNED_FROM)], config)
    return tokenizer, TokenIds.of(tokenizer, texts, max_length, file)


def _read(entry: Path, max_length: int) -> tuple[Tokenizer, TokenIds]:
    """An entry; raises FileNotFoundError if there is none, and Broken if it is not as it was written."""
    if not entry.is_dir():
        raise FileNotFoundError(entry)
    try:
        written = (entry / "tokenizer.json").read_text(encoding="utf-8")
        counts = np.load(entry / "counts.npy")  # which opens no pickle
        ids = mapped(entry / "ids.int32")
    except (OSError, ValueError, EOFError) as error:  # missing, of another format, or cut
        raise Broken(" ".join(str(error).split())) from None
    try:
        tokenizer = load_tokenizer(written)
    except Exception as error:  # the library raises nothing narrower
        raise Broken(" ".join(str(error).split())) from None
    if not isinstance(counts, np.ndarray) or counts.ndim != 1 or counts.dtype != np.int64:
        raise Broken("counts.npy does not hold the numbers of tokens")
    found = TokenIds(ids, counts, max_length, tokenizer.token_to_id(END))
    if found.total != len(ids):
        raise Broken("ids.int32 was cut")
    with suppress(OSError):  # a cache that may be read only
        os.utime(entry)  # when it was last used
    return tokenizer, found


def _make_room(folder: Path) -> None:
    """Keep the entries that were of use last, and what a run may be writing; another process may do the same."""
    found: list[tuple[float, Path]] = []
    for entry in folder.iterdir():
        with suppress(FileNotFoundError):
            if entry.is_dir():
                found.append((entry.stat().st_mtime, entry))
    found.sort()
    whole = [entry for _, entry in found if not entry.name.startswith(".")]
    long_ago = time.time() - 86_400
    left_behind = [entry for used, entry in found if entry.name.startswith(".") and used < long_ago]
    for entry in whole[: 1 - _KEPT] + left_behind:
        shutil.rmtree(entry, ignore_errors=True)
