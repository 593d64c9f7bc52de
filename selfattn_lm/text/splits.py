"""DATA, whatever it is, to labelled texts: files, folders, hub names and the embedded corpus."""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from selfattn_lm.config import DataConfig
from selfattn_lm.errors import UserError
from selfattn_lm.text import stdlib_docs
from selfattn_lm.text.characters import visible_text
from selfattn_lm.text.columns import find_label, find_text, label_of, refuse_scalars, text_of
from selfattn_lm.text.python_inputs import all_integers, plain_labels, plain_texts
from selfattn_lm.text.sources import Row, format_of, read_rows

log = logging.getLogger(__name__)
SPLITS = {name: name for name in ("train", "validation", "test")} | dict.fromkeys(("valid", "dev", "val"), "validation")
_Sources = dict[str, tuple[str, Iterator[Row]]]  # by split: where it is, for messages, and its rows


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
    files = {"validation": config.validation, "test": config.test}
    sources = _find(config) | {name: (file, read_rows(Path(file))) for name, file in files.items() if file}
    if "train" not in sources:
        raise UserError(f"{config.source}: no train split; found {', '.join(sources)}.")
    return {name: _labelled(where, rows, config) for name, (where, rows) in sources.items() if name in SPLITS}


def load_split(config: DataConfig, name: str, trained_on: str = "auto") -> Split:
    """Read one split of a source, or a whole file; text columns that a run was `trained_on` are taken if they exist."""
    sources = _find(config)
    name = "train" if Path(config.source).is_file() else name
    if name not in sources:
        raise UserError(f"{config.source}: no {name} split; found {', '.join(sources)}. Use --split or name a file.")
    return _labelled(*sources[name], config, trained_on)


def stream_texts(config: DataConfig) -> Iterator[str]:
    """The texts of a whole file or of the train split, one by one; labels are not needed, blank texts are left out."""
    sources = _find(config)
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


def _find(config: DataConfig) -> _Sources:
    source, path = config.source, Path(config.source)
    if source == stdlib_docs.NAME and not path.exists():
        return {name: (f"{source} {name}", _pairs(pairs)) for name, pairs in stdlib_docs.load().items()}
    if path.is_file():
        return {"train": (source, read_rows(path))}
    if path.is_dir():
        if found := _split_files(path) or _class_folders(path):
            return found
        source = str(path)
        data = [file for file in (*path.iterdir(), *(path / "data").glob("*")) if file.is_file() and format_of(file)]
        if not data and not (path / "README.md").is_file():  # neither data where the hub's loader looks, nor a card
            there = ", ".join(file.name for file in sorted(path.iterdir())[:10]) or "nothing"
            reason = f"no train file (such as train.csv), and no sub-folder of .txt files a label; found {there}"
            raise UserError(f"{path}: {reason}.")
    elif format_of(path) or not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source):
        raise UserError(f"{source}: no such file or folder, and not a hub name of the form owner/name.")
    return {SPLITS.get(name, name): rows for name, rows in _from_hub(source, config.subset).items()}


def _from_hub(source: str, subset: str) -> _Sources:
    """A row stream for each split, by the hub's name for it, of a hub name or of a folder in the hub's layout."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of each time that it tries again
    try:
        found = datasets.load_dataset(source, subset or None)
    except Exception as error:  # the loader raises of all kinds: connection, HTTP, value, parse errors
        text, kind = " ".join(str(error).split()), type(error).__name__
        if "Config name is missing" in text or "BuilderConfig" in text:
            names = re.findall(r"\[(.*?)\]", text)
            reason = f"no subset {subset!r}; name one of {names[0] if names else '?'} with --data.subset."
        elif Path(source).is_dir():
            reason = f"not readable as a folder in hub layout: {text[:200]}"
        elif kind in ("DatasetNotFoundError", "RepositoryNotFoundError"):
            reason = "no such file, folder or data set on the hub; check the spelling, or name a local file."
        else:
            reason = f"not a local file or folder, and the hub could not be reached ({kind});"
            reason += " check the connection, or download the data set and name its folder."
        raise UserError(f"{source}: {reason}") from None
    labels = {name: [key for key, f in data.features.items() if hasattr(f, "names")] for name, data in found.items()}
    for name in [name for name, data in found.items() if any(data[:1][key] == [-1] for key in labels[name])]:
        log.warning("%s %s: its labels are withheld, so it is left out", source, name)
        del found[name]
    return {name: (f"{source} {name}", _hub_rows(data, labels[name])) for name, data in found.items()}


def _hub_rows(data: Any, labels: Sequence[str]) -> Iterator[Row]:
    """Rows with label numbers turned into the names that the data set gives them; -1 is a label withheld."""
    for number, values in enumerate(data, 1):
        known = {key: i for key in labels if isinstance(i := values[key], int)}
        yield Row(number, values | {key: data.features[key].names[i] if i >= 0 else None for key, i in known.items()})


def _pairs(pairs: Iterable[tuple[str | None, Any]]) -> Iterator[Row]:
    return (Row(i, {"text": text, "label": label}) for i, (text, label) in enumerate(pairs, 1))


def _split_files(folder: Path) -> _Sources:
    """Files named exactly train, validation or test."""
    readable = [file for file in sorted(folder.iterdir()) if file.is_file() and format_of(file)]
    found: dict[str, Path] = {}
    for file in readable:
        if split := SPLITS.get(file.name.split(".")[0]):
            if split in found:
                raise UserError(f"{folder}: {found[split].name} and {file.name} are both the {split} split; keep one.")
            found[split] = file
    if found and (ignored := [file.name for file in readable if file not in found.values()]):
        log.warning("%s: ignored %s (not named train, validation or test)", folder, ", ".join(ignored))
    return {name: (str(file), read_rows(file)) for name, file in found.items()}


def _class_folders(folder: Path) -> _Sources:
    """A sub-folder of .txt files for each label, or such sub-folders in folders named after splits."""
    labels = {file.parent for file in folder.glob("*/*.txt")}
    places = [("train", folder)] if len(labels) > 1 else [(split, folder / name) for name, split in SPLITS.items()]
    found = [(split, place, sorted(place.glob("*/*.txt"))) for split, place in places]
    return {split: (str(place), _pairs(map(_text_and_label, files))) for split, place, files in found if files}


def _text_and_label(file: Path) -> tuple[str, str]:
    try:
        return file.read_text(encoding="utf-8-sig"), file.parent.name
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 at byte {error.start}; save the file as UTF-8.") from None


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
