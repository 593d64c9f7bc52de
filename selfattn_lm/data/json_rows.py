"""Rows of JSON: a file of objects, or an object in each line."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

from selfattn_lm.data.lines import damaged_columns, is_valid, open_lines, repair
from selfattn_lm.data.rows import Row
from selfattn_lm.errors import UserError

_PIECE = 1 << 20
_SEPARATORS = re.compile(r"[\s,\[\]]*")  # what stands between the objects of a JSON array
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # the escape of half a character, or of one half of a whole one


def read_jsonl(file: IO[bytes], where: str) -> Iterator[Row]:
    """An object in each line that is not blank; a line that is none is a bad row."""
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
                yield Row(number, None, f"broken line: {repair(text.strip()[:40])} is not an object", line)
                continue
            if number == 1:
                _refuse_columns(values, where)
            yield _row(number, values, text, line)


def read_json(file: IO[bytes], where: str) -> Iterator[Row]:
    """An array of objects, or objects one after the other, read piece by piece."""
    decode = json.JSONDecoder().raw_decode
    number = 0
    buffer = ""
    with open_lines(file, where) as text:
        while True:
            # An object larger than a piece is tried again only when twice as much is there.
            piece = text.read(max(_PIECE, len(buffer)))
            buffer += piece
            position = _skip_separators(buffer, 0)
            while position < len(buffer):
                try:
                    values, end = decode(buffer, position)
                except (ValueError, RecursionError) as error:
                    if piece:
                        break  # the object may continue in the next piece
                    reason = getattr(error, "msg", error)
                    raise UserError(f"{where}: broken JSON after row {number}: {reason}.") from None
                number += 1
                if not isinstance(values, dict):
                    shown = repair(str(values)[:40])
                    raise UserError(f"{where}: row {number} is {shown}, not an object with named columns.")
                if number == 1:
                    _refuse_columns(values, where)
                yield _row(number, values, buffer[position:end], 0)
                position = _skip_separators(buffer, end)
            buffer = buffer[position:]
            if not piece:
                return


def _skip_separators(text: str, start: int) -> int:
    found = _SEPARATORS.match(text, start)
    assert found is not None, "the pattern matches the empty text"
    return found.end()


def _row(number: int, values: dict[str, Any], source: str, line: int) -> Row:
    """The row, which is looked at closely only where its `source` can hold half a character."""
    valid = is_valid(source)
    if valid and not _HALF.search(source):
        return Row(number, values, "", line)
    damaged = damaged_columns(values, decoded=not valid)
    return Row(number, repair(values) if damaged else values, "", line, damaged)


def _refuse_columns(first: Mapping[str, Any], where: str) -> None:
    """Refuse a table that is written column by column, as pandas' `to_json` does by default."""
    values = list(first.values())
    keys = first.keys()
    of_objects = len(values) > 0 and all(isinstance(value, Mapping) and value for value in values)
    same_rows = of_objects and all(value.keys() == values[0].keys() for value in values)
    of_lists = len(values) > 1 and all(isinstance(value, list) and len(value) > 1 for value in values)
    same_length = of_lists and len({len(value) for value in values}) == 1
    is_indexed = same_rows and len(values) > 1 and all(key.isdecimal() for key in keys)
    has_table = isinstance(first.get("data"), list) and ("columns" in keys or "schema" in keys)
    advice = "write an object for each row: df.to_json(path, orient='records')"
    if is_indexed:
        raise UserError(f"{where}: holds a table as one object with the rows by number, not row by row; {advice}.")
    if (same_rows and any(key.isdecimal() for key in values[0])) or same_length or has_table:
        names = ", ".join(repr(repair(name)) for name in list(keys)[:8])
        raise UserError(f"{where}: holds a table column by column ({names}), not row by row; {advice}.")
