"""Where the rows to predict come from: a file, a stream or a few texts."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from selfattn_lm.config import Quoting
from selfattn_lm.data.folder_rows import rows_of_arrays
from selfattn_lm.data.lines import is_stream
from selfattn_lm.data.pairs import IN_MEMORY
from selfattn_lm.data.readers import read_rows
from selfattn_lm.data.rows import Row, row_of_texts
from selfattn_lm.inference.chunks import file_chunks, stream_chunks


@dataclass(frozen=True)
class RowSource:
    """Rows to predict.

    Attributes:
        name: The name of the source in messages.
        rows: The rows.
        form: The format, or None if the reader detects it.
        is_live: Whether rows may arrive slowly, so that none should wait for the next.
    """

    name: str
    rows: Iterator[Row]
    form: str | None
    is_live: bool = False

    @classmethod
    def of_file(cls, path: str, form: str | None, quoting: Quoting) -> "RowSource":
        """Read a file, a pipe, standard input (`-`), or a folder of .npy files.

        Without a `form` the format is detected.
        Standard input without a `form` has one text per line.
        """
        file = Path(path)
        if file.is_dir():
            return cls(path, rows_of_arrays(file), "npy")
        rows = read_rows(file, form, quoting, stream_form="txt")
        if path == "-" and form is None:
            form = "txt"
        return cls(path, rows, form, is_live=is_stream(file))

    @classmethod
    def of_texts(cls, texts: Sequence[str], pairs: Sequence[str] = ()) -> "RowSource":
        """Make a row of each text, or of each text and its second one."""
        rows = []
        for number, text in enumerate(texts, 1):
            values = {"text": text}
            if pairs:
                values[IN_MEMORY] = pairs[number - 1]
            rows.append(row_of_texts(number, values))
        return cls("--text", iter(rows), "txt")

    def chunks(self) -> Generator[list[Row], None, None]:
        """Yield the rows in chunks that fit in memory."""
        if self.is_live:
            return stream_chunks(self.rows)
        return file_chunks(self.rows)
