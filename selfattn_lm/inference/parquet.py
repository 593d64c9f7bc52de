"""Rows to parquet, with one group of rows in memory at a time."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from selfattn_lm.inference.cells import cell_text, without_surrogates

_ROW_GROUP = 4096  # rows that are compressed together
_ARROW_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    float: pa.float64(),
    list[str]: pa.list_(pa.string()),
    list[float]: pa.list_(pa.float64()),
}


class DoesNotFit(Exception):
    """The type of a column cannot hold one of its values."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


def input_fields(columns: Sequence[str], schema: pa.Schema | None) -> list[pa.Field]:
    """Return the fields of the input's columns, which are texts if the input has no schema."""
    if schema is None:
        schema = pa.schema(dict.fromkeys(columns, pa.string()))
    return [schema.field(name) for name in columns]


def added_fields(types: Mapping[str, Any]) -> list[pa.Field]:
    """Return the fields of the added columns, whose values are texts, floats, or lists of them."""
    return [pa.field(name, _ARROW_TYPES[kind]) for name, kind in types.items()]


@contextmanager
def parquet_writer(
    path: Path, fields: Sequence[pa.Field], metadata: Mapping[bytes, bytes] | None = None
) -> Iterator["_ParquetWriter"]:
    """Give a writer of these fields and the metadata of a schema, such as names of classes.

    Raises:
        DoesNotFit: The type of a column cannot hold one of its values.
    """
    schema = pa.schema(fields, metadata=metadata)
    with pq.ParquetWriter(path, schema) as file:
        writer = _ParquetWriter(file, schema)
        yield writer
        writer.write_group()


class _ParquetWriter:
    """Writes rows to parquet, group by group; the values of a text column become texts."""

    def __init__(self, file: pq.ParquetWriter, schema: pa.Schema) -> None:
        self.file = file
        self.schema = schema
        self.group: list[Mapping[str, Any]] = []

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows, and write every full group."""
        for row in rows:
            self.group.append(row)
            if len(self.group) == _ROW_GROUP:
                self.write_group()

    def write_group(self) -> None:
        """Write the rows of an unfinished group."""
        if not self.group:
            return
        arrays: list[pa.Array] = []
        for field in self.schema:
            values = [row.get(field.name) for row in self.group]
            arrays.append(_arrow_array(values, field))
        self.file.write_table(pa.Table.from_arrays(arrays, schema=self.schema))
        self.group = []


def _arrow_array(values: list[Any], field: pa.Field) -> pa.Array:
    """Return the values of a column as an array of its type."""
    if field.type == pa.string():
        values = [_text_or_none(value) for value in values]
    try:
        return pa.array(values, field.type)
    except UnicodeEncodeError:
        return pa.array(without_surrogates(values), field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        raise DoesNotFit(field.name) from None


def _text_or_none(value: Any) -> str | None:
    if value is None:
        return None
    return cell_text(value)
