"""DATA, whatever it is, to labelled texts: files, folders, hub names and the embedded corpus."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from selfattn_lm.config import DataConfig
from selfattn_lm.errors import UserError
from selfattn_lm.text import stdlib_docs
from selfattn_lm.text.characters import visible_text
from selfattn_lm.text.columns import find_label, find_text, label_of, refuse_scalars, text_of
from selfattn_lm.text.folders import SPLITS, find_in_folder, is_one_split, read_one_split, refuse_without_data
from selfattn_lm.text.hub import Sources, load_from_hub, read_named_rows
from selfattn_lm.text.python_inputs import all_integers, plain_labels, plain_texts
from selfattn_lm.text.sources import Row, format_of

DEFAULT_SPLIT = "test"


@dataclass(frozen=True)
class Split:
    """Labelled texts, none of them blank; `where` they are from, in which columns, and how many rows were blank.

    Labels are names, whatever they were given as; `integer_labels` says that all were integers, given in Python.
    """

    where: str
    texts: list[str]
    labels: list[str]
    blank: int = 0
    text_columns: str = "text"
    integer_labels: bool = False

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def in_memory(cls, where: str, texts: Iterable[str], labels: Iterable[str | int]) -> "Split":
        """A split from Python lists, arrays or columns, held to the same rules as a file; `where` begins messages."""
        prefix = "" if where == "texts" else f"{where} "
        plain, given = plain_texts(texts, f"{prefix}texts"), plain_labels(labels, f"{prefix}labels")
        if len(plain) != len(given):
            raise UserError(f"{where}: {len(plain)} texts but {len(given)} labels; give one label a text.")
        split = _labelled(where, _pairs(zip(plain, given, strict=True)), DataConfig())
        return replace(split, integer_labels=all_integers(given))

    def take(self, rows: Iterable[int]) -> "Split":
        """Some of the rows, in the order given."""
        rows = list(rows)
        texts, labels = [self.texts[i] for i in rows], [self.labels[i] for i in rows]
        return Split(self.where, texts, labels, 0, self.text_columns, integer_labels=self.integer_labels)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all texts and labels."""
        digest = hashlib.sha256()
        for text, label in zip(self.texts, self.labels, strict=True):
            digest.update(f"{len(text)} {text} {label}\n".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Plain facts for `data.json`: rows, a fingerprint, label counts."""
        counts = dict(sorted(Counter(self.labels).items()))
        return {"rows": len(self), "blank": self.blank, "sha256": self.fingerprint, "labels": counts}


def load_splits(config: DataConfig) -> dict[str, Split]:
    """Read everything that `config` names: train, and what there is of validation and test."""
    sources = _find(config)
    for name, path in _given(config).items():
        sources[name] = read_one_split(Path(path))
    if "train" not in sources:
        raise UserError(f"{config.source}: no train split; found {', '.join(sources)}.")
    return {name: _labelled(where, rows, config) for name, (where, rows) in sources.items() if name in SPLITS}


def load_split(config: DataConfig, name: str | None, trained_on: str = "auto") -> Split:
    """Read one split of a source, or a whole file, which has none and is not asked for one.

    Text columns that a run was `trained_on` are taken if they exist.
    """
    sources = _find(config)
    path = Path(config.source)
    if is_one_split(path):
        if name is not None:
            kind = "folder of labels" if path.is_dir() else "file"
            raise UserError(f"{config.source}: a {kind} has no splits; leave out --split {name}, or name a folder.")
        (rows,) = sources.values()
        return _labelled(*rows, config, trained_on)
    asked = DEFAULT_SPLIT if name is None else name
    split = SPLITS.get(asked, asked)
    if split not in sources:
        raise UserError(f"{config.source}: no {asked} split; found {', '.join(sources)}. Use --split or name a file.")
    return _labelled(*sources[split], config, trained_on)


def stream_texts(config: DataConfig) -> Iterator[str]:
    """The texts of a whole file or of the train split, one by one; labels are not needed, blank texts are left out."""
    sources = _find(config, labelled=False)
    if "train" not in sources:
        raise UserError(f"{config.source}: no train split; found {', '.join(sources)}.")
    where, rows = sources["train"]
    names, some = tuple[str, ...](), False
    for row in rows:
        if row.values is None:
            raise UserError(f"{where}, {row.place}: {row.problem}; mend or remove the row.")
        names = names or find_text(list(row.values), config.text_column, where)
        if text := _text(row.values, names, f"{where}, {row.place}"):
            yield text
            some = True
    if not some:
        raise UserError(f"{where}: no row has a text.")


def _given(config: DataConfig) -> dict[str, str]:
    """The splits that have a file or folder of their own in the settings."""
    return {name: path for name, path in (("validation", config.validation), ("test", config.test)) if path}


def _find(config: DataConfig, *, labelled: bool = True) -> Sources:
    """The splits of the source, without those that are given apart; `labelled` says whether labels are needed."""
    source, path = config.source, Path(config.source)
    if source == stdlib_docs.NAME and not path.exists():
        return {name: (f"{source} {name}", _pairs(pairs)) for name, pairs in stdlib_docs.load().items()}
    if path.is_file():
        return {"train": (source, read_named_rows(path))}
    if path.is_dir():
        found = find_in_folder(path, labelled=labelled, given=_given(config))
        if found:
            return found
        source = str(path)
        refuse_without_data(path)
    elif format_of(path) or not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source):
        raise UserError(f"{source}: no such file or folder, and not a hub name of the form owner/name.")
    return {SPLITS.get(name, name): rows for name, rows in load_from_hub(source, config.subset).items()}


def _pairs(pairs: Iterable[tuple[str | None, Any]]) -> Iterator[Row]:
    return (Row(i, {"text": text, "label": label}) for i, (text, label) in enumerate(pairs, 1))


def _text(values: Mapping[str, Any], names: tuple[str, ...], place: str, *also: str) -> str:
    """The text of a row, which must have its columns, and those named `also`."""
    if missing := [name for name in (*names, *also) if name not in values]:
        raise UserError(f"{place}: no column {missing[0]!r}; found {', '.join(map(repr, values))}.")
    text = text_of(values, names)
    if text is None:
        raise UserError(f"{place}: column {','.join(names)!r} holds a value that is not a text; quote it.")
    return text


def _labelled(where: str, rows: Iterator[Row], config: DataConfig, trained_on: str = "auto") -> Split:
    texts: list[str] = []
    labels: list[str] = []
    names: tuple[str, ...] = ()
    label, blank = "", 0
    for row in rows:
        values = row.values
        if values is None:
            raise UserError(f"{where}, {row.place}: {row.problem}; mend or remove the row.")
        if not names:
            names = find_text(list(values), config.text_column, where, trained_on)
            label = find_label(list(values), config.label_column, where)
        cell, tag = values.get(names[0]), values.get(label)
        if len(names) == 1 and type(cell) is str and type(tag) is str:  # as nearly all rows are: a shorter way
            text, name = visible_text(cell), visible_text(tag)
            if text and name:
                texts.append(text)
                labels.append(name)
                continue
        place = f"{where}, {row.place}"
        if text := _text(values, names, place, label):
            texts.append(text)
            labels.append(label_of(values, label, place))
        else:
            blank += 1
    if not texts:
        raise UserError(f"{where}: no row has a text.")
    refuse_scalars(labels, label, where)
    return Split(where, texts, labels, blank, ",".join(names))
