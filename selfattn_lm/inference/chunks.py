"""Rows in chunks that fit in memory: large ones of a file, and of a live stream whatever has arrived."""

import threading
from collections.abc import Iterator

from selfattn_lm.data.rows import Row

MAX_ROWS = 4096  # in one chunk
_MAX_CHARACTERS = 16_000_000  # in one chunk
_PAUSE = 0.05  # seconds in which rows that were sent together arrive together
_WAKE_UP = 0.5  # seconds; on Windows Ctrl-C reaches a waiting thread only between two waits


def chunks_of(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Cut the rows of a file into chunks as large as memory allows."""
    chunk: list[Row] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += _characters(row)
        if _is_full(chunk, characters):
            yield chunk
            chunk = []
            characters = 0
    if chunk:
        yield chunk


def chunks_at_hand(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Cut a live stream into chunks: rows that have arrived are not kept waiting for rows that have not."""
    arrivals = _Arrivals(rows)
    # A daemon: it may wait for a line that never comes when the program ends.
    threading.Thread(target=arrivals.read, name="rows", daemon=True).start()
    try:
        while chunk := arrivals.take():
            yield chunk
        if arrivals.error is not None:
            raise arrivals.error
    finally:
        arrivals.abandon()


class _Arrivals:
    """Rows between the thread that reads them and the one that predicts them; at most a chunk is read ahead."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self.rows = rows
        self.waiting: list[Row] = []
        self.characters = 0
        self.ended = False
        self.abandoned = False
        self.error: BaseException | None = None
        self.changed = threading.Condition()

    def read(self) -> None:
        """Read all rows; an error is kept for the other thread."""
        try:
            for row in self.rows:
                if not self._add(row):
                    break
        except BaseException as error:
            self.error = error
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def _add(self, row: Row) -> bool:
        """Add a row as soon as there is room for it; False if nobody wants it any more."""
        with self.changed:
            while self._is_full() and not self.abandoned:
                self.changed.wait()
            if self.abandoned:
                return False
            self.waiting.append(row)
            self.characters += _characters(row)
            if len(self.waiting) == 1 or self._is_full():
                self.changed.notify_all()
            return True

    def take(self) -> list[Row]:
        """All rows that wait, at least one; none at the end."""
        with self.changed:
            while not self.waiting and not self.ended:
                self.changed.wait(_WAKE_UP)
            self.changed.wait_for(lambda: self.ended or self._is_full(), timeout=_PAUSE)
            taken = self.waiting
            self.waiting = []
            self.characters = 0
            self.changed.notify_all()
            return taken

    def abandon(self) -> None:
        """Let the reading thread end at its next row."""
        with self.changed:
            self.abandoned = True
            self.changed.notify_all()

    def _is_full(self) -> bool:
        return _is_full(self.waiting, self.characters)


def _characters(row: Row) -> int:
    cells = (row.values or {}).values()
    return sum(len(cell) for cell in cells if isinstance(cell, str))


def _is_full(rows: list[Row], characters: int) -> bool:
    return len(rows) >= MAX_ROWS or characters >= _MAX_CHARACTERS
