"""Which columns hold the text and the label, and what a row's cells must be."""

from collections.abc import Mapping, Sequence
from typing import Any

from selfattn_lm.errors import UserError
from selfattn_lm.text.characters import visible_text

_TEXT_NAMES = """text texts sentence content review question query utterance message comment tweet post document body
    headline title description sms input"""
_LABEL_NAMES = """label labels class category target topic intent sentiment emotion tag genre coarse_label stars
    rating label_text label_name y output"""


def find_text(columns: Sequence[str], asked: str, where: str, fallback: str = "auto") -> tuple[str, ...]:
    """The text columns: those `asked` for (one, or several with commas); for `auto`, `fallback` or by their names."""
    if asked == "auto" and fallback != "auto" and set(fallback.split(",")) <= set(columns):
        return tuple(fallback.split(","))
    if asked == "auto" and len(columns) == 1:
        return (columns[0],)
    names = [asked] if asked in columns else [name.strip() for name in asked.split(",")]
    return tuple(_find(columns, name, _TEXT_NAMES, "text", where) for name in names)


def find_label(columns: Sequence[str], asked: str, where: str) -> str:
    """The label column: the one asked for, or for `auto` by its name."""
    return _find(columns, asked, _LABEL_NAMES, "label", where)


def _find(columns: Sequence[str], asked: str, known: str, what: str, where: str) -> str:
    there = ", ".join(map(repr, columns))
    if asked != "auto":
        if asked not in columns:
            raise UserError(f"{where}: no column {asked!r}; found {there}. Use --data.{what}-column.")
        return asked
    lower = {column.strip().lower(): column for column in reversed(columns)}
    if not (found := [lower[name] for name in known.split() if name in lower]):
        raise UserError(f"{where}: no {what} column; found {there}. Name one with --data.{what}-column.")
    return found[0]


def text_of(values: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The row's text, its columns joined by newlines; None where a cell is not a text. A null cell is an empty text."""
    cells = ["" if (cell := values.get(name)) is None else cell for name in names]
    return visible_text("\n".join(cells)) if all(isinstance(cell, str) for cell in cells) else None


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
