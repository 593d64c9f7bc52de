"""The arrow types of columns of JSON values, inferred value by value."""

from typing import Any

import pyarrow as pa

_INT64 = range(-(2**63), 2**63)


class NoCommonType(Exception):
    """No single arrow type that parquet can store holds the values."""


class ColumnTypes:
    """The types of the columns so far.

    Attributes:
        as_text: The columns whose values fit no single type; they are written as texts.
    """

    def __init__(self) -> None:
        self.as_text: set[str] = set()
        self._types: dict[str, pa.DataType] = {}

    @property
    def names(self) -> list[str]:
        """All columns in the order of their first appearance."""
        return list(self._types)

    def add_column(self, name: str) -> None:
        """Add a column, which may turn out to have no value."""
        self._types.setdefault(name, pa.null())

    def add_value(self, name: str, value: Any) -> None:
        """Widen the type of a column to hold this value too."""
        if name in self.as_text:
            return
        try:
            self._types[name] = common_type(self._types[name], type_of(value))
        except NoCommonType:
            self.as_text.add(name)

    def fields(self) -> list[pa.Field]:
        """Return the columns as fields of a schema; a column without a value holds texts."""
        fields: list[pa.Field] = []
        for name, kind in self._types.items():
            if name in self.as_text or pa.types.is_null(kind):
                kind = pa.string()
            fields.append(pa.field(name, kind))
        return fields


def type_of(value: Any) -> pa.DataType:
    """Return the arrow type of one JSON value."""
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
        return pa.list_(_item_type(value))
    if isinstance(value, dict) and value:  # parquet has no struct without fields
        return pa.struct([pa.field(name, type_of(item)) for name, item in value.items()])
    raise NoCommonType


def _item_type(items: list[Any]) -> pa.DataType:
    """Return the narrowest type that holds all items of a list."""
    common = pa.null()
    for item in items:
        common = common_type(common, type_of(item))
    return common


def common_type(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """Return the narrowest type that holds the values of both."""
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    if {first, second} == {pa.int64(), pa.float64()}:
        return pa.float64()
    if pa.types.is_list(first) and pa.types.is_list(second):
        return pa.list_(common_type(first.value_type, second.value_type))
    if pa.types.is_struct(first) and pa.types.is_struct(second):
        return _common_struct(first, second)
    raise NoCommonType


def _common_struct(first: pa.StructType, second: pa.StructType) -> pa.StructType:
    """Return a struct with the fields of both, each with the type that holds both values."""
    types = {field.name: field.type for field in first}
    for field in second:
        known = types.get(field.name, pa.null())
        types[field.name] = common_type(known, field.type)
    return pa.struct(list(types.items()))
