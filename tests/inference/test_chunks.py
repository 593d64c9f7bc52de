"""When the rows of a stream are handed on."""

import threading
from collections.abc import Iterator

import pytest

from selfattn_lm import UserError
from selfattn_lm.data.rows import Row
from selfattn_lm.inference.chunks import stream_chunks


def test_a_row_that_has_arrived_does_not_wait_for_the_next() -> None:
    taken = threading.Event()

    def rows() -> Iterator[Row]:
        yield Row(1, {"text": "a"})
        assert taken.wait(10)
        for number in range(2, 10_002):
            yield Row(number, {"text": "b"})

    chunks = stream_chunks(rows())
    assert [row.number for row in next(chunks)] == [1]
    taken.set()
    numbers: list[int] = []
    sizes: list[int] = []
    for chunk in chunks:
        numbers.extend(row.number for row in chunk)
        sizes.append(len(chunk))
    assert numbers == list(range(2, 10_002))
    assert max(sizes) == 4096


def test_an_error_of_a_stream_comes_after_the_rows_before_it() -> None:
    def rows() -> Iterator[Row]:
        yield Row(1, {"text": "a"})
        raise UserError("broken")

    chunks = stream_chunks(rows())
    assert len(next(chunks)) == 1
    with pytest.raises(UserError, match=r"^broken$"):
        next(chunks)


def test_the_reading_of_a_stream_ends_when_nobody_wants_its_rows() -> None:
    ended = threading.Event()

    def rows() -> Iterator[Row]:
        try:
            while True:
                yield Row(1, {"text": "a"})
        finally:
            ended.set()

    chunks = stream_chunks(rows())
    assert len(next(chunks)) == 4096
    chunks.close()
    assert ended.wait(10)
