"""Chooses the columns of the text and of the label, and reads the text of a row."""

import logging
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from selfattn_lm.data.characters import visible_text
from selfattn_lm.errors import UserError
from selfattn_lm.phrases import listed

log = logging.getLogger(__name__)
AUTO = ("auto",)  # the default of `data.text_column`: choose the column by its name
_MAX_NAMES = 20  # how many columns a message lists

# The usual names of each kind of column, the likeliest first.
_TEXT_NAMES = [
    "text", "texts", "sentence", "content", "review", "question", "query", "utterance",
    "message", "comment", "tweet", "post", "document", "body", "headline", "title",
    "description", "sms", "input", "sequence",
]  # fmt: skip
_LABEL_NAMES = [
    "label", "labels", "class", "category", "target", "topic", "intent", "sentiment", "emotion",
    "tag", "genre", "coarse_label", "stars", "rating", "label_text", "label_name", "y",
    "output", "score",
]  # fmt: skip
# The usual names of the columns of the first and of the second text of a pair.
USUAL_PAIRS = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("text_a", "text_b"),
    ("question", "answer"),
)
_PAIR_NAMES = list(chain.from_iterable(USUAL_PAIRS))


def is_known_name(name: str) -> bool:
    """Return whether this is a usual name for a column of texts, pairs or labels."""
    name = _normalized(name)
    return name in _TEXT_NAMES or name in _LABEL_NAMES or name in _PAIR_NAMES


def find_text(
    columns: Sequence[str], asked: Sequence[str], where: str, remembered: Sequence[str] = AUTO
) -> tuple[str, ...]:
    """Choose the text columns of a file.

    Columns from the settings come first, then those that the run was trained on, then the only
    column of the file, then the column with the likeliest name.

    Args:
        columns: All columns of the file.
        asked: The text columns in the settings; an entry may join several names with commas.
        where: The file, for messages.
        remembered: The text columns that the run was trained on.

    Returns:
        The names of the text columns, in the order in which their texts are joined.

    Raises:
        UserError: If a column is missing, or if none or several columns could be meant.
    """
    if tuple(asked) != AUTO:
        return _asked_text_columns(columns, asked, where)
    if tuple(remembered) != AUTO:
        return _remembered_text_columns(columns, remembered, where)
    if len(columns) == 1:
        return (columns[0],)
    return (_likeliest(columns, _TEXT_NAMES, "text", where),)


def find_labels(
    columns: Sequence[str], asked: Sequence[str], where: str, remembered: Sequence[str] = AUTO
) -> tuple[str, ...]:
    """Choose the label column of a file; or several, which hold 0 and 1 for a label each.

    Columns from the settings come first, then those that the run was trained on, then the column
    with the likeliest name. The arguments and errors are those of `find_text`, but a name may hold
    commas.
    """
    if tuple(asked) != AUTO:
        for name in asked:
            _require(columns, name, "label", where)
        return tuple(dict.fromkeys(asked))
    if tuple(remembered) == AUTO:
        return (_likeliest(columns, _LABEL_NAMES, "label", where),)
    missing = [name for name in remembered if name not in columns]
    if not missing:
        return tuple(remembered)
    if len(remembered) == 1:
        return (_substitute(columns, remembered, _LABEL_NAMES, "label", where),)
    raise UserError(
        f"{where}: no column {missing[0]!r}, and the run was trained on"
        f" {quoted_list(remembered)}; found {quoted_list(columns)}. Name the columns with"
        " --data.label-column."
    )


def _asked_text_columns(
    columns: Sequence[str], asked: Sequence[str], where: str
) -> tuple[str, ...]:
    names: list[str] = []
    for entry in asked:
        for name in _split_at_commas(columns, entry):
            _require(columns, name, "text", where)
            if name not in names:
                names.append(name)
    return tuple(names)


def _remembered_text_columns(
    columns: Sequence[str], remembered: Sequence[str], where: str
) -> tuple[str, ...]:
    names: list[str] = []
    for entry in remembered:
        names.extend(_split_remembered(columns, entry))
    missing = [name for name in names if name not in columns]
    if not missing:
        return tuple(names)
    if len(missing) == len(names):
        return (_substitute(columns, names, _TEXT_NAMES, "text", where),)
    raise UserError(
        f"{where}: no column {missing[0]!r}, and the run was trained on {quoted_list(names)}"
        f" together; found {quoted_list(columns)}. Name the columns with --data.text-column."
    )


def _split_at_commas(columns: Sequence[str], entry: str) -> list[str]:
    """Split an entry into column names, unless a column has the whole entry as its name."""
    if entry in columns:
        return [entry]
    return [name.strip() for name in entry.split(",")]


def _split_remembered(columns: Sequence[str], entry: str) -> list[str]:
    """Split an entry of a run's text columns; runs of older versions joined several with commas."""
    names = _split_at_commas(columns, entry)
    if set(names) <= set(columns):
        return names
    return [entry]


def _require(columns: Sequence[str], name: str, role: str, where: str) -> None:
    if name not in columns:
        raise UserError(
            f"{where}: no column {name!r}; found {quoted_list(columns)}. Use --data.{role}-column."
        )


def _likeliest(columns: Sequence[str], usual_names: Sequence[str], role: str, where: str) -> str:
    """Return the column with the likeliest of the usual names."""
    for usual_name in usual_names:
        for column in columns:
            if _normalized(column) == usual_name:
                return column
    raise UserError(
        f"{where}: no {role} column; found {quoted_list(columns)}. Name one with"
        f" --data.{role}-column."
    )


def _substitute(
    columns: Sequence[str],
    missing: Sequence[str],
    usual_names: Sequence[str],
    role: str,
    where: str,
) -> str:
    """Return the one column that can replace the run's missing columns, and log the choice.

    Raises:
        UserError: If no column, or more than one, has a usual name.
    """
    candidates = [column for column in columns if _normalized(column) in usual_names]
    if not candidates and len(columns) == 1:
        candidates = list(columns)
    problem = f"no column {' or '.join(_quoted(missing))}, which the run was trained on"
    if len(candidates) != 1:
        raise UserError(
            f"{where}: {problem}; found {quoted_list(columns)}. Name one with --data.{role}-column."
        )
    log.warning("%s: %s; using column %r as the %s", where, problem, candidates[0], role)
    return candidates[0]


def _normalized(name: str) -> str:
    return name.strip().lower()


def _quoted(names: Sequence[str]) -> list[str]:
    return [repr(name) for name in names]


def quoted_list(names: Sequence[str]) -> str:
    """Join names for a message; a file that is read wrongly may seem to have thousands."""
    return listed(_quoted(names), _MAX_NAMES)


def refuse_one_for_both(texts: Sequence[str], labels: Sequence[str], where: str) -> None:
    """Raise a `UserError` if a label column is also a text column."""
    for label in labels:
        if label in texts:
            raise UserError(
                f"{where}: column {label!r} would be both the text and the label; name two"
                " different columns with --data.text-column and --data.label-column."
            )


def text_of(values: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Return the text of a row: its text columns, joined by newlines.

    Args:
        values: The cells of the row by column; a null cell is an empty text.
        names: The text columns.

    Returns:
        The text without surrounding white space, "" if it is blank, and None if a cell is not a
        text, which `not_a_text` explains.
    """
    parts: list[str] = []
    for name in names:
        cell = values.get(name)
        if cell is None:
            cell = ""
        if not isinstance(cell, str):
            return None
        parts.append(cell)
    return visible_text("\n".join(parts))


def not_a_text(values: Mapping[str, Any], names: Sequence[str]) -> str:
    """Describe the first cell that is not a text and what to do about it; "" if all are texts."""
    for name in names:
        cell = values.get(name)
        if isinstance(cell, bytes | bytearray | memoryview):
            return f"column {name!r} holds bytes, not a text; decode them to a column of strings"
        if hasattr(cell, "shape"):
            return f"column {name!r} holds vectors, not a text; name a column of texts"
        if isinstance(cell, list | tuple) and not cell:
            return f"column {name!r} holds an empty list, neither a text nor vectors; fill it in"
        if isinstance(cell, list | tuple):
            return f"column {name!r} holds a list, not a text; join it to one string"
        if isinstance(cell, Mapping):
            return (
                f"column {name!r} holds an object, not a text; name one of its fields as a column"
            )
        if cell is not None and not isinstance(cell, str):
            return f"column {name!r} holds {str(cell)[:40]}, not a text; write it as a string"
    return ""
