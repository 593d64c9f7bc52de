"""The arrow type of a column of JSON values, found value by value."""

from typing import Any

import pyarrow as pa

_INT64 = range(-(2**63), 2**63)


class NoSuchType(Exception):
    """The values do not fit one arrow type that parquet can hold."""


class ColumnTypes:
    """The types of the columns so far; `as_text` are those whose values do not fit one type."""

    def __init__(self) -> None:
        self.as_text: set[str] = set()
        self._types: dict[str, pa.DataType] = {}

    @property
    def names(self) -> list[str]:
        """All columns, in the order in which they first appeared."""
        return list(self._types)

    def add_column(self, name: str) -> None:
        """Note a column that may turn out to have no value."""
        self._types.setdefault(name, pa.null())

    def add_value(self, name: str, value: Any) -> None:
        """Widen the type of a column so that it holds this value too."""
        if name in self.as_text:
            return
        try:
            self._types[name] = common_type(self._types[name], type_of(value))
        except NoSuchType:
            self.as_text.add(name)

    def field(self, name: str) -> pa.Field:
        """The column as a field of a schema; one without a value is text too."""
        known = self._types[name]
        is_text = name in self.as_text or pa.types.is_null(known)
        return pa.field(name, pa.string() if is_text else known)


def type_of(value: Any) -> pa.DataType:
    """The arrow type of one JSON value."""
    if value is None:
        return pa.null()
    if isinstance(value, bool):  # before int, of which it is a subclass
        return pa.bool_()
    if isinstance(value, int) and value in _INT64:
        return pa.int64()
    if isinstance(value, float):
        return pa.float64()
    if isinstance(value, str):
        return pa.string()
    if isinstance(value, list):
        items = pa.null()
        for item in value:
            items = common_type(items, type_of(item))
        return pa.list_(items)
    if isinstance(value, dict) and value:  # parquet has no struct without fields
        return pa.struct([pa.field(name, type_of(item)) for name, item in value.items()])
    raise NoSuchType


def common_type(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """The narrowest type that holds the values of both."""
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    if {first, second} == {pa.int64(), pa.float64()}:
        return pa.float64()
    if pa.types.is_list(first) and pa.types.is_list(second):
        return pa.list_(common_type(first.value_type, second.value_type))
    if pa.types.is_struct(first) and pa.types.is_struct(second):
        fields = {field.name: field.type for field in first}
        for field in second:
            fields[field.name] = common_type(fields.get(field.name, pa.null()), field.type)
        return pa.struct(list(fields.items()))
    raise NoSuchType
