"""DATA, whatever it is, to labelled texts: files, folders, hub names and the embedded corpus."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfattn_lm.config import DataConfig
from selfattn_lm.errors import UserError
from selfattn_lm.text import hub, stdlib_docs
from selfattn_lm.text.columns import find_label, find_text, label_of, text_of
from selfattn_lm.text.sources import FORMATS, Row, format_of, read_rows, stem_of

log = logging.getLogger(__name__)
SPLITS = {name: name for name in ("train", "validation", "test")} | dict.fromkeys(("valid", "dev", "val"), "validation")


@dataclass(frozen=True)
class Split:
    """Labelled texts, none of them blank; `where` they came from, how many rows were `blank`, and from which columns."""

    where: str
    texts: list[str]
    labels: list[str]
    blank: int = 0
    text_columns: str = "auto"

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def in_memory(cls, where: str, texts: Sequence[str], labels: Sequence[str | int]) -> "Split":
        """A split from Python lists, held to the same rules as a file."""
        if len(texts) != len(labels):
            raise UserError(f"{where}: {len(texts)} texts but {len(labels)} labels; give one label a text.")
        pairs = ({"text": text, "label": label} for text, label in zip(texts, labels, strict=True))
        return _labelled(where, (Row(i, values) for i, values in enumerate(pairs, 1)), DataConfig())

    def take(self, rows: Iterable[int]) -> "Split":
        """Some of the rows, in the order given."""
        rows = list(rows)
        texts, labels = [self.texts[i] for i in rows], [self.labels[i] for i in rows]
        return Split(self.where, texts, labels, 0, self.text_columns)

    def describe(self) -> dict[str, Any]:
        """Plain facts for `data.json`: rows, a fingerprint, label counts."""
        digest = hashlib.sha256()
        for text, label in zip(self.texts, self.labels, strict=True):
            digest.update(f"{len(text)} {text} {label}\n".encode("utf-8", "surrogatepass"))
        counts = dict(sorted(Counter(self.labels).items()))
        return {"rows": len(self), "blank": self.blank, "sha256": digest.hexdigest(), "labels": counts}


def load_splits(config: DataConfig) -> dict[str, Split]:
    """Read everything that `config` names: train, and what there is of validation and test.

    Raises:
        UserError: For whatever cannot be read, with file, row or column.
    """
    sources = _find(config)
    for name, file in (("validation", config.validation), ("test", config.test)):
        if file:
            sources[name] = (file, read_rows(Path(file)))
    if "train" not in sources:
        raise UserError(f"{config.source}: no train split; found {', '.join(sources)}.")
    return {name: _labelled(where, rows, config) for name, (where, rows) in sources.items() if name in SPLITS}


def load_split(config: DataConfig, name: str, trained_on: str = "auto") -> Split:
    """Read one split of a source that has several, or the source itself if it is a file.

    Args:
        config: What to read.
        name: The split.
        trained_on: The text columns that a run was trained on, taken where they are there.

    Raises:
        UserError: If the source has no such split, or for whatever cannot be read.
    """
    sources = _find(config)
    if len(sources) == 1 and Path(config.source).is_file():
        name = "train"
    if name not in sources:
        raise UserError(f"{config.source}: no {name} split; found {', '.join(sources)}. Use --split or name a file.")
    where, rows = sources[name]
    return _labelled(where, rows, config, trained_on)


_Sources = dict[str, tuple[str, Iterator[Row]]]


def _find(config: DataConfig) -> _Sources:
    """A row stream for each split."""
    source, path = config.source, Path(config.source)
    if source == stdlib_docs.NAME and not path.exists():
        return {name: (f"{source} {name}", _rows(pairs)) for name, pairs in stdlib_docs.load().items()}
    if path.is_file():
        return {"train": (source, read_rows(path))}
    if path.is_dir():
        return _find_in_folder(path, config.subset)
    if hub.looks_like_name(source):
        return hub.load(source, config.subset)
    raise UserError(f"{source}: no such file or folder, and not a hub name of the form owner/name.")


def _rows(pairs: Iterable[tuple[str, str]]) -> Iterator[Row]:
    return (Row(i, {"text": text, "label": label}) for i, (text, label) in enumerate(pairs, 1))


def _find_in_folder(folder: Path, subset: str) -> _Sources:
    files = sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
    readable = [f for f in files if format_of(f)]
    found: dict[str, Path] = {}
    for file in readable:
        if split := SPLITS.get(stem_of(file)):
            if split in found:
                raise UserError(
                    f"{folder}: two files for the {split} split, {found[split].name} and {file.name}; keep one."
                )
            found[split] = file
    if "train" in found or (found and not hub.looks_like_layout(folder)):
        ignored = [f.name for f in readable if f not in found.values()]
        if ignored:
            log.warning("%s: ignored %s (not named train, validation or test)", folder, ", ".join(ignored))
        return {name: (str(file), read_rows(file)) for name, file in found.items()}
    inside = sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))
    by_split = {SPLITS[f.name]: f for f in inside if f.name in SPLITS}
    if by_split and all(_has_classes(f) for f in by_split.values()):
        return {name: (str(f), _class_folders(f)) for name, f in by_split.items()}
    if _has_classes(folder):
        return {"train": (str(folder), _class_folders(folder))}
    if hub.looks_like_layout(folder):
        return hub.load(str(folder), subset)
    there = ", ".join(f.name for f in sorted(folder.iterdir())[:10]) or "nothing"
    raise UserError(
        f"{folder}: no train file (train.{', .'.join(FORMATS[:-1])}) and no sub-folder of .txt files a label; found {there}."
    )


def _has_classes(folder: Path) -> bool:
    return sum(1 for sub in folder.iterdir() if sub.is_dir() and any(sub.glob("*.txt"))) > 1


def _class_folders(folder: Path) -> Iterator[Row]:
    """A row for each file: its text, labelled with the name of its folder."""
    number = 0
    for sub in sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith(".")):
        for file in sorted(sub.glob("*.txt")):
            number += 1
            try:
                yield Row(number, {"text": file.read_text(encoding="utf-8-sig"), "label": sub.name})
            except UnicodeDecodeError as error:
                raise UserError(f"{file}: not UTF-8 at byte {error.start}; save the file as UTF-8.") from None


def _labelled(where: str, rows: Iterator[Row], config: DataConfig, trained_on: str = "auto") -> Split:
    texts: list[str] = []
    labels: list[str] = []
    names: tuple[str, ...] = ()
    label, blank = "", 0
    for row in rows:
        place = f"{where}, {row.place}"
        if row.values is None:
            raise UserError(f"{place}: {row.problem}; mend or remove the row.")
        if not names:
            names = find_text(list(row.values), config.text_column, where, fallback=trained_on)
            label = find_label(list(row.values), config.label_column, where)
        missing = [name for name in (*names, label) if name not in row.values]
        if missing:
            raise UserError(f"{place}: no column {missing[0]!r}; found {', '.join(map(repr, row.values))}.")
        text = text_of(row.values, names)
        if text is None:
            raise UserError(f"{place}: column {','.join(names)!r} holds a value that is not a text; quote it.")
        if text:
            texts.append(text)
            labels.append(label_of(row.values, label, place))
        else:
            blank += 1
    if not texts:
        raise UserError(f"{where}: no row has a text.")
    _refuse_scalars(labels, where, label)
    return Split(where, texts, labels, blank, ",".join(names))


def _refuse_scalars(labels: list[str], where: str, column: str) -> None:
    """Labels that are all numbers, some with a fraction, are a scale and not classes."""
    fraction = None
    for label in dict.fromkeys(labels):
        try:
            if float(label) != int(float(label)):
                fraction = fraction or label
        except (ValueError, OverflowError):
            return
    if fraction:
        raise UserError(
            f"{where}: column {column!r} holds numbers such as {fraction}, a scalar; only classes are supported yet"
            " (to use the numbers as classes, write them as words)."
        )
