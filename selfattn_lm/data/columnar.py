"""Rows of parquet and arrow files."""

from collections.abc import Iterable, Iterator
from typing import IO, Any

from selfattn_lm.data.rows import NoRowsError, Row


def read_columnar(file: IO[bytes], where: str, form: str) -> Iterator[Row]:
    """Stream the rows, a thousand at a time."""
    schema, batches = schema_and_batches(file, form)
    number = 0
    for batch in batches:
        for start in range(0, len(batch), 1024):
            for values in batch.slice(start, 1024).to_pylist():
                number += 1
                yield Row(number, values)
    if number == 0:
        raise NoRowsError(where, list(schema.names))


def schema_and_batches(file: IO[bytes], form: str) -> tuple[Any, Iterable[Any]]:
    """The arrow schema of a file that can be read from its end, and its batches of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if form == "parquet":
        parquet = pq.ParquetFile(file, pre_buffer=False)
        return parquet.schema_arrow, parquet.iter_batches(batch_size=1024)
    try:
        reader = pa.ipc.open_file(file)
    except pa.ArrowInvalid:
        file.seek(0)
        stream = pa.ipc.open_stream(file)
        return stream.schema, stream
    return reader.schema, map(reader.get_batch, range(reader.num_record_batches))


def holds_texts(kind: Any) -> bool:
    """Whether the arrow type is one of texts, also of texts that are written once and numbered."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    views = pa.types.is_string_view(kind) if hasattr(pa.types, "is_string_view") else False
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind) or views)
