"""Cells of any type as JSON or as text.

Values keep their types where JSON has them. Dates and times are written in ISO 8601, decimals as text with all their
digits, bytes as the text that they hold or else in base64, and what is not a finite number as null.
"""

import base64
import datetime
import json
import math
from collections.abc import Callable, Mapping
from typing import Any


def json_text(value: Any) -> str:
    """Any value as JSON."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError:  # not a number, or infinite, which JSON has not
        return json.dumps(_map_leaves(value, _finite_or_none), ensure_ascii=False, default=_plain)


def cell_text(value: Any) -> str:
    """Any value as the text of a csv cell."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return "" if math.isnan(value) else str(value)
    if isinstance(value, bool | int | float | list | tuple | dict):
        return json_text(value)
    return str(_plain(value))


def without_surrogates(value: Any) -> Any:
    """The value with halves of surrogate pairs, which UTF-8 has not, written out as JSON writes them."""
    return _map_leaves(value, _leaf_without_surrogates)


def _plain(value: Any) -> Any:
    """A text or a number for a value that JSON has not."""
    if isinstance(value, datetime.date | datetime.time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return base64.b64encode(value).decode("ascii")
    return str(value)


def _map_leaves(value: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to all values and keys in lists and mappings."""
    if isinstance(value, Mapping):
        return {function(key): _map_leaves(item, function) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_map_leaves(item, function) for item in value]
    return function(value)


def _finite_or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _leaf_without_surrogates(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode("utf-8") if isinstance(value, str) else value
