"""Rows in a temporary file, until all their columns and types are known."""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import IO, Any

from selfattn_lm.inference.cells import without_surrogates
from selfattn_lm.inference.json_types import ColumnTypes
from selfattn_lm.inference.text_writers import RowDict, Writer

_ROWS_AT_ONCE = 1000


class Spool:
    """Collects rows of JSON values, of which later ones may have further columns.

    Attributes:
        types: The columns of the input; their types are inferred only for parquet.
    """

    def __init__(
        self,
        file: IO[bytes],
        columns: Sequence[str],
        added: Mapping[str, Any],
        *,
        for_parquet: bool,
    ) -> None:
        """Take an empty file, the columns known so far and the added ones."""
        self.file = file
        self.added = added
        self.for_parquet = for_parquet
        self.types = ColumnTypes()
        for name in columns:
            if for_parquet:
                name = without_surrogates(name)
            self.types.add_column(name)

    def write(self, rows: Sequence[RowDict]) -> None:
        """Append rows, and widen the types of their columns."""
        for row in rows:
            line = json.dumps(row)
            if self.for_parquet and r"\ud" in line:  # a surrogate, perhaps a lone one
                row = without_surrogates(row)
                line = json.dumps(row)
            self.file.write(line.encode("ascii") + b"\n")
            self._add_types(row)

    def _add_types(self, row: RowDict) -> None:
        for name, value in row.items():
            if name in self.added:
                continue
            self.types.add_column(name)
            if self.for_parquet:
                self.types.add_value(name, value)

    def copy_to(self, writer: Writer) -> None:
        """Write all rows to another writer; this can be repeated."""
        self.file.seek(0)
        lines = list(itertools.islice(self.file, _ROWS_AT_ONCE))
        while lines:
            writer.write([json.loads(line) for line in lines])
            lines = list(itertools.islice(self.file, _ROWS_AT_ONCE))
