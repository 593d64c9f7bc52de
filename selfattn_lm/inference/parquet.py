"""Rows to parquet, a group of rows in memory at once."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from selfattn_lm.inference.cells import cell_text, without_surrogates

_ROW_GROUP = 4096  # rows that are compressed together


class DoesNotFit(Exception):
    """A column has a value that its type cannot hold."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


@contextmanager
def parquet_writer(path: Path, fields: Sequence[Any], metadata: Any = None) -> Iterator["_Parquet"]:
    """Gives a writer of parquet with these arrow fields, and what else a schema says, such as the names of classes."""
    schema = pa.schema(fields, metadata=metadata)
    with pq.ParquetWriter(path, schema) as file:
        writer = _Parquet(file, schema)
        yield writer
        writer.write_group()


class _Parquet:
    """Parquet of given types; cells of a text column that are not texts become texts."""

    def __init__(self, file: Any, schema: Any) -> None:
        self.file = file
        self.schema = schema
        self.group: list[Mapping[str, Any]] = []

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write some rows, or keep them until they are a group."""
        for row in rows:
            self.group.append(row)
            if len(self.group) == _ROW_GROUP:
                self.write_group()

    def write_group(self) -> None:
        """Write the rows that have gathered."""
        if not self.group:
            return
        arrays = [_arrow_array([row.get(field.name) for row in self.group], field) for field in self.schema]
        self.file.write_table(pa.Table.from_arrays(arrays, schema=self.schema))
        self.group = []


def _arrow_array(cells: list[Any], field: Any) -> Any:
    if field.type == pa.string():
        cells = [None if cell is None else cell_text(cell) for cell in cells]
    try:
        return pa.array(cells, field.type)
    except UnicodeEncodeError:
        return pa.array(without_surrogates(cells), field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        raise DoesNotFit(field.name) from None
