"""Which columns hold the text and the label, and what a row's cells must be."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from selfattn_lm.data.characters import visible_text
from selfattn_lm.errors import UserError

log = logging.getLogger(__name__)
AUTO = ("auto",)  # no text column is asked for
_SHOWN = 20  # so many columns are named in a message; the rest is counted

_TEXT_NAMES = """text texts sentence content review question query utterance message comment tweet post document body
    headline title description sms input"""
_LABEL_NAMES = """label labels class category target topic intent sentiment emotion tag genre coarse_label stars
    rating label_text label_name y output"""


def is_known_name(name: str) -> bool:
    """Whether a column of this name is one that holds the text or the label."""
    return name.strip().lower() in {*_TEXT_NAMES.split(), *_LABEL_NAMES.split()}


def find_text(
    columns: Sequence[str], asked: Sequence[str], where: str, remembered: Sequence[str] = AUTO
) -> tuple[str, ...]:
    """The text columns: those `asked` for; else those of the run, which are `remembered`; else by their names."""
    if tuple(asked) != AUTO:
        names = [name for one in asked for name in _split_at_commas(columns, one)]
        for name in names:
            _require(columns, name, "text", where)
        return tuple(dict.fromkeys(names))
    if tuple(remembered) != AUTO:
        names = [name for one in remembered for name in _remembered_names(columns, one)]
        missing = [name for name in names if name not in columns]
        if not missing:
            return tuple(names)
        if len(missing) < len(names):
            trained = f"and the run was trained on {_listed(names)} together"
            reason = f"no column {missing[0]!r}, {trained}; found {_listed(columns)}"
            raise UserError(f"{where}: {reason}. Name the columns with --data.text-column.")
        return (_only(columns, names, _TEXT_NAMES, "text", where),)
    if len(columns) == 1:
        return (columns[0],)
    return (_known(columns, _TEXT_NAMES, "text", where),)


def find_label(columns: Sequence[str], asked: str, where: str, remembered: str = "auto") -> str:
    """The label column: the one `asked` for; else the run's, which is `remembered`; else by its name."""
    if asked != "auto":
        return _require(columns, asked, "label", where)
    if remembered == "auto":
        return _known(columns, _LABEL_NAMES, "label", where)
    if remembered in columns:
        return remembered
    return _only(columns, [remembered], _LABEL_NAMES, "label", where)


def _split_at_commas(columns: Sequence[str], asked: str) -> list[str]:
    """One name, or several with commas; a column whose own name holds commas is one."""
    return [asked] if asked in columns else [name.strip() for name in asked.split(",")]


def _remembered_names(columns: Sequence[str], remembered: str) -> list[str]:
    """The column that a run remembers; an older run had several in one text, with commas between them."""
    parts = _split_at_commas(columns, remembered)
    return parts if all(part in columns for part in parts) else [remembered]


def _listed(names: Sequence[str]) -> str:
    """The names for a message, of many the first; a file that is misread may seem to have thousands."""
    shown = ", ".join(map(repr, names[:_SHOWN]))
    rest = len(names) - _SHOWN
    return f"{shown} and {rest:,} more" if rest > 0 else shown


def _require(columns: Sequence[str], name: str, what: str, where: str) -> str:
    if name not in columns:
        raise UserError(f"{where}: no column {name!r}; found {_listed(columns)}. Use --data.{what}-column.")
    return name


def _known(columns: Sequence[str], known: str, what: str, where: str) -> str:
    """The column whose name is the first of those `known`."""
    lower = {column.strip().lower(): column for column in reversed(columns)}
    for name in known.split():
        if name in lower:
            return lower[name]
    reason = f"no {what} column; found {_listed(columns)}"
    raise UserError(f"{where}: {reason}. Name one with --data.{what}-column.")


def _only(columns: Sequence[str], missing: Sequence[str], known: str, what: str, where: str) -> str:
    """The one column that can stand for those of the run that are `missing`, which is said; refuses to choose."""
    candidates = [column for column in columns if column.strip().lower() in known.split()]
    if not candidates and len(columns) == 1:
        candidates = list(columns)
    reason = f"no column {' or '.join(map(repr, missing))}, on which the run was trained"
    if len(candidates) != 1:
        raise UserError(f"{where}: {reason}; found {_listed(columns)}. Name one with --data.{what}-column.")
    log.warning("%s: %s; column %r is taken for the %s", where, reason, candidates[0], what)
    return candidates[0]


def refuse_one_for_both(texts: Sequence[str], label: str, where: str) -> None:
    """Refuse a label column that is a text column too: the label would stand in the text."""
    if label in texts:
        reason = f"column {label!r} would be both the text and the label"
        raise UserError(f"{where}: {reason}; name two columns with --data.text-column and --data.label-column.")


def text_of(values: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The row's text, its columns joined by newlines; None where a cell is not a text. A null cell is an empty text."""
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
    """What the first cell that is not a text holds, and what to do about it."""
    for name in names:
        cell = values.get(name)
        if isinstance(cell, bytes | bytearray | memoryview):
            return f"column {name!r} holds bytes, not a text; decode them to a column of strings"
        if isinstance(cell, list | tuple):
            return f"column {name!r} holds a list, not a text; join it to one string"
        if isinstance(cell, Mapping):
            return f"column {name!r} holds an object, not a text; name one of its fields as a column"
        if cell is not None and not isinstance(cell, str):
            return f"column {name!r} holds {str(cell)[:40]}, not a text; write it as a string"
    return ""


def label_of(values: Mapping[str, Any], name: str, where: str) -> str:
    """The row's label as a name, without white space around it.

    Refuses a missing label, several labels, or a number with a fraction.
    """
    cell = values.get(name)
    if isinstance(cell, str):
        cell = visible_text(cell)
    if cell is None or cell == "" or cell != cell:
        raise UserError(f"{where}: no label in column {name!r}; fill it in or remove the row.")
    if isinstance(cell, list | tuple | dict):
        raise UserError(f"{where}: column {name!r} holds several labels; only one label a text is supported yet.")
    if isinstance(cell, float) and not cell.is_integer():
        raise UserError(f"{where}: label {cell} in column {name!r} is a scalar; only classes are supported yet.")
    return str(int(cell)) if isinstance(cell, float) else str(cell)


def refuse_scalars(labels: Sequence[str], name: str, where: str) -> None:
    """Labels that are all numbers, some with a fraction, are a scale and not classes."""
    try:
        fractions = [label for label in dict.fromkeys(labels) if float(label) != int(float(label))]
    except (ValueError, OverflowError):
        return
    if fractions:
        what = f"column {name!r} holds numbers such as {fractions[0]}, a scalar; only classes are supported yet"
        raise UserError(f"{where}: {what} (to use the numbers as classes, write them as words).")
