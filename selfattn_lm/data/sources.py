"""DATA, whatever it is, to labelled texts: files, folders, hub names and the embedded corpus."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from selfattn_lm.config import DataConfig
from selfattn_lm.data import stdlib_docs
from selfattn_lm.data.characters import visible_text
from selfattn_lm.data.columns import (
    AUTO,
    find_label,
    find_text,
    label_of,
    not_a_text,
    refuse_one_for_both,
    refuse_scalars,
    text_of,
)
from selfattn_lm.data.folders import find_in_folder, is_one_split, read_one_split
from selfattn_lm.data.hub import Sources, load_from_hub, read_named_rows, refuse_without_data
from selfattn_lm.data.lines import is_readable, is_stream
from selfattn_lm.data.listing import SPLITS
from selfattn_lm.data.python_inputs import all_integers, plain_labels, plain_texts
from selfattn_lm.data.readers import format_of
from selfattn_lm.data.rows import Row, row_of_texts
from selfattn_lm.errors import UserError

DEFAULT_SPLIT = "test"
_ADVICE = "fix or remove the row"


@dataclass(frozen=True)
class Split:
    """Labelled texts, none of them blank; `where` they are from, in which columns, and how many rows were blank.

    Labels are names, whatever they were given as; `integer_labels` says that all were integers, given in Python.
    """

    where: str
    texts: list[str]
    labels: list[str]
    blank: int = 0
    text_columns: tuple[str, ...] = AUTO  # of texts in memory, which have no columns
    label_column: str = "auto"
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
        return replace(split, text_columns=AUTO, label_column="auto", integer_labels=all_integers(given))

    def take(self, rows: Iterable[int]) -> "Split":
        """Some of the rows, in the order given."""
        rows = list(rows)
        texts, labels = [self.texts[i] for i in rows], [self.labels[i] for i in rows]
        return replace(self, texts=texts, labels=labels, blank=0)

    @property
    def columns(self) -> str:
        """Which columns were read, in words; empty where there are none."""
        if self.text_columns == AUTO:
            return ""
        names = ", ".join(repr(name) for name in self.text_columns)
        return f"text from {names}; label from {self.label_column!r}"

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
        sources[name] = read_one_split(Path(path), _reader(config))
    if "train" not in sources:
        raise UserError(f"{config.source}: no train split; found {', '.join(sources)}.")
    train = _labelled(*sources["train"], config)
    known = replace(config, text_column=train.text_columns, label_column=train.label_column)
    splits = {}
    for name, (where, rows) in sources.items():
        if name in SPLITS:
            splits[name] = train if name == "train" else _labelled(where, rows, config, known)
    return splits


def load_split(config: DataConfig, name: str | None, trained_on: DataConfig | None = None) -> Split:
    """Read one split of a source, or a whole file, which has none and is not asked for one.

    Columns that a run was `trained_on` are taken if none are asked for.
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
    if is_readable(Path(config.source)) and is_stream(Path(config.source)):
        reason = "a pipe can be read only once, and pretraining reads its texts several times"
        raise UserError(f"{config.source}: {reason}; write them to a file.")
    sources = _find(config, labelled=False)
    if "train" not in sources:
        raise UserError(f"{config.source}: no train split; found {', '.join(sources)}.")
    where, rows = sources["train"]
    names, some = tuple[str, ...](), False
    for row in rows:
        if row.values is None:
            raise UserError(f"{where}, {row.place}: {row.problem}; {_ADVICE}.")
        names = names or find_text(list(row.values), config.text_column, where)
        if row.damaged:
            _refuse_damage(row, names, where)
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
    if is_readable(path):
        return {"train": (source, _reader(config)(path))}
    if path.is_dir():
        found = find_in_folder(path, _reader(config), labelled=labelled, given=_given(config))
        if found:
            return found
        source = str(path)
        refuse_without_data(path)
    elif format_of(path) or not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source):
        raise UserError(f"{source}: no such file or folder, and not a hub name of the form owner/name.")
    return {SPLITS.get(name, name): rows for name, rows in load_from_hub(source, config.subset).items()}


def _reader(config: DataConfig) -> Callable[[Path], Iterator[Row]]:
    return partial(read_named_rows, quoting=config.quoting)


def _pairs(pairs: Iterable[tuple[str | None, Any]]) -> Iterator[Row]:
    return (row_of_texts(i, {"text": text, "label": label}) for i, (text, label) in enumerate(pairs, 1))


def _text(values: Mapping[str, Any], names: tuple[str, ...], place: str, *also: str) -> str:
    """The text of a row, which must have its columns, and those named `also`."""
    if missing := [name for name in (*names, *also) if name not in values]:
        raise UserError(f"{place}: no column {missing[0]!r}; found {', '.join(map(repr, values))}.")
    text = text_of(values, names)
    if text is None:
        raise UserError(f"{place}: {not_a_text(values, names)}.")
    return text


def _refuse_damage(row: Row, names: Iterable[str], where: str) -> None:
    """Refuse a row in which a column that is needed holds bytes or halves of characters that are no text."""
    for name in names:
        if problem := row.damaged.get(name):
            advice = "save the file as UTF-8" if "UTF-8" in problem else _ADVICE
            raise UserError(f"{where}, {row.place}: {problem} in column {name!r}; {advice}.")


def _labelled(where: str, rows: Iterator[Row], config: DataConfig, known: DataConfig | None = None) -> Split:
    """Read rows; columns that `config` leaves open are those `known` from the training split or the run."""
    known = known or DataConfig()
    texts: list[str] = []
    labels: list[str] = []
    names: tuple[str, ...] = ()
    label, blank = "", 0
    for row in rows:
        values = row.values
        if values is None:
            raise UserError(f"{where}, {row.place}: {row.problem}; {_ADVICE}.")
        if not names:
            names = find_text(list(values), config.text_column, where, known.text_column)
            label = find_label(list(values), config.label_column, where, known.label_column)
            refuse_one_for_both(names, label, where)
        if row.damaged:
            _refuse_damage(row, (*names, label), where)
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
    return Split(where, texts, labels, blank, names, label)
