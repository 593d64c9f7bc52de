"""From a source, whatever it is, to splits: files, folders, hub names, the embedded corpus."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from selfattn_lm.config import DataConfig, TaskKind
from selfattn_lm.data import stdlib_docs
from selfattn_lm.data.columns import AUTO
from selfattn_lm.data.examples import Split
from selfattn_lm.data.folders import find_in_folder, is_one_split, read_one_split
from selfattn_lm.data.hub import Sources, load_from_hub, read_named_rows, refuse_without_data
from selfattn_lm.data.lines import is_readable, is_stream
from selfattn_lm.data.listing import SPLITS
from selfattn_lm.data.pairs import IN_MEMORY, NO_PAIRS, find_texts
from selfattn_lm.data.python_inputs import all_integers, plain_labels, plain_texts
from selfattn_lm.data.readers import format_of
from selfattn_lm.data.rows import Row, row_of_texts
from selfattn_lm.data.splits import read_split, refuse_damage, row_text, row_values
from selfattn_lm.data.vectors import Vectors, holds_vectors, sequences_in_memory
from selfattn_lm.errors import UserError
from selfattn_lm.phrases import counted

DEFAULT_SPLIT = "test"
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def split_in_memory(
    source: str,
    texts: Iterable[Any],
    labels: Iterable[Any],
    pairs: Iterable[str] | None = None,
    task: TaskKind = "auto",
) -> Split:
    """Build a split from Python lists, arrays or columns, by the same rules as from a file.

    Args:
        source: How the split is called in messages; `texts` if it is the only one.
        texts: The texts, or sequences of vectors.
        labels: Their labels, lists of labels, or numbers.
        pairs: The second texts, if the examples are pairs.
        task: The kind of task that is asked for.

    Raises:
        UserError: There are not as many labels, or second texts, as texts.
        TypeError: The values are of a kind that has no one meaning.
    """
    prefix = "" if source == "texts" else f"{source} "
    if isinstance(texts, Iterator):
        texts = list(texts)
    plain: Sequence[Any]
    if holds_vectors(texts):
        plain = sequences_in_memory(texts, f"{prefix}sequences")
    else:
        plain = plain_texts(texts, f"{prefix}texts")
    given = plain_labels(labels, f"{prefix}labels", several=task == "multi_label")
    if len(plain) != len(given):
        counts = f"{counted(len(plain), 'text')} but {counted(len(given), 'label')}"
        raise UserError(f"{source}: {counts}; give one label per text.")
    rows = _rows(zip(plain, given, strict=True))
    pair_column = NO_PAIRS
    if pairs is not None:
        pair_column = IN_MEMORY
        rows = _with_pairs(rows, _plain_pairs(source, pairs, f"{prefix}pairs", len(plain)))
    split = read_split(source, rows, DataConfig(task=task, pair_column=pair_column))
    return replace(split, text_columns=AUTO, label_columns=AUTO, integer_labels=all_integers(given))


def load_splits(config: DataConfig) -> dict[str, Split]:
    """Read all that the settings name: train, and what there is of validation and test."""
    sources = _open(config)
    for name, path in _named_apart(config).items():
        sources[name] = read_one_split(Path(path), _reader(config))
    if "train" not in sources:
        raise UserError(f"{config.source}: no train split; found {', '.join(sources)}.")
    train = read_split(*sources["train"], config)
    columns = replace(
        config,
        text_column=train.text_columns,
        pair_column=train.pair_column,
        label_column=train.label_columns,
        task=train.kind,
    )
    splits = {}
    for name, (source, rows) in sources.items():
        if name == "train":
            splits[name] = train
        elif name in SPLITS:
            splits[name] = read_split(source, rows, config, columns)
    return splits


def load_split(config: DataConfig, name: str | None, trained_on: DataConfig | None = None) -> Split:
    """Read one split of a source, or a whole file.

    Args:
        config: What to read, and how.
        name: The split; None for a file, or for the test split.
        trained_on: The columns that a run was trained on, which are read if none are asked for.

    Raises:
        UserError: There is no such split, or a split is asked for of a file.
    """
    sources = _open(config)
    path = Path(config.source)
    if is_one_split(path):
        if name is not None:
            kind = "folder of labels" if path.is_dir() else "file"
            advice = f"leave out --split {name}, or name a folder"
            raise UserError(f"{config.source}: a {kind} has no splits; {advice}.")
        (source,) = sources.values()
        return read_split(*source, config, trained_on)
    asked = DEFAULT_SPLIT if name is None else name
    split = SPLITS.get(asked, asked)
    if split not in sources:
        found = f"no {asked} split; found {', '.join(sources)}"
        raise UserError(f"{config.source}: {found}. Use --split or name a file.")
    return read_split(*sources[split], config, trained_on)


def stream_texts(config: DataConfig) -> Iterator[str]:
    """Read the texts of a whole file or of the train split, one by one.

    Labels are not needed, and empty texts are left out. The two texts of a pair are texts of their
    own.
    """
    path = Path(config.source)
    if is_readable(path) and is_stream(path):
        reason = "a pipe can be read only once, and pretraining reads its texts several times"
        raise UserError(f"{config.source}: {reason}; write them to a file.")
    sources = _open(config, labelled=False)
    if "train" not in sources:
        raise UserError(f"{config.source}: no train split; found {', '.join(sources)}.")
    source, rows = sources["train"]
    texts: list[tuple[str, ...]] = []  # the columns of each text of a row
    is_empty = True
    for row in rows:
        values = row_values(row, source)
        if not texts:
            names, pair_column = find_texts(list(values), config, DataConfig(), source)
            texts.append(names)
            if pair_column != NO_PAIRS:
                texts.append((pair_column,))
        for names in texts:
            refuse_damage(row, names, source)
            text = row_text(values, names, f"{source}, {row.place}")
            if isinstance(text, Vectors):
                reason = f"column {names[0]!r} holds vectors, and pretraining reads texts"
                raise UserError(f"{source}: {reason}; name another column with --data.text-column.")
            if text:
                yield text
                is_empty = False
    if is_empty:
        raise UserError(f"{source}: no row has a text.")


def _named_apart(config: DataConfig) -> dict[str, str]:
    """The splits that have a file or folder of their own in the settings."""
    named = {"validation": config.validation, "test": config.test}
    return {name: path for name, path in named.items() if path}


def _open(config: DataConfig, *, labelled: bool = True) -> Sources:
    """Find the splits of the source, without those that are named apart.

    Args:
        config: What to read, and how.
        labelled: Whether labels are needed.
    """
    source, path = config.source, Path(config.source)
    if source == "-":
        reason = "only the FILE of `selfattn predict` may be standard input"
        raise UserError(f"-: {reason}; name a file, a folder or a hub name.")
    if source == stdlib_docs.NAME and not path.exists():
        found: Sources = {}
        for name, pairs in stdlib_docs.load().items():
            found[name] = (f"{source} {name}", _rows(pairs))
        return found
    if is_readable(path):
        return {"train": (source, _reader(config)(path))}
    if path.is_dir():
        apart = _named_apart(config)
        found = find_in_folder(path, _reader(config), labelled=labelled, given=apart)
        if found:
            return found
        source = str(path)
        refuse_without_data(path)
    elif format_of(path) or not _HUB_NAME.fullmatch(source):
        reason = "no such file or folder, and not a hub name of the form owner/name"
        raise UserError(f"{source}: {reason}.")
    from_hub = load_from_hub(source, config.subset)
    return {SPLITS.get(name, name): rows for name, rows in from_hub.items()}


def _reader(config: DataConfig) -> Callable[[Path], Iterator[Row]]:
    return partial(read_named_rows, quoting=config.quoting)


def _plain_pairs(source: str, pairs: Iterable[str], what: str, count: int) -> list[str | None]:
    """The second texts of as many pairs as there are texts."""
    plain = plain_texts(pairs, what)
    if len(plain) != count:
        counts = f"{counted(count, 'text')} but {counted(len(plain), 'pair')}"
        raise UserError(f"{source}: {counts}; give one second text per text.")
    return plain


def _with_pairs(rows: Iterator[Row], pairs: Iterable[str | None]) -> Iterator[Row]:
    """The same rows with a second text."""
    for row, pair in zip(rows, pairs, strict=True):
        yield row_of_texts(row.number, {**(row.values or {}), IN_MEMORY: pair})


def _rows(pairs: Iterable[tuple[Any, Any]]) -> Iterator[Row]:
    """Rows with a text, or a sequence of vectors, and a label."""
    for number, (text, label) in enumerate(pairs, 1):
        yield row_of_texts(number, {"text": text, "label": label})
