"""Read the rows of parquet and arrow files."""

from collections.abc import Iterable, Iterator
from typing import IO, Any

from selfattn_lm.data.rows import NoRowsError, Row

_ROWS_AT_ONCE = 1024  # rows that are converted to Python values together


def read_columnar(file: IO[bytes], where: str, form: str) -> Iterator[Row]:
    """Stream the rows of a parquet or arrow file (`form`).

    Raises:
        NoRowsError: The file has no rows.
    """
    schema, batches = schema_and_batches(file, form)
    number = 0
    for batch in batches:
        for start in range(0, len(batch), _ROWS_AT_ONCE):
            for values in batch.slice(start, _ROWS_AT_ONCE).to_pylist():
                number += 1
                yield Row(number, values)
    if number == 0:
        raise NoRowsError(where, list(schema.names))


def schema_and_batches(file: IO[bytes], form: str) -> tuple[Any, Iterable[Any]]:
    """Return the arrow schema and the record batches of a seekable parquet or arrow file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if form == "parquet":
        parquet = pq.ParquetFile(file, pre_buffer=False)
        return parquet.schema_arrow, parquet.iter_batches(batch_size=_ROWS_AT_ONCE)
    try:
        reader = pa.ipc.open_file(file)
    except pa.ArrowInvalid:  # arrow has two formats, and this one may be a stream
        file.seek(0)
        stream = pa.ipc.open_stream(file)
        return stream.schema, stream
    return reader.schema, _record_batches(reader)


def _record_batches(reader: Any) -> Iterator[Any]:
    for index in range(reader.num_record_batches):
        yield reader.get_batch(index)


def holds_texts(kind: Any) -> bool:
    """Return whether columns of an arrow type can hold texts, dictionary-encoded or not."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return True
    # Older versions of pyarrow have no string views.
    return hasattr(pa.types, "is_string_view") and bool(pa.types.is_string_view(kind))
