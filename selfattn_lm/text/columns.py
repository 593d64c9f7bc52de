"""Which columns hold the text and the label, and what a row's cells must be."""

from collections.abc import Mapping, Sequence
from typing import Any

from selfattn_lm.errors import UserError

TEXT_NAMES = (
    "text", "texts", "sentence", "content", "review", "question", "query", "utterance", "message", "comment", "tweet",
    "post", "document", "body", "headline", "title", "description", "sms", "input",
)  # fmt: skip
LABEL_NAMES = (
    "label", "labels", "class", "category", "target", "topic", "intent", "sentiment", "emotion", "tag", "genre",
    "coarse_label", "stars", "rating", "label_text", "label_name", "y", "output",
)  # fmt: skip


def find_text(columns: Sequence[str], asked: str, where: str, *, fallback: str = "auto") -> tuple[str, ...]:
    """The names of the text columns.

    Args:
        columns: The columns there are.
        asked: What `data.text_column` says: `auto`, a name, or several with commas.
        where: Begins the message of an error.
        fallback: Tried first where `auto` is asked and it is there: the columns that a run was trained on.
    """
    if asked == "auto":
        known = tuple(fallback.split(","))
        if fallback != "auto" and set(known) <= set(columns):
            return known
        found = _first(columns, TEXT_NAMES)
        if found is None and len(columns) == 1:
            found = columns[0]
        if found is None:
            raise UserError(f"{where}: no text column; found {_quoted(columns)}. Name one with --data.text-column.")
        return (found,)
    names = (asked,) if asked in columns else tuple(name.strip() for name in asked.split(","))
    for name in names:
        _require(name, columns, where, "--data.text-column")
    return names


def find_label(columns: Sequence[str], asked: str, where: str) -> str:
    """The name of the label column; `asked` is what `data.label_column` says."""
    if asked == "auto":
        found = _first(columns, LABEL_NAMES)
        if found is None:
            raise UserError(f"{where}: no label column; found {_quoted(columns)}. Name one with --data.label-column.")
        return found
    _require(asked, columns, where, "--data.label-column")
    return asked


def text_of(values: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The row's text, its columns joined by newlines; None where a cell is not a text. A null cell is an empty text."""
    cells = ["" if (cell := values.get(name)) is None else cell for name in names]
    return "\n".join(cells).strip() if all(isinstance(cell, str) for cell in cells) else None


def label_of(values: Mapping[str, Any], name: str, where: str) -> str:
    """The row's label as a name.

    Raises:
        UserError: For a missing label, several labels, or a number with a fraction.
    """
    cell = values.get(name)
    if cell is None or cell == "" or cell != cell:
        raise UserError(f"{where}: no label in column {name!r}; fill it in or remove the row.")
    if isinstance(cell, list | tuple | dict):
        raise UserError(f"{where}: column {name!r} holds several labels; only one label a text is supported yet.")
    if isinstance(cell, float) and cell != int(cell):
        raise UserError(f"{where}: label {cell} in column {name!r} is a scalar; only classes are supported yet.")
    return str(int(cell)) if isinstance(cell, float) else str(cell)


def refuse_scalars(labels: Sequence[str], name: str, where: str) -> None:
    """Labels that are all numbers, some with a fraction, are a scale and not classes."""
    try:
        fractions = [label for label in dict.fromkeys(labels) if float(label) != int(float(label))]
    except (ValueError, OverflowError):
        return
    if fractions:
        raise UserError(
            f"{where}: column {name!r} holds numbers such as {fractions[0]}, a scalar; only classes are supported yet"
            " (to use the numbers as classes, write them as words)."
        )


def _first(columns: Sequence[str], names: Sequence[str]) -> str | None:
    lower = {column.strip().lower(): column for column in reversed(columns)}
    return next((lower[name] for name in names if name in lower), None)


def _require(name: str, columns: Sequence[str], where: str, flag: str) -> None:
    if name not in columns:
        raise UserError(f"{where}: no column {name!r}; found {_quoted(columns)}. Use {flag}.")


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
