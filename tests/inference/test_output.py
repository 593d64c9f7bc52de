"""What `predict` writes: names, types and encoding of its columns, and when."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import file_name, write_csv

import selfattn_lm
from selfattn_lm import UserError
from selfattn_lm.cli import main
from selfattn_lm.data.readers import Row
from selfattn_lm.inference.chunks import stream_chunks
from selfattn_lm.inference.output_columns import OutputColumns

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose labels are of several scripts."""
    labels = ("果物", "métal", "5")
    texts = [f"{word} {word}" for word in ("plum", "iron", "rain")]
    folder = tmp_path_factory.mktemp("runs") / file_name("läufe 果")
    settings: dict[str, Any] = {
        "model": {"width": 8, "heads": 2, "layers": 1},
        "training": {"epochs": 1},
    }
    selfattn_lm.fit(texts * 10, labels * 10, out=folder, **settings)
    return folder


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_jsonl(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# The names of the added columns


def test_the_added_columns_have_names_that_no_label_can_take() -> None:
    labels = ["1", "2", "3", "prediction", "_2", ":2", "2) probability"]
    names = list(OutputColumns(top_k=9, probabilities=True).names_and_types(labels))
    assert len(set(names)) == len(names) == 3 * len(labels)
    assert names[:4] == ["prediction", "probability", "prediction_2", "probability_2"]
    assert names[-7:-4] == ["probability:1", "probability:2", "probability:3"]


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_a_predicted_file_can_be_predicted_again_and_again(
    form: str, run: Path, tmp_path: Path
) -> None:
    write_csv(tmp_path / "0.csv", [("a plum", "x"), ("iron", "y")])
    selfattn_lm.predict(run, "0.csv", out=f"1.{form}", top_k=2, probabilities=True)
    second = selfattn_lm.predict(run, f"1.{form}", out=f"2.{form}", top_k=2, probabilities=True)
    third = selfattn_lm.predict(run, f"2.{form}", out="3.jsonl", top_k=2, probabilities=True)
    first_names = ["prediction", "probability", "prediction_2", "probability_2"]
    first_names += [f"probability:{label}" for label in ("fruit", "metal", "water")]
    assert second.columns == tuple(f"{name}_new" for name in first_names)
    assert third.columns == tuple(f"{name}_new_new" for name in first_names)
    row = read_jsonl(tmp_path / "3.jsonl")[0]
    assert list(row) == ["text", "label", *first_names, *second.columns, *third.columns]
    assert row["prediction"] == row["prediction_new"] == row["prediction_new_new"]


def test_a_label_that_is_not_probable_enough_is_left_out_at_every_rank() -> None:
    import numpy as np

    probabilities = np.array([0.2, 0.7, 0.1], dtype=np.float32)
    columns = OutputColumns(top_k=10, min_probability=0.2)
    assert columns.values(probabilities, ["a", "b", "c"]) == ["b", 0.7, "a", 0.2, None, 0.1]
    assert OutputColumns(min_probability=0.7).values(probabilities, ["a", "b", "c"]) == ["b", 0.7]
    assert OutputColumns(min_probability=0.71).values(probabilities, ["a", "b", "c"]) == [None, 0.7]


# Types

ROWS: list[Any] = [
    {"text": "plum", "n": 1, "f": 1, "ok": True, "tags": ["a"], "meta": {"a": {"b": 1}}, "none": None, "mixed": 1,
     "big": 2**63, "fraction": 0.5, "list": [1, "a"], "empty": {}, "odd": True},
    {"text": "iron", "n": -(2**63), "f": 2.5, "ok": None, "tags": [], "meta": {"c": [None, 2.5]}, "mixed": "é",
     "big": -1, "fraction": 2**53 + 1, "odd": 1.5},
    {"text": "rain", "late": 7, "meta": None},
]  # fmt: skip
TEXTS_OF = {"mixed": ["1", "é", None], "big": [str(2**63), "-1", None], "fraction": ["0.5", str(2**53 + 1), None],
            "list": ['[1, "a"]', None, None], "empty": ["{}", None, None], "odd": ["true", "1.5", None]}  # fmt: skip


def test_json_values_keep_their_types_in_parquet_and_those_of_no_single_type_are_text(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    write_jsonl(tmp_path / "a.jsonl", ROWS)
    assert main(["predict", str(run), "a.jsonl", "--out", "b.parquet"]) == 0
    table = pq.read_table(tmp_path / "b.parquet")
    meta = pa.struct([("a", pa.struct([("b", pa.int64())])), ("c", pa.list_(pa.float64()))])
    types = {"text": pa.string(), "n": pa.int64(), "f": pa.float64(), "ok": pa.bool_(), "tags": pa.list_(pa.string()),
             "meta": meta, "none": pa.string(), "late": pa.int64()}  # fmt: skip
    for name, kind in types.items():
        assert table.schema.field(name).type.equals(kind), name
    assert table["n"].to_pylist() == [1, -(2**63), None]
    assert table["f"].to_pylist() == [1.0, 2.5, None]
    assert table["tags"].to_pylist() == [["a"], [], None]
    assert table["meta"].to_pylist() == [
        {"a": {"b": 1}, "c": None},
        {"a": None, "c": [None, 2.5]},
        None,
    ]
    assert table["late"].to_pylist() == [None, None, 7]
    assert {name: table[name].to_pylist() for name in TEXTS_OF} == TEXTS_OF
    assert table.column_names[-3:] == ["late", "prediction", "probability"]
    said = capsys.readouterr().err.splitlines()
    reason = "fit no single type, so they are written as texts"
    assert said == [f"b.parquet: the values of column {name!r} {reason}" for name in TEXTS_OF]


def test_jsonl_keeps_every_value_and_every_missing_key(run: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", ROWS)
    selfattn_lm.predict(run, "a.jsonl", out="b.jsonl")
    written = read_jsonl(tmp_path / "b.jsonl")
    for row in written:
        assert isinstance(row.pop("prediction"), str)
        assert isinstance(row.pop("probability"), float)
    assert written == ROWS
    assert written[1]["f"] == 2.5
    assert type(written[0]["f"]) is int


def test_a_column_that_first_appears_late_is_written_to_every_kind_of_file(
    run: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfattn_lm.inference.chunks.MAX_ROWS", 2)
    rows = [{"text": "plum"}] * 2 + [{"text": "iron", "late": "x", "prediction": "kept out"}]
    write_jsonl(tmp_path / "a.jsonl", rows)
    dropped = "a.jsonl, row 3: column 'prediction' has the name of an added column, so its values are left out"
    for form in ("jsonl", "csv", "parquet"):
        assert main(["predict", str(run), "a.jsonl", "--out", f"b.{form}"]) == 0
        assert capsys.readouterr().err.splitlines() == [dropped], form
    assert read_jsonl(tmp_path / "b.jsonl")[-1]["late"] == "x"
    assert pq.read_table("b.parquet")["late"].to_pylist()[-1] == "x"
    with open("b.csv", encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [read[0]["late"], read[-1]["late"], read[-1]["prediction"]] == ["", "x", "metal"]
    assert main(["predict", str(run), "a.jsonl"]) == 0
    advice = "so its values are left out (--out FILE or --output-format jsonl keeps them)"
    assert (
        f"a.jsonl, row 3: column 'late' is not in the header, {advice}\n" in capsys.readouterr().err
    )


def test_values_that_json_has_not_are_written_sensibly(run: Path, tmp_path: Path) -> None:
    values = {
        "day": date(2024, 2, 29), "time": datetime(2024, 2, 29, 12, 30), "price": Decimal("1.50"),
        "utf8": b"caf\xc3\xa9", "bytes": b"\xff\x00",
        "nan": float("nan"), "deep": [{"x": float("inf")}], "text": "plum",
    }  # fmt: skip
    pq.write_table(pa.Table.from_pylist([values]), "a.parquet")
    selfattn_lm.predict(run, "a.parquet", out="b.jsonl")
    (row,) = read_jsonl(tmp_path / "b.jsonl")
    expected = {"day": "2024-02-29", "time": "2024-02-29T12:30:00", "price": "1.50", "utf8": "café", "bytes": "/wA=",
                "nan": None, "deep": [{"x": None}], "text": "plum"}  # fmt: skip
    assert {name: row[name] for name in values} == expected
    selfattn_lm.predict(run, "a.parquet", out="b.csv")
    with open("b.csv", encoding="utf-8", newline="") as file:
        (cells,) = csv.DictReader(file)
    shown = expected | {"nan": "", "deep": '[{"x": null}]'}
    assert {name: cells[name] for name in values} == shown


def test_parquet_keeps_what_its_schema_says_beside_the_types(run: Path) -> None:
    table = pa.table(
        {"text": ["plum"], "kind": [0]}, metadata={"huggingface": '{"info": {"features": {}}}'}
    )
    pq.write_table(table, "a.parquet")
    selfattn_lm.predict(run, "a.parquet", out="b.parquet")
    assert pq.read_schema("b.parquet").metadata == table.schema.metadata


def test_csv_cells_stay_texts_in_parquet_and_all_newlines_survive_in_csv(
    run: Path, tmp_path: Path
) -> None:
    rows = [("007", "a\rb"), ("1.50", "c\r\nd"), ("true", "e\nf"), ("", ' "g" ')]
    write_csv(tmp_path / "a.csv", rows, ("id", "text"))
    selfattn_lm.predict(run, "a.csv", out="b.csv")
    selfattn_lm.predict(run, "b.csv", out="c.parquet")
    assert (
        list(
            zip(
                *(pq.read_table("c.parquet")[name].to_pylist() for name in ("id", "text")),
                strict=True,
            )
        )
        == rows
    )


# Encoding


@contextmanager
def ascii_streams() -> Iterator[dict[str, io.BytesIO]]:
    """Standard output and error that Python believes to be ASCII, and the bytes that were written to them."""
    written = {"stdout": io.BytesIO(), "stderr": io.BytesIO()}
    out, err = (io.TextIOWrapper(file, encoding="ascii") for file in written.values())
    with redirect_stdout(out), redirect_stderr(err):
        yield written
        out.flush()
        err.flush()
        for name, file in written.items():
            written[name] = io.BytesIO(file.getvalue())


def test_output_is_utf_8_whatever_the_encoding_of_the_streams(
    scripts: Path, tmp_path: Path
) -> None:
    file = file_name("文.csv")
    write_csv(tmp_path / file, [("ö plum", "果物"), ("iron", "métal")], ("テキスト", "label"))
    columns = ["--data.text-column", "テキスト"]
    with ascii_streams() as written:
        assert main(["predict", str(scripts), file, *columns, "--probabilities"]) == 0
    header, row, _ = written["stdout"].getvalue().decode("utf-8").splitlines()
    assert (
        header
        == "テキスト,label,prediction,probability,probability:5,probability:métal,probability:果物"
    )
    assert row.startswith("ö plum,果物,")
    with ascii_streams() as written:
        assert main(["evaluate", str(scripts), file, *columns]) == 0
        assert main(["predict", str(scripts), file, "--data.text-column", "größe"]) == 2
    assert "果物" in written["stdout"].getvalue().decode("utf-8").split("confusion")[-1]
    message = (
        "selfattn: 文.csv: no column 'größe'; found 'テキスト', 'label'. Use --data.text-column.\n"
    )
    assert written["stderr"].getvalue().decode("utf-8") == message


def test_a_file_name_that_the_locale_cannot_read_is_shown_as_utf_8_or_escaped(run: Path) -> None:
    name = "文".encode().decode("ascii", "surrogateescape")
    with ascii_streams() as written:
        assert main(["predict", str(run), f"{name}.csv"]) == 2
        assert main(["predict", str(run), "\udcff.csv"]) == 2
    expected = "selfattn: 文.csv: no such file.\nselfattn: \\udcff.csv: no such file.\n"
    assert written["stderr"].getvalue().decode("utf-8") == expected


def test_a_text_of_the_command_line_is_read_as_utf_8_whatever_the_locale(
    run: Path, capsys: Capture
) -> None:
    assert (
        main(["predict", str(run), "--text", "é plum".encode().decode("ascii", "surrogateescape")])
        == 0
    )
    assert capsys.readouterr().out.splitlines()[1].startswith("é plum,")


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_half_an_emoji_beside_the_text_is_replaced_and_stops_nothing(
    form: str, run: Path, tmp_path: Path
) -> None:
    write_jsonl(
        tmp_path / "a.jsonl",
        [{"text": "plum", "x\udc00": "\ud83d", "y": {"k\ud83d": ["\ud83d", "😀"]}}],
    )
    selfattn_lm.predict(run, "a.jsonl", out=f"b.{form}")
    if form == "parquet":
        (row,) = pq.read_table("b.parquet").to_pylist()
        assert (row["x\ufffd"], row["y"]) == ("\ufffd", {"k\ufffd": ["\ufffd", "😀"]})
    elif form == "jsonl":
        (row,) = read_jsonl(tmp_path / "b.jsonl")
        assert (row["x\ufffd"], row["y"]) == ("\ufffd", {"k\ufffd": ["\ufffd", "😀"]})
    else:
        with open("b.csv", encoding="utf-8", newline="") as file:
            (row,) = csv.DictReader(file)
        assert (row["x\ufffd"], json.loads(row["y"])) == ("\ufffd", {"k\ufffd": ["\ufffd", "😀"]})


def test_rows_are_printed_to_what_takes_only_texts_too(run: Path) -> None:
    with redirect_stdout(io.StringIO()) as printed:
        summary = selfattn_lm.predict(run, text=["é plum", "iron"])
    assert [line.split(",")[0] for line in printed.getvalue().splitlines()] == [
        "text",
        "é plum",
        "iron",
    ]
    assert (summary.rows, summary.bad, summary.out, summary.columns) == (
        2,
        0,
        None,
        ("prediction", "probability"),
    )


# Where to


def test_the_input_can_be_the_output_unless_something_would_be_lost(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    file = write_csv(tmp_path / "a.csv", [("a plum", "x")])
    assert main(["predict", str(run), "a.csv", "--out", "./a.csv"]) == 0
    assert file.read_text(encoding="utf-8").startswith(
        "text,label,prediction,probability\na plum,x,fruit,"
    )
    file.write_text("text,label\na plum,x\na pear\n", encoding="utf-8")
    capsys.readouterr()
    assert main(["predict", str(run), "a.csv", "--out", "a.csv"]) == 2
    reason = "is the input, and its 1 unreadable rows would be lost; name another file with --out."
    assert capsys.readouterr().err.splitlines()[-1] == f"selfattn: a.csv: {reason}"
    assert file.read_text(encoding="utf-8") == "text,label\na plum,x\na pear\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_folder_is_no_output_file_and_a_missing_folder_is_made(run: Path, tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [("a plum", "x")])
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError, match=r"^folder.csv: is a folder; name a file with --out\.$"):
        selfattn_lm.predict(run, "a.csv", out="folder.csv")
    assert selfattn_lm.predict(run, "a.csv", out="new/b.csv.gz").rows == 1
    first = Path("new/b.csv.gz").read_bytes()
    selfattn_lm.predict(run, "a.csv", out="new/b.csv.gz")
    assert Path("new/b.csv.gz").read_bytes() == first


# When


def test_a_row_that_has_arrived_does_not_wait_for_the_next() -> None:
    taken = threading.Event()

    def rows() -> Iterator[Row]:
        yield Row(1, {"text": "a"})
        assert taken.wait(10)
        yield from (Row(number, {"text": "b"}) for number in range(2, 10_002))

    chunks = stream_chunks(rows())
    assert [row.number for row in next(chunks)] == [1]
    taken.set()
    rest = list(chunks)
    assert [row.number for chunk in rest for row in chunk] == list(range(2, 10_002))
    assert max(map(len, rest)) == 4096


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


def test_a_line_is_answered_before_the_next_is_sent_and_ctrl_c_ends_it(scripts: Path) -> None:
    command = [sys.executable, "-m", "selfattn_lm", "predict", str(scripts), "-"]
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252"}
    pipes: dict[str, Any] = dict(
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    # A shell lets the jobs in its background ignore Ctrl-C, and what they start too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    started = subprocess.Popen(command, env=os.environ | locale, **pipes)
    signal.signal(signal.SIGINT, before)
    with started as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("plum 果\n".encode())
        process.stdin.flush()
        assert process.stdout.readline() == b"text,prediction,probability\n"
        assert process.stdout.readline().decode("utf-8").startswith("plum 果,")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b"selfattn: interrupted after 1 rows.\n"
