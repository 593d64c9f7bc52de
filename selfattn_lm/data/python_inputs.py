"""Texts, labels and paths given in Python, of whatever type, as plain values; what has no one meaning is a TypeError.

Arrays, tensors and data frames are known by what they can do, so that none of their libraries is needed here.
"""

import os
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from selfattn_lm.errors import UserError

Label = str | int | float | bool | None  # None: it is missing
_MISSING = ("NAType", "NaTType")  # the types of pandas.NA and pandas.NaT


def plain_texts(texts: Any, what: str = "texts") -> list[str | None]:
    """A list of texts, None for those that are missing (None, NaN, pandas.NA)."""
    found = []
    for i, item in enumerate(_items(texts, what)):
        text = item if type(item) is str else _plain(item)
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{what}[{i}] is {_describe(item)}; each text is a str{_advice(item, 'text')}.")
        found.append(text)
    return found


def texts_to_predict(texts: Any, *, damaged: bool = False) -> list[str]:
    """A list of texts, none of them missing, as there is a prediction for each.

    `damaged`: halves of characters are let through, for who reports them as bad rows.
    """
    found = []
    for i, text in enumerate(plain_texts(texts)):
        if text is None:
            raise TypeError(f"texts[{i}] is missing (None or NaN); leave it out, or give '', which is a text too.")
        if not damaged and not text.isascii():
            _require_characters(text, f"texts[{i}]")
        found.append(text)
    return found


def _require_characters(text: str, where: str) -> None:
    """Refuse half of a character (a surrogate), which JSON may hold and no tokenizer takes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        reason = f"no character at position {error.start} but half of one (a surrogate)"
        raise UserError(f"{where}: holds {reason}; leave the text out, or remove it.") from None


def plain_labels(labels: Any, what: str = "labels") -> list[Label]:
    """A list of labels as plain str, int, float or bool, None for those that are missing."""
    found: list[Label] = []
    for i, item in enumerate(_items(labels, what)):
        label = item if type(item) in (str, int) else _plain(item)
        if label is not None and not isinstance(label, str | int | float):
            advice = _advice(item, "label")
            raise TypeError(f"{what}[{i}] is {_describe(item)}; each label is a str or an int{advice}.")
        found.append(label)
    return found


def all_integers(labels: Iterable[Label]) -> bool:
    """Whether all labels are whole numbers, which are then given back as numbers; True and False are none."""
    return all(type(label) is int for label in labels)


def plain_path(path: Any, what: str) -> str:
    """A path or a name, given as a str or a Path, as a str."""
    if not isinstance(path, str | os.PathLike):
        advice = "for texts in memory there are `fit(texts, labels)` and `TextClassifier.load(run).predict(texts)`"
        raise TypeError(f"{what} is {_describe(path)}, not the path of a file or folder, or a hub name; {advice}.")
    return str(path)


def without_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same nested settings, with each Path as a str."""
    plain: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            plain[name] = without_paths(value)
        else:
            plain[name] = str(value) if isinstance(value, os.PathLike) else value
    return plain


def _items(values: Any, what: str) -> list[Any]:
    """The items of a list, or of anything with one dimension and an order."""
    if isinstance(values, str | bytes) or getattr(values, "shape", None) == ():
        raise TypeError(f"{what}: give a list of {what}, not one {what.removesuffix('s')}.")
    if isinstance(values, Mapping | set | frozenset):
        raise TypeError(f"{what}: {_describe(values)} is no list of {what}; give a list, one item for each text.")
    values = _one_dimension(values, what)
    for name in ("tolist", "to_pylist", "to_list"):  # of numpy, torch and pandas; of pyarrow; of polars
        if hasattr(values, name):
            return list(getattr(values, name)())
    if not isinstance(values, Iterable):
        raise TypeError(f"{what}: {_describe(values)} is no list of {what}.")
    return list(values)


def _one_dimension(values: Any, what: str) -> Any:
    """The only column of a data frame or of an array (n, 1); refuses several columns."""
    columns = getattr(values, "column_names", None)  # of pyarrow and datasets
    if columns is None:
        columns = getattr(values, "columns", None)  # of pandas and polars
    if columns is not None:
        names = list(columns)
        if len(names) == 1:
            return values[names[0]]
        shown = ", ".join(map(repr, names[:10]))
        example = "df['label']" if what.endswith("labels") else "df['text']"
        raise TypeError(f"{what}: {_describe(values)} with the columns {shown}; give one column, such as {example}.")
    shape = tuple(getattr(values, "shape", (0,)))
    if len(shape) == 1:
        return values
    if len(shape) == 2 and shape[1] == 1:
        return values.reshape(-1)
    advice = "; of one-hot rows give rows.argmax(1)" if what.endswith("labels") else ""
    raise TypeError(f"{what}: {_describe(values)} of shape {shape}; give one dimension, one item a text{advice}.")


def _plain(item: Any) -> Any:
    """A single item in a type of Python itself, if it stands for one: None where it is missing."""
    if isinstance(item, Enum):
        return _plain(item.value) if isinstance(item, int) or isinstance(item.value, str) else item
    if item is None or type(item).__name__ in _MISSING:
        return None
    if isinstance(item, str):
        return str(item)  # numpy.str_ among them
    if isinstance(item, float):
        return None if item != item else float(item)
    if isinstance(item, bool | int):
        return item
    if isinstance(item, list | tuple) and len(item) == 1:
        return _plain(item[0])  # a row of a column (n, 1)
    if hasattr(item, "as_py"):
        return _plain(item.as_py())  # pyarrow
    if hasattr(item, "item") and set(getattr(item, "shape", ())) <= {1}:
        return _plain(item.item())  # a number of numpy, a tensor with one element
    return item


def _describe(value: Any) -> str:
    kind = type(value).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def _advice(item: Any, what: str) -> str:
    """What to do with an item that is no text or no label, as the rest of the sentence."""
    if isinstance(item, bytes):
        return "; decode it, as in item.decode()"
    if isinstance(item, Enum):
        return "; give its .name or its .value"
    if isinstance(item, Mapping):
        return f"; give the {what} in it, as in item['{what}']"
    if isinstance(item, list | tuple | set) or getattr(item, "shape", None):
        return "; join its parts into one" if what == "text" else "; only one label a text is supported yet"
    return "; convert it with str()"
