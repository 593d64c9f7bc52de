import csv
import gc
import gzip
import io
import json
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import assert_says

from selfattn_lm.data.readers import read_rows
from selfattn_lm.data.rows import Row
from selfattn_lm.errors import UserError

CELLS = (
    "None", "NA", "null", "nan", "", "01", "1.0", "1e5", "no", "true", " spaces ", 'a "quoted" word', '"', "a, b",
    "a\tb", "two\nlines", "two\r\nlines", "a \\ backslash", "🍎 \U0001f469\u200d\U0001f467", "机器学习",
    "a\u2028b", "{}", "[1, 2]", "#",
)  # fmt: skip
ROWS = [{"text": cell, "label": CELLS[-1 - i]} for i, cell in enumerate(CELLS)]


def separated(delimiter: str) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, ["text", "label"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return file.getvalue().encode()


def one_after_the_other() -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False, indent=1) for row in ROWS).encode()


def columnar(write: Callable[[pa.Table, pa.BufferOutputStream], None]) -> bytes:
    file = pa.BufferOutputStream()
    write(pa.Table.from_pylist(ROWS), file)
    contents: bytes = file.getvalue().to_pybytes()
    return contents


def arrow(opened: Callable[..., Any]) -> bytes:
    def write(table: pa.Table, file: pa.BufferOutputStream) -> None:
        with opened(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=5)

    return columnar(write)


CONTENTS: dict[str, Any] = {
    "rows.csv": separated(","),
    "rows.tsv": separated("\t"),
    "array.json": json.dumps(ROWS).encode(),
    "objects.json": one_after_the_other(),
    "rows.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode(),
    "rows.parquet": columnar(pq.write_table),
    "file.arrow": arrow(pa.ipc.new_file),
    "stream.arrow": arrow(pa.ipc.new_stream),
}


def written(path: Path, contents: str | bytes) -> Path:
    path.write_bytes(contents.encode() if isinstance(contents, str) else contents)
    return path


def refusal(path: Path) -> str:
    """The message of the error, without the path at its beginning."""
    with pytest.raises(UserError, match="^" + re.escape(str(path))) as caught:
        list(read_rows(path))
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize("name", [*CONTENTS, *(f"{name}.gz" for name in CONTENTS)])
def test_every_cell_comes_back_as_it_was_written(name: str, tmp_path: Path) -> None:
    contents = CONTENTS[name.removesuffix(".gz")]
    path = written(tmp_path / name, gzip.compress(contents) if name.endswith(".gz") else contents)
    rows = list(read_rows(path))
    assert [row.values for row in rows] == ROWS
    assert [row.number for row in rows] == list(range(1, len(ROWS) + 1))
    assert {row.problem for row in rows} == {""}


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "array.json", "rows.jsonl"])
def test_a_byte_order_mark_is_dropped(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name, b"\xef\xbb\xbf" + CONTENTS[name])
    assert [row.values for row in read_rows(path)] == ROWS


@pytest.mark.parametrize(
    ("name", "form"), [("rows.ndjson", "rows.jsonl"), ("rows.feather", "file.arrow")]
)
def test_other_names_of_a_format_are_known(name: str, form: str, tmp_path: Path) -> None:
    assert [row.values for row in read_rows(written(tmp_path / name, CONTENTS[form]))] == ROWS


def test_a_txt_file_has_a_text_in_each_line(tmp_path: Path) -> None:
    path = written(tmp_path / "lines.txt", "one, two\r\n\n 'three' \nfour")
    assert [row.values for row in read_rows(path)] == [
        {"text": t} for t in ("one, two", "", " 'three' ", "four")
    ]
    assert [row.place for row in read_rows(path)] == ["row 1", "row 2", "row 3", "row 4"]


def test_rows_after_a_cell_of_many_lines_know_their_row_and_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'text,label\na,x\n"b\nb\nb",y\n\nc,z\n')
    places = ["row 1 (line 2)", "row 2 (line 5)", "row 3 (line 7)"]
    assert [(row.values or {})["label"] for row in read_rows(path)] == ["x", "y", "z"]
    assert [row.place for row in read_rows(path)] == places


def test_blank_lines_of_jsonl_count_as_lines_and_not_as_rows(tmp_path: Path) -> None:
    rows = read_rows(written(tmp_path / "a.jsonl", '{"text": "a"}\n\n  \n{"text": "b"}\n'))
    assert [row.place for row in rows] == ["row 1", "row 2 (line 4)"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('"a" b,x', "broken line: …"),
        ("a,x,y", "3 fields where the header has 2"),
        ("a", "1 field where the header has 2"),
    ],
)
def test_a_bad_row_of_csv_is_reported_with_its_number_and_does_not_end_the_stream(
    line: str, problem: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.csv", f"text,label\nfirst,x\n{line}\nlast,y\n")
    rows = list(read_rows(path, quoting="standard"))
    assert rows == [
        Row(1, {"text": "first", "label": "x"}, "", 2),
        Row(2, None, rows[1].problem, 3),
        Row(3, {"text": "last", "label": "y"}, "", 4),
    ]
    assert_says(rows[1].problem, problem)


def test_a_quote_that_is_never_closed_is_reported_and_swallows_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'text,label\na,x\n"b,y\nc,z\n"d, e",y\n"f,g\n')
    rows = list(read_rows(path, quoting="standard"))
    assert rows[1:] == [
        Row(2, None, rows[1].problem, 3),
        Row(3, {"text": "c", "label": "z"}, "", 4),
        Row(4, {"text": "d, e", "label": "y"}, "", 5),
        Row(5, None, "broken line: a quote opens a field and is never closed", 6),
    ]
    assert_says(rows[1].problem, "broken line: …")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"text": "b"', "broken line: …"),
        ("{'text': 'b'}", "broken line: …"),
        ('["b", "y"]', 'broken line: ["b", "y"] is not an object'),
    ],
)
def test_a_bad_line_of_jsonl_is_reported_with_its_number_and_does_not_end_the_stream(
    line: str, problem: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.jsonl", f'{{"text": "a"}}\n{line}\n{{"text": "c"}}\n')
    rows = list(read_rows(path))
    assert rows == [
        Row(1, {"text": "a"}, "", 1),
        Row(2, None, rows[1].problem, 2),
        Row(3, {"text": "c"}, "", 3),
    ]
    assert_says(rows[1].problem, problem)


def test_a_json_array_of_many_pieces_is_read_whole(tmp_path: Path) -> None:
    rows = [{"text": f"{i} " + "é🍎\\" * (i % 700), "label": str(i % 3)} for i in range(3000)]
    path = written(tmp_path / "a.json", json.dumps(rows, ensure_ascii=False))
    assert path.stat().st_size > 4 << 20
    assert [row.values for row in read_rows(path)] == rows


@pytest.mark.parametrize("before", range(0, 44, 3))
def test_an_object_is_whole_wherever_the_border_of_a_piece_cuts_it(
    before: int, tmp_path: Path
) -> None:
    second = {"text": 'a "b" 🍎', "number": -12.5, "yes": True}
    first = {"text": "x" * ((1 << 20) - before - len('[{"text": ""}, '))}
    path = written(tmp_path / "a.json", json.dumps([first, second, {"text": "c"}]))
    assert [row.values for row in read_rows(path)] == [first, second, {"text": "c"}]


def test_one_object_larger_than_a_piece_is_read(tmp_path: Path) -> None:
    row = {"text": "word " * 600_000}
    assert [row.values for row in read_rows(written(tmp_path / "a.json", json.dumps(row)))] == [row]


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("a.csv", b"t\xe9xt,label\na,x\n", ", line 1: not UTF-8 (byte 0xe9); save the file as UTF-8."),
        *((f"a.{form}", "text,label\na,x\n".encode(code), f": the file is {name}; save it as UTF-8.") for
          form in ("csv", "txt", "json") for code, name in (("utf-16", "UTF-16"), ("utf-32", "UTF-32"),
          ("utf-16-le", "UTF-16 or UTF-32"), ("utf-16-be", "UTF-16 or UTF-32"))),
        *((f"a.{form}", begin, ": the file is empty; it has no rows.") for begin in (b"", b"\xef\xbb\xbf")
          for form in ("csv", "tsv", "json", "jsonl", "txt")),
        ("a.csv.gz", b"", ": the file is empty; it has no rows."),
        ("a.csv", b"\n\r\n\n", ": the file has no rows."),
        ("a.csv", b"text,label\n", ": the file has no rows."),
        ("a.json", b"[]", ": the file has no rows."),
        ("a.csv", b"text,text\na,b\n", ", line 1: two columns have the same name; fix the header."),
        ("a.csv", b"text,label\ra,x\rb,y", ", line 1: a carriage return in the header; save the file with lines that"
         " end in \\n or \\r\\n."),
        ("a.json", b'[{"text": "a"}, 3]', ": row 2 is 3, not an object with named columns."),
        ("a.xlsx", b"PK", ": unknown format; name it .csv, .tsv, .json, .jsonl, .parquet, .arrow, .txt, .npy, .npz (also .gz)."),
        ("a.csv.gz", b"text,label\na,x\n", ": broken gzip: …."),
        ("a.csv.gz", gzip.compress(CONTENTS["rows.csv"], mtime=0)[:-20],
         ": broken gzip: …."),
        ("a.parquet.gz", b"PAR1", ": broken gzip: …."),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(
    name: str, contents: bytes, message: str, tmp_path: Path
) -> None:
    assert_says(refusal(written(tmp_path / name, contents)), message)


def test_json_that_breaks_off_is_refused_with_the_row_before(tmp_path: Path) -> None:
    message = refusal(written(tmp_path / "a.json", '[{"text": "a"},\n {"text": "b"}, {\n'))
    assert_says(message, ": broken JSON after row 2: ….")


def test_damage_within_a_gzip_file_is_refused(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(bytes(range(32, 127)) * 50 + b"\n" + CONTENTS["rows.csv"]))
    packed[12:40] = b"\xff" * 28
    assert refusal(written(tmp_path / "a.csv.gz", bytes(packed))).startswith(": broken gzip: ")


@pytest.mark.parametrize("name", ["rows.parquet", "file.arrow", "stream.arrow"])
@pytest.mark.parametrize("cut", [0, 20, 0.5])
def test_a_broken_columnar_file_is_refused(name: str, cut: float, tmp_path: Path) -> None:
    size = int(len(CONTENTS[name]) * cut) if cut < 1 else cut
    message = refusal(written(tmp_path / name, CONTENTS[name][: int(size)]))
    assert message.startswith(f": not a readable {name.split('.')[1]} file: ")
    assert message.endswith(".")
    assert not message.endswith("..")


@pytest.mark.parametrize("name", ["a.csv.gz", "a.parquet.gz", "a.arrow.gz"])
def test_a_file_that_breaks_off_leaves_no_file_open(name: str, tmp_path: Path) -> None:
    contents = {"a.csv.gz": "rows.csv", "a.parquet.gz": "rows.parquet", "a.arrow.gz": "file.arrow"}[
        name
    ]
    whole = gzip.compress(CONTENTS[contents])
    with no_file_left_open():
        assert refusal(written(tmp_path / name, whole[: len(whole) // 2])).startswith(
            ": broken gzip: "
        )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_packed_stream_leaves_no_file_open(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    packed = gzip.compress(CONTENTS["rows.jsonl"])
    writer = threading.Thread(target=pipe.write_bytes, args=(packed,))
    writer.start()
    with no_file_left_open():
        rows = list(read_rows(pipe))
        writer.join()
    assert [row.values for row in rows] == ROWS


@contextmanager
def no_file_left_open() -> Iterator[None]:
    """Python warns when it closes a file that nobody has closed."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    assert [str(warning.message) for warning in found] == []


@pytest.mark.parametrize(
    ("name", "contents", "reason"),
    [
        (
            "a.csv",
            gzip.compress(CONTENTS["rows.csv"], mtime=0),
            "is compressed with gzip; rename it to end in .gz.",
        ),
        (
            "a.txt",
            gzip.compress(b"a plum\n", mtime=0),
            "is compressed with gzip; rename it to end in .gz.",
        ),
        (
            "a.csv.gz",
            gzip.compress(gzip.compress(b"text\n", mtime=0), mtime=0),
            "is compressed with gzip; rename it to end in .gz.",
        ),
        (
            "a.csv",
            b"PK\x03\x04" + b"\xff" * 30,
            "is a zip archive, as workbooks of Excel are; save it as csv.",
        ),
        ("a.txt", CONTENTS["rows.parquet"], "is parquet, not txt; rename it to end in .parquet."),
        ("a.jsonl", CONTENTS["file.arrow"], "is arrow, not jsonl; rename it to end in .arrow."),
        ("a.csv", CONTENTS["rows.jsonl"], "is jsonl, not csv; rename it to end in .jsonl."),
        ("a.tsv", CONTENTS["array.json"], "is json, not tsv; rename it to end in .json."),
        ("a.jsonl", CONTENTS["array.json"], "is json, not jsonl; rename it to end in .json."),
    ],
)
def test_a_file_of_another_format_than_its_name_says_is_refused(
    name: str, contents: bytes, reason: str, tmp_path: Path
) -> None:
    assert refusal(written(tmp_path / name, contents)) == f": {reason}"


@pytest.mark.parametrize("text", ['{"a": "text"}', '[{"a": "text"}]', "PK", "PAR2"])
def test_a_line_of_text_may_look_like_another_format(text: str, tmp_path: Path) -> None:
    assert [row.values for row in read_rows(written(tmp_path / "a.txt", text))] == [{"text": text}]


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.csv") == ": no such file."
    assert refusal(tmp_path) == ": is a folder; name a file in it."
