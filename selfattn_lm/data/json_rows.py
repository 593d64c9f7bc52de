"""Read the rows of JSON files (an array of objects) and JSON Lines files (an object per line)."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

from selfattn_lm.data.lines import is_valid, open_lines, replace_surrogates
from selfattn_lm.data.rows import Row, checked_row
from selfattn_lm.errors import UserError

_CHUNK = 1 << 20  # characters
_SEPARATORS = re.compile(r"[\s,\[\]]*")  # whatever is between the objects of an array
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")  # also matches those of a whole pair


def read_jsonl(file: IO[bytes], where: str) -> Iterator[Row]:
    """Stream the objects of a JSON Lines file; a line that is not an object is a bad row."""
    number = 0
    with open_lines(file, where) as lines:
        for line, text in enumerate(lines, 1):
            if not text.strip():
                continue
            number += 1
            try:
                values = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield Row(number, None, f"broken line: {error}", line)
                continue
            if not isinstance(values, dict):
                shown = replace_surrogates(text.strip()[:40])
                yield Row(number, None, f"broken line: {shown} is not an object", line)
                continue
            if number == 1:
                _refuse_table_in_one_object(values, where)
            yield _to_row(number, values, text, line)


def read_json(file: IO[bytes], where: str) -> Iterator[Row]:
    """Stream the objects of a JSON file, which are in an array or follow one another.

    Raises:
        UserError: The JSON is invalid, or a value is not an object.
    """
    decode = json.JSONDecoder().raw_decode
    number = 0
    buffer = ""
    with open_lines(file, where) as text:
        while True:
            # At least double the buffer, so that a huge object is not decoded again too often.
            chunk = text.read(max(_CHUNK, len(buffer)))
            buffer += chunk
            position = _skip_separators(buffer, 0)
            while position < len(buffer):
                try:
                    values, end = decode(buffer, position)
                except (ValueError, RecursionError) as error:
                    if chunk:
                        break  # the object may continue in the next chunk
                    reason = getattr(error, "msg", error)
                    message = f"{where}: broken JSON after row {number}: {reason}."
                    raise UserError(message) from None
                number += 1
                _refuse_other_values(values, number, where)
                yield _to_row(number, values, buffer[position:end], line=0)
                position = _skip_separators(buffer, end)
            buffer = buffer[position:]
            if not chunk:
                return


def _skip_separators(text: str, start: int) -> int:
    """Return the position of the next value at or after `start`."""
    found = _SEPARATORS.match(text, start)
    assert found is not None, "the pattern matches the empty text"
    return found.end()


def _to_row(number: int, values: dict[str, Any], source: str, line: int) -> Row:
    """Return the row, and search it for surrogates only if its JSON `source` can hold any."""
    is_utf8 = is_valid(source)
    if is_utf8 and not _SURROGATE_ESCAPE.search(source):
        return Row(number, values, "", line)
    return checked_row(number, values, line, decoded=not is_utf8)


def _refuse_other_values(values: Any, number: int, where: str) -> None:
    """Refuse a value that is not an object, and a first object that holds a whole table."""
    if not isinstance(values, dict):
        shown = replace_surrogates(str(values)[:40])
        message = f"{where}: row {number} is {shown}, not an object with named columns."
        raise UserError(message)
    if number == 1:
        _refuse_table_in_one_object(values, where)


def _refuse_table_in_one_object(first: Mapping[str, Any], where: str) -> None:
    """Refuse a table in one object, as pandas writes it unless `orient` is 'records'."""
    advice = "write an object for each row: df.to_json(path, orient='records')"
    if _is_table_by_row_number(first):
        reason = "holds a table as one object with the rows by number, not row by row"
        raise UserError(f"{where}: {reason}; {advice}.")
    if _is_table_by_column(first):
        names = ", ".join(repr(replace_surrogates(name)) for name in list(first)[:8])
        reason = f"holds a table column by column ({names}), not row by row"
        raise UserError(f"{where}: {reason}; {advice}.")


def _is_table_by_row_number(table: Mapping[str, Any]) -> bool:
    """Return whether the object is {"0": {"text": …}, "1": {"text": …}}."""
    if len(table) < 2 or not _are_objects_with_equal_keys(list(table.values())):
        return False
    return all(name.isdecimal() for name in table)


def _is_table_by_column(table: Mapping[str, Any]) -> bool:
    """Return whether the object holds columns, as objects by row number or as lists."""
    columns = list(table.values())
    if isinstance(table.get("data"), list) and ("columns" in table or "schema" in table):
        return True
    if _are_objects_with_equal_keys(columns):
        return any(name.isdecimal() for name in columns[0])
    return _are_lists_of_equal_length(columns)


def _are_objects_with_equal_keys(values: list[Any]) -> bool:
    for value in values:
        if not isinstance(value, Mapping) or not value:
            return False
        if value.keys() != values[0].keys():
            return False
    return len(values) > 0


def _are_lists_of_equal_length(values: list[Any]) -> bool:
    for value in values:
        if not isinstance(value, list) or len(value) < 2:
            return False
        if len(value) != len(values[0]):
            return False
    return len(values) > 1
