"""Converts texts, labels and paths that are given in Python to plain values.

Arrays, tensors and data frames are recognised by their methods and attributes, so this module needs
none of their libraries. A value with no single meaning is a `TypeError`.
"""

import math
import os
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from selfattn_lm.errors import UserError

Label = str | int | float | bool | None  # None for a missing label
_MISSING_TYPES = ("NAType", "NaTType")  # of pandas.NA and pandas.NaT
_TO_LIST = ("tolist", "to_pylist", "to_list")  # of numpy, torch and pandas; of pyarrow; of polars


def plain_texts(texts: Any, what: str = "texts") -> list[str | None]:
    """Convert a column of texts to a list, with None for missing ones (None, NaN, pandas.NA).

    Args:
        texts: A list, an array, a tensor, one column of a data frame, or any other iterable.
        what: How messages call the texts.

    Raises:
        TypeError: If the argument is not one column, or an item is not a text.
    """
    found: list[str | None] = []
    for i, item in enumerate(_items(texts, what)):
        text = _plain(item)
        if text is not None and not isinstance(text, str):
            raise TypeError(
                f"{what}[{i}] is {_describe(item)}; each text is a str; {_advice(item, 'text')}."
            )
        found.append(text)
    return found


def texts_to_predict(texts: Any, what: str = "texts", *, damaged: bool = False) -> list[str]:
    """Convert a column of texts to a list in which none is missing.

    Args:
        texts: A list, an array, a tensor, one column of a data frame, or any other iterable.
        what: How messages call the texts.
        damaged: Whether to let lone surrogates pass, for callers that report them as bad rows.

    Raises:
        TypeError: If the argument is not one column, or an item is missing or not a text.
        UserError: If a text has a lone surrogate and `damaged` is false.
    """
    found: list[str] = []
    for i, text in enumerate(plain_texts(texts, what)):
        if text is None:
            raise TypeError(
                f"{what}[{i}] is missing (None or NaN); leave it out, or give '' for an empty text."
            )
        if not damaged and not text.isascii():
            _refuse_surrogates(text, f"{what}[{i}]")
        found.append(text)
    return found


def _refuse_surrogates(text: str, where: str) -> None:
    """Refuse a lone surrogate, half of a character, which JSON may hold but no tokenizer takes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where}: holds a lone surrogate (half of a character) at position {error.start};"
            " remove it, or leave the text out."
        ) from None


def plain_labels(labels: Any, what: str = "labels", *, several: bool = False) -> list[Any]:
    """Convert a column of labels to a list of str, int, float or bool, with None for missing ones.

    If an item is a collection of several labels, or of none, each item must be one and becomes a
    list.

    Args:
        labels: A list, an array, a tensor, one column of a data frame, or any other iterable.
        what: How messages call the labels.
        several: Whether a collection of one label is a list too.

    Raises:
        TypeError: If the argument is not one column, or an item is not a label.
    """
    items = _items(labels, what)
    if not several:
        several = any(_is_collection(item) and len(item) != 1 for item in items)
    if several:
        return [_plain_list(item, f"{what}[{i}]") for i, item in enumerate(items)]
    return [_plain_label(item, f"{what}[{i}]") for i, item in enumerate(items)]


def _plain_label(item: Any, what: str) -> Label:
    label = _plain(item)
    if label is not None and not isinstance(label, str | int | float):
        advice = _advice(item, "label")
        raise TypeError(f"{what} is {_describe(item)}; each label is a str or an int; {advice}.")
    return label


def _is_collection(item: Any) -> bool:
    """Return whether an item holds labels: a list, a tuple, a set, or an array of one dimension."""
    is_array = len(getattr(item, "shape", ())) == 1
    return is_array or isinstance(item, list | tuple | set | frozenset)


def _plain_list(item: Any, what: str) -> list[Label]:
    """Convert the labels of one text to a list; those of a set are sorted."""
    if not _is_collection(item):
        reason = f"{what} is {_describe(item)}, but other texts have a list of labels"
        raise TypeError(f"{reason}; give a list for each text.")
    if hasattr(item, "tolist"):
        item = item.tolist()
    labels = [_plain_label(label, f"{what}[{i}]") for i, label in enumerate(item)]
    if len(labels) > 1 and set(labels) <= {0, 1}:
        advice = "give the labels that are 1, such as [names[i] for i in row.nonzero()[0]]"
        raise TypeError(f"{what} holds only 0 and 1, as a mark for each label; {advice}.")
    if isinstance(item, set | frozenset):
        labels.sort(key=str)
    return labels


def all_integers(labels: Iterable[Label]) -> bool:
    """Return whether all labels are integers, not counting True and False."""
    return all(type(label) is int for label in labels)


def plain_path(path: Any, what: str) -> str:
    """Convert a path or a hub name, given as a str or a Path, to a str.

    Args:
        path: What was given.
        what: How messages call it.

    Raises:
        TypeError: If it is something else, such as a list of texts.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"{what} is {_describe(path)}, not the path of a file or folder, or a hub name; for"
            " texts in memory, use `fit(texts, labels)` or"
            " `TextClassifier.load(run).predict(texts)`."
        )
    return str(path)


def without_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same nested settings with each Path as a str."""
    plain: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            plain[name] = without_paths(value)
        elif isinstance(value, os.PathLike):
            plain[name] = str(value)
        else:
            plain[name] = value
    return plain


def _items(values: Any, what: str) -> list[Any]:
    """Return the items of a list, or of any other ordered collection with one dimension."""
    if isinstance(values, str | bytes) or getattr(values, "shape", None) == ():
        raise TypeError(f"{what}: give a list of {what}, not one {what.removesuffix('s')}.")
    if isinstance(values, Mapping | set | frozenset):
        raise TypeError(
            f"{what}: {_describe(values)} is not a list of {what}; give a list, with one item per"
            " text."
        )
    values = _one_dimension(values, what)
    for method in _TO_LIST:
        if hasattr(values, method):
            return list(getattr(values, method)())
    if not isinstance(values, Iterable):
        raise TypeError(f"{what}: {_describe(values)} is not a list of {what}.")
    return list(values)


def _one_dimension(values: Any, what: str) -> Any:
    """Return the only column of a data frame or of an array of shape (n, 1); refuse several."""
    names = _column_names(values)
    if names is not None:
        return _only_column(values, names, what)
    shape = tuple(getattr(values, "shape", (0,)))
    if len(shape) == 1:
        return values
    if len(shape) == 2 and shape[1] == 1:
        return values.reshape(-1)
    advice = "give one dimension, with one item per text"
    if what.endswith("labels"):
        advice += "; for one-hot rows, give rows.argmax(1)"
    raise TypeError(f"{what}: {_describe(values)} of shape {shape}; {advice}.")


def _column_names(values: Any) -> list[str] | None:
    """Return the column names of a data frame; None for anything else."""
    names = getattr(values, "column_names", None)  # of pyarrow and datasets
    if names is None:
        names = getattr(values, "columns", None)  # of pandas and polars
    if names is None:
        return None
    return list(names)


def _only_column(values: Any, names: list[str], what: str) -> Any:
    if len(names) == 1:
        return values[names[0]]
    shown = ", ".join(repr(name) for name in names[:10])
    example = "df['text']"
    if what.endswith("labels"):
        example = "df['label']"
    raise TypeError(
        f"{what}: {_describe(values)} with the columns {shown}; give one column, such as {example}."
    )


def _plain(item: Any) -> Any:
    """Convert one item to a str, int, float or bool, and a missing one to None.

    Any other item is returned unchanged.
    """
    if type(item) is str or type(item) is int:  # most items; the rest of the checks is slow
        return item
    if isinstance(item, Enum):
        return _plain_enum(item)
    if item is None or type(item).__name__ in _MISSING_TYPES:
        return None
    if isinstance(item, str):
        return str(item)  # such as numpy.str_
    if isinstance(item, float):
        return None if math.isnan(item) else float(item)
    if isinstance(item, bool | int):
        return item
    return _unwrapped(item)


def _plain_enum(item: Enum) -> Any:
    """Convert a member of an `IntEnum`, or one whose value is a str; leave others as they are."""
    if isinstance(item, int) or isinstance(item.value, str):
        return _plain(item.value)
    return item


def _unwrapped(item: Any) -> Any:
    """Convert the single value that a list, an array, a tensor or an arrow scalar holds."""
    if isinstance(item, list | tuple) and len(item) == 1:
        return _plain(item[0])  # a row of a column of shape (n, 1)
    if hasattr(item, "as_py"):
        return _plain(item.as_py())  # pyarrow
    if hasattr(item, "item") and set(getattr(item, "shape", ())) <= {1}:
        return _plain(item.item())  # numpy and torch
    return item


def _describe(value: Any) -> str:
    """Return the type of a value with its article, such as "an int"."""
    kind = type(value).__name__
    article = "an" if kind[0].lower() in "aeiou" else "a"
    return f"{article} {kind}"


def _advice(item: Any, what: str) -> str:
    """Say what to do with an item that is not a text or a label; `what` says which was expected."""
    if isinstance(item, bytes):
        return "decode it, as in item.decode()"
    if isinstance(item, Enum):
        return "give its .name or its .value"
    if isinstance(item, Mapping):
        return f"give the {what} in it, as in item['{what}']"
    has_parts = isinstance(item, list | tuple | set) or getattr(item, "shape", None)
    if has_parts and what == "text":
        return "join its parts into one"
    if has_parts:
        return "give a list of labels, or one label, for each text"
    return "convert it with str()"
