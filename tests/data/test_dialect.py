"""How csv and tsv files are written: quoting and delimiters."""

import csv
import io
import logging
import os
import random
from pathlib import Path
from typing import Any

import pytest

from selfattn_lm.data.readers import read_rows
from selfattn_lm.errors import UserError

CELLS = (
    "", " x ", "a\tb", "a,b", '"', '""', '"x"', 'x"', '"x', '5" disk', '"Hello" she said', 'say "hi"', "line\nline",
    "line\r\nline", "line\rline", '"a"\tb\n"c"', 'a\n"b"\t"', "a\u2028b\x0b\x0c\x85c", "ein Gruß 🍎",
)  # fmt: skip
LABELS = ("fruit", "metal", "water")
AMBIGUOUS = (
    "a field begins with a quote, and the file can be read with and without quoting; give --data.quoting standard,"
    " or --data.quoting none if quotes are part of the texts."
)


def cells(path: Path, **how: Any) -> list[list[str] | str]:
    """The cells of each row, or its problem."""
    return [
        list(row.values.values()) if row.values is not None else row.problem
        for row in read_rows(path, **how)
    ]


def written(path: Path, contents: str) -> Path:
    path.write_text(contents, encoding="utf-8", newline="")
    return path


def many(changes: dict[int, str], delimiter: str = "\t") -> str:
    """A file of 62 rows, of which some texts are changed."""
    texts = [changes.get(i, f"text number {i}") for i in range(62)]
    rows = [f"{text}{delimiter}{LABELS[i % 3]}\n" for i, text in enumerate(texts)]
    return "".join([f"text{delimiter}label\n", *rows])


@pytest.mark.parametrize("form", ["csv", "tsv"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_the_csv_module_writes_is_read_back(form: str, end: str, tmp_path: Path) -> None:
    chance = random.Random(0)
    for _ in range(60):
        rows = [
            [chance.choice(CELLS), chance.choice(CELLS), "0.5"]
            for _ in range(chance.choice([1, 2, 3, 9]))
        ]
        file = io.StringIO()
        writer = csv.writer(file, delimiter="\t" if form == "tsv" else ",", lineterminator=end)
        writer.writerows([["text", "other", "probability"], *rows])
        assert cells(written(tmp_path / f"a.{form}", file.getvalue())) == rows


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_a_file_in_which_all_texts_are_quoted_loses_its_quotes(
    form: str, quoting: Any, tmp_path: Path
) -> None:
    rows = [["plain", 1.5], ["words", 2.0], ["alone", 3.0]]
    file = io.StringIO()
    csv.writer(file, delimiter="\t" if form == "tsv" else ",", quoting=quoting).writerows(
        [["text", "n"], *rows]
    )
    assert cells(written(tmp_path / f"a.{form}", file.getvalue())) == [
        [text, str(n)] for text, n in rows
    ]


def test_a_name_in_the_header_is_never_meant_with_its_quotes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", '"text"\tlabel\nplain\tx\n"Hello"\ty\n')
    assert [row.values for row in read_rows(path)] == [
        {"text": "plain", "label": "x"},
        {"text": "Hello", "label": "y"},
    ]


@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_one_broken_line_in_a_file_of_quoted_texts_is_a_bad_row(form: str, tmp_path: Path) -> None:
    mark = "\t" if form == "tsv" else ","
    lines = [f"text{mark}label", *[f'"words"{mark}"x"'] * 20, f'"Hello" she said{mark}"y"']
    found = cells(written(tmp_path / f"a.{form}", "\n".join(lines)))
    assert found[:20] == [["words", "x"]] * 20
    assert found[20:] == [f"broken line: '{mark}' expected after '\"'"]


@pytest.mark.parametrize("delimiter", ["\t", ","])
@pytest.mark.parametrize(
    "changes",
    [{}, {5: '"never closed'}, {5: '"Hello" she said'}, {5: '"one', 35: '"two'}, {3: 'a 5" disk'},
     {5: '"never closed', 7: '"Hello" she said', 61: '"again'}],
)  # fmt: skip
def test_quotes_are_letters_where_only_that_gives_whole_rows(
    changes: dict[int, str], delimiter: str, tmp_path: Path
) -> None:
    path = written(tmp_path / ("a.tsv" if delimiter == "\t" else "a.csv"), many(changes, delimiter))
    expected = [[changes.get(i, f"text number {i}"), LABELS[i % 3]] for i in range(62)]
    assert cells(path) == expected
    assert cells(path, quoting="none") == expected


@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_two_stray_quotes_that_might_hold_thirty_rows_are_refused(
    delimiter: str, tmp_path: Path
) -> None:
    changes = {5: '"one', 35: 'two"'}
    path = written(tmp_path / ("a.tsv" if delimiter == "\t" else "a.csv"), many(changes, delimiter))
    with pytest.raises(UserError) as caught:
        cells(path)
    assert str(caught.value) == f"{path}, line 7: {AMBIGUOUS}"
    assert len(cells(path, quoting="none")) == 62
    assert len(cells(path, quoting="standard")) == 32


def test_texts_wholly_in_quotes_are_refused_in_a_tsv_and_lose_their_quotes_in_a_csv(
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "a.tsv", 'text\tlabel\nplain\tx\n"Hello"\ty\n')
    with pytest.raises(UserError) as caught:
        cells(path)
    assert str(caught.value) == f"{path}, line 3: {AMBIGUOUS}"
    assert cells(path, quoting="none")[1] == ['"Hello"', "y"]
    assert cells(path, quoting="standard")[1] == ["Hello", "y"]
    assert cells(written(tmp_path / "a.csv", 'text,label\nplain,x\n"Hello",y\n'))[1] == [
        "Hello",
        "y",
    ]


def test_a_text_of_two_lines_is_one_row_of_csv_although_its_lines_have_as_many_commas_as_rows(
    tmp_path: Path,
) -> None:
    assert cells(written(tmp_path / "a.csv", 'text,label\n"a, b\nc",x\nd,y\n')) == [
        ["a, b\nc", "x"],
        ["d", "y"],
    ]
    assert cells(written(tmp_path / "a.csv", 'text\n"a\nb\nc"\nd\n')) == [["a\nb\nc"], ["d"]]


def test_a_stray_quote_in_a_quoted_file_is_one_bad_row(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'text,label\n"a, b",x\n"stray,y\nc,z\n"d, e",x\n"f, g",y\n')
    problem = """broken line: ',' expected after '"'"""
    assert cells(path) == [["a, b", "x"], problem, ["c", "z"], ["d, e", "x"], ["f, g", "y"]]


def test_the_evidence_may_come_late_in_a_file(tmp_path: Path) -> None:
    lines = ["text\tlabel", '"Hello"\tx', *["plain\ty"] * 5000, '"Hello" she said\tx']
    assert cells(written(tmp_path / "a.tsv", "\n".join(lines)))[0] == ['"Hello"', "x"]
    lines[-1] = '"with\ttab"\tx'
    assert cells(written(tmp_path / "a.tsv", "\n".join(lines)))[0] == ["Hello", "x"]


@pytest.mark.parametrize(
    ("name", "delimiter", "said"),
    [("a.csv", ";", "semicolons, not by commas"), ("a.csv", "\t", "tabs, not by commas"),
     ("a.csv", "|", "pipes, not by commas"), ("a.tsv", ",", "commas, not by tabs"),
     ("a.tsv", ";", "semicolons, not by tabs")],
)  # fmt: skip
def test_another_delimiter_is_found_and_said(
    name: str, delimiter: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = io.StringIO()
    rows = [["one, two; three\t| four", "x"], ["five", "y"], ['"six"', "x"]]
    csv.writer(file, delimiter=delimiter).writerows([["text", "label"], *rows])
    path = written(tmp_path / name, file.getvalue())
    with caplog.at_level(logging.INFO, "selfattn_lm"):
        assert cells(path) == rows
    assert caplog.messages == [f"{path}: its columns are separated by {said}"]


def test_another_delimiter_is_found_in_a_file_of_texts_of_many_lines(tmp_path: Path) -> None:
    rows = [["one; two\n\n" + "line\n\n" * (20 + i), "x"] for i in range(9)]
    file = io.StringIO()
    csv.writer(file, delimiter=";", lineterminator="\n").writerows([["text", "label"], *rows])
    assert cells(written(tmp_path / "a.csv", file.getvalue())) == rows


@pytest.mark.parametrize(
    ("name", "header", "said"),
    [("a.csv", "text;label", "the header has no comma but a semicolon; separate the columns by commas."),
     ("a.csv", "text\tlabel", "the header has no comma but a tab; separate the columns by commas."),
     ("a.tsv", "text,label", "the header has no tab but a comma; separate the columns by tabs.")],
)  # fmt: skip
def test_a_header_of_another_delimiter_than_the_rows_is_refused(
    name: str, header: str, said: str, tmp_path: Path
) -> None:
    for rows in ("a,b;c\td\ne;f;g,h,i\tj\tk\n", ""):
        path = written(tmp_path / name, f"{header}\n{rows}")
        with pytest.raises(UserError) as caught:
            cells(path)
        assert str(caught.value) == f"{path}, line 1: {said}"


@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_a_file_of_one_column_may_hold_any_delimiter(form: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"a.{form}", "text\none; two\nthree | four; five\n")
    assert cells(path) == [["one; two"], ["three | four; five"]]
    assert cells(written(tmp_path / "b.tsv", "Remarks, all\none, two\nthree\n")) == [
        ["one, two"],
        ["three"],
    ]


@pytest.mark.parametrize("quoting", ["auto", "standard", "none"])
@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_a_pipe_is_read_as_a_file_is(form: str, quoting: Any, tmp_path: Path) -> None:
    delimiter = "\t" if form == "tsv" else ","
    contents = f'text{delimiter}label\n5" disk{delimiter}x\nb{delimiter}y\n'
    reading, writing = os.pipe()
    os.write(writing, contents.encode())
    os.close(writing)
    rows = [['5" disk', "x"], ["b", "y"]]
    assert cells(Path(f"/dev/fd/{reading}"), form=form, quoting=quoting) == rows
    os.close(reading)


def test_a_csv_file_that_is_read_without_quoting_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = 'text,label\na plum,fruit\n"iron,metal\nzinc,metal\n'
    with caplog.at_level(logging.INFO, "selfattn_lm"):
        for name, delimiter in (("a.csv", ","), ("a.tsv", "\t")):
            path = tmp_path / name
            path.write_text(lines.replace(",", delimiter), encoding="utf-8")
            assert [row.values["text"] for row in read_rows(path) if row.values] == [
                "a plum",
                '"iron',
                "zinc",
            ]
    reason = "quotes are read as plain characters: only then do its rows fit the header"
    assert caplog.messages == [
        f"{tmp_path / 'a.csv'}: {reason}; --data.quoting standard reads them as quotes"
    ]
