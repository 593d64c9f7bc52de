"""Rows in chunks that fit in memory: as large as possible, or whatever a stream has delivered."""

import threading
from collections.abc import Generator, Iterator

from selfattn_lm.data.rows import Row

MAX_ROWS = 4096  # in one chunk
_MAX_CHARACTERS = 16_000_000  # in one chunk
_PAUSE = 0.05  # seconds to wait for more rows, so that rows sent together are predicted together
_WAKE_UP = 0.5  # seconds; on Windows Ctrl-C reaches a waiting thread only between two waits


class _Chunk:
    """Rows, and the number of characters in their cells."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.characters = 0

    def add(self, row: Row) -> None:
        """Append a row."""
        self.rows.append(row)
        cells = (row.values or {}).values()
        self.characters += sum(len(cell) for cell in cells if isinstance(cell, str))

    def is_full(self) -> bool:
        """Return whether the chunk should take no further row."""
        return len(self.rows) >= MAX_ROWS or self.characters >= _MAX_CHARACTERS


def file_chunks(rows: Iterator[Row]) -> Generator[list[Row], None, None]:
    """Split the rows of a file into full chunks."""
    chunk = _Chunk()
    for row in rows:
        chunk.add(row)
        if chunk.is_full():
            yield chunk.rows
            chunk = _Chunk()
    if chunk.rows:
        yield chunk.rows


def stream_chunks(rows: Iterator[Row]) -> Generator[list[Row], None, None]:
    """Split the rows of a stream into chunks; a row that has arrived does not wait for the next.

    A thread reads the rows. An error that it meets is raised after the rows before it.
    """
    buffer = _RowBuffer(rows)
    # A daemon: at the end of the program it may still wait for a line that never comes.
    threading.Thread(target=buffer.fill, name="rows", daemon=True).start()
    try:
        chunk = buffer.take()
        while chunk:
            yield chunk
            chunk = buffer.take()
        if buffer.error is not None:
            raise buffer.error
    finally:
        buffer.abandon()


class _RowBuffer:
    """A buffer of at most one chunk between the thread that reads rows and its consumer."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self.rows = rows
        self.chunk = _Chunk()
        self.ended = False
        self.abandoned = False
        self.error: BaseException | None = None
        self.changed = threading.Condition()

    def fill(self) -> None:
        """Read all rows, and store an error for the consumer."""
        try:
            for row in self.rows:
                if not self._put(row):
                    break
        except BaseException as error:
            self.error = error
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def _put(self, row: Row) -> bool:
        """Add a row once there is room for it; return False if the buffer was abandoned."""
        with self.changed:
            while self.chunk.is_full() and not self.abandoned:
                self.changed.wait()
            if self.abandoned:
                return False
            self.chunk.add(row)
            is_first = len(self.chunk.rows) == 1
            if is_first or self.chunk.is_full():
                self.changed.notify_all()
            return True

    def take(self) -> list[Row]:
        """Wait for a row and return all that have arrived, or an empty list at the end."""
        with self.changed:
            while not self.chunk.rows and not self.ended:
                self.changed.wait(_WAKE_UP)
            self.changed.wait_for(self._is_complete, timeout=_PAUSE)
            rows = self.chunk.rows
            self.chunk = _Chunk()
            self.changed.notify_all()
            return rows

    def _is_complete(self) -> bool:
        return self.ended or self.chunk.is_full()

    def abandon(self) -> None:
        """Make the reading thread stop at its next row."""
        with self.changed:
            self.abandoned = True
            self.changed.notify_all()
