"""Cells of any type as JSON or as text.

Values keep their types where JSON has them. Dates and times are written in ISO 8601, decimals as
text with all their digits, bytes as the UTF-8 text that they hold or else in base64, and numbers
that are not finite as null.
"""

import base64
import datetime
import json
import math
from collections.abc import Callable, Mapping
from typing import Any


def json_text(value: Any) -> str:
    """Return any value as JSON."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError:  # a number is NaN or infinite, which JSON cannot express
        finite = _convert_leaves(value, _finite_or_none)
        return json.dumps(finite, ensure_ascii=False, default=_plain)


def cell_text(value: Any) -> str:
    """Return any value as the text of a CSV cell."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float) and math.isnan(value):
        return ""
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    if isinstance(value, bool | int | float | list | tuple | dict):
        return json_text(value)
    return str(_plain(value))


def without_surrogates(value: Any) -> Any:
    """Return the value with lone surrogates, which UTF-8 cannot encode, escaped as in JSON."""
    return _convert_leaves(value, _escape_surrogates)


def _plain(value: Any) -> Any:
    """Return a text or a number for a value of a type that JSON does not have."""
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


def _convert_leaves(value: Any, convert: Callable[[Any], Any]) -> Any:
    """Convert all values and keys inside lists and mappings."""
    if isinstance(value, Mapping):
        return {convert(key): _convert_leaves(item, convert) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_convert_leaves(item, convert) for item in value]
    return convert(value)


def _finite_or_none(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _escape_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value
