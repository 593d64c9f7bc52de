"""Chooses the columns of the two texts of a pair, and reads the second text of a row."""

from collections.abc import Mapping, Sequence
from typing import Any

from selfattn_lm.config import DataConfig
from selfattn_lm.data.columns import AUTO, USUAL_PAIRS, find_text, not_a_text, quoted_list, text_of
from selfattn_lm.errors import UserError

NO_PAIRS = "none"  # the value of `data.pair_column` for single texts
IN_MEMORY = "pair"  # the pair column of texts that are given in Python


def find_texts(
    columns: Sequence[str], asked: DataConfig, known: DataConfig, where: str
) -> tuple[tuple[str, ...], str]:
    """Choose the text columns of a file, and the pair column if there is one.

    Columns from the settings come first, then those that the run was trained on, then the two
    columns with usual names of a pair, then the text column as `find_text` chooses it.

    Args:
        columns: All columns of the file.
        asked: The columns in the settings.
        known: The columns of the training split or of the run.
        where: The file, for messages.

    Returns:
        The names of the text columns; and the pair column, `none` for single texts.

    Raises:
        UserError: If a column is missing, or if none or several columns could be meant.
    """
    usual = _usual_pair(columns)
    if usual is not None and asked.text_column == AUTO and _is_open(columns, known):
        first, second = usual
        if asked.pair_column in ("auto", second):
            return (first,), second
    name = asked.pair_column
    if name == "auto":
        name = known.pair_column
    if name in ("auto", NO_PAIRS):
        return find_text(columns, asked.text_column, where, known.text_column), NO_PAIRS
    if name not in columns:
        reason = f"no column {name!r} with the second text of a pair"
        found = quoted_list(columns)
        raise UserError(f"{where}: {reason}; found {found}. Use --data.pair-column.")
    if name in asked.text_column:
        reason = f"column {name!r} would be both texts of a pair"
        advice = "name two different columns with --data.text-column and --data.pair-column"
        raise UserError(f"{where}: {reason}; {advice}.")
    others = [column for column in columns if column != name]
    return find_text(others, asked.text_column, where, known.text_column), name


def pair_of(values: Mapping[str, Any], name: str, place: str) -> str:
    """Read the second text of a row.

    Args:
        values: The cells of the row by column.
        name: The pair column.
        place: The row, for messages.

    Raises:
        UserError: If the cell is empty or not a text.
    """
    text = text_of(values, (name,))
    if text is None:
        raise UserError(f"{place}: {not_a_text(values, (name,))}.")
    if not text:
        reason = f"no text in column {name!r}, the second of a pair"
        raise UserError(f"{place}: {reason}; fill it in or remove the row.")
    return text


def _usual_pair(columns: Sequence[str]) -> tuple[str, str] | None:
    """The two columns that have the usual names of a pair; None if there are none."""
    by_name = {column.strip().lower(): column for column in columns}
    for first, second in USUAL_PAIRS:
        if first in by_name and second in by_name:
            return by_name[first], by_name[second]
    return None


def _is_open(columns: Sequence[str], known: DataConfig) -> bool:
    """Whether neither the training split nor the run says which columns of the file to read."""
    if known.pair_column == NO_PAIRS:
        return False
    if known.pair_column == "auto":
        return known.text_column == AUTO
    return known.pair_column not in columns
