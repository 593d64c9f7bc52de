"""What `predict` writes: the types of its columns, all values of the input, and where to."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import write_csv
from row_files import read_csv, read_jsonl, write_jsonl

import selfattn_lm
from selfattn_lm import UserError
from selfattn_lm.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# Types

ROWS: list[Any] = [
    {"text": "plum", "n": 1, "f": 1, "ok": True, "tags": ["a"], "meta": {"a": {"b": 1}},
     "none": None, "mixed": 1, "big": 2**63, "fraction": 0.5, "list": [1, "a"], "empty": {},
     "odd": True},
    {"text": "iron", "n": -(2**63), "f": 2.5, "ok": None, "tags": [], "meta": {"c": [None, 2.5]},
     "mixed": "é", "big": -1, "fraction": 2**53 + 1, "odd": 1.5},
    {"text": "rain", "late": 7, "meta": None},
]  # fmt: skip
WRITTEN_AS_TEXTS = {
    "mixed": ["1", "é", None],
    "big": [str(2**63), "-1", None],
    "fraction": ["0.5", str(2**53 + 1), None],
    "list": ['[1, "a"]', None, None],
    "empty": ["{}", None, None],
    "odd": ["true", "1.5", None],
}


def test_json_values_keep_their_types_in_parquet(run: Path) -> None:
    write_jsonl(Path("a.jsonl"), ROWS)
    selfattn_lm.predict(run, "a.jsonl", out="b.parquet")
    table = pq.read_table("b.parquet")
    types = {
        "text": pa.string(),
        "n": pa.int64(),
        "f": pa.float64(),
        "ok": pa.bool_(),
        "tags": pa.list_(pa.string()),
        "meta": pa.struct([("a", pa.struct([("b", pa.int64())])), ("c", pa.list_(pa.float64()))]),
        "none": pa.string(),
        "late": pa.int64(),
    }
    for name, kind in types.items():
        assert table.schema.field(name).type.equals(kind), name
    assert table["n"].to_pylist() == [1, -(2**63), None]
    assert table["f"].to_pylist() == [1.0, 2.5, None]
    assert table["tags"].to_pylist() == [["a"], [], None]
    first_meta = {"a": {"b": 1}, "c": None}
    second_meta = {"a": None, "c": [None, 2.5]}
    assert table["meta"].to_pylist() == [first_meta, second_meta, None]
    assert table["late"].to_pylist() == [None, None, 7]
    assert table.column_names[-3:] == ["late", "prediction", "probability"]


def test_json_values_of_no_single_type_become_texts_in_parquet(run: Path, capsys: Capture) -> None:
    write_jsonl(Path("a.jsonl"), ROWS)
    assert main(["predict", str(run), "a.jsonl", "--out", "b.parquet"]) == 0
    table = pq.read_table("b.parquet")
    for name, texts in WRITTEN_AS_TEXTS.items():
        assert table[name].to_pylist() == texts, name
    reason = "fit no single type, so they are written as texts"
    expected = [f"b.parquet: the values of column {name!r} {reason}" for name in WRITTEN_AS_TEXTS]
    assert capsys.readouterr().err.splitlines() == expected


def test_jsonl_keeps_every_value_and_every_missing_key(run: Path) -> None:
    write_jsonl(Path("a.jsonl"), ROWS)
    selfattn_lm.predict(run, "a.jsonl", out="b.jsonl")
    written = read_jsonl(Path("b.jsonl"))
    for row in written:
        assert isinstance(row.pop("prediction"), str)
        assert isinstance(row.pop("probability"), float)
    assert written == ROWS
    assert written[1]["f"] == 2.5
    assert type(written[0]["f"]) is int


def test_a_column_that_first_appears_late_is_written_to_every_kind_of_file(
    run: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfattn_lm.inference.chunks.MAX_ROWS", 2)
    last = {"text": "iron", "late": "x", "prediction": "kept out"}
    write_jsonl(Path("a.jsonl"), [{"text": "plum"}, {"text": "plum"}, last])
    reason = "has the name of an added column, so its values are left out"
    for form in ("jsonl", "csv", "parquet"):
        assert main(["predict", str(run), "a.jsonl", "--out", f"b.{form}"]) == 0
        said = capsys.readouterr().err
        assert said == f"a.jsonl, row 3: column 'prediction' {reason}\n", form
    assert read_jsonl(Path("b.jsonl"))[-1]["late"] == "x"
    assert pq.read_table("b.parquet")["late"].to_pylist()[-1] == "x"
    rows = read_csv(Path("b.csv"))
    assert (rows[0]["late"], rows[-1]["late"], rows[-1]["prediction"]) == ("", "x", "metal")


def test_a_column_that_first_appears_late_is_left_out_of_a_header_that_is_printed(
    run: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfattn_lm.inference.chunks.MAX_ROWS", 2)
    write_jsonl(Path("a.jsonl"), [{"text": "plum"}, {"text": "plum"}, {"text": "iron", "late": 1}])
    assert main(["predict", str(run), "a.jsonl"]) == 0
    advice = "so its values are left out (--out FILE or --output-format jsonl keeps them)"
    said = capsys.readouterr().err
    assert said == f"a.jsonl, row 3: column 'late' is not in the header, {advice}\n"


def test_values_that_json_has_not_are_written_sensibly(run: Path) -> None:
    values = {
        "day": date(2024, 2, 29),
        "time": datetime(2024, 2, 29, 12, 30),
        "price": Decimal("1.50"),
        "utf8": b"caf\xc3\xa9",
        "bytes": b"\xff\x00",
        "nan": float("nan"),
        "deep": [{"x": float("inf")}],
        "text": "plum",
    }
    in_jsonl = {
        "day": "2024-02-29",
        "time": "2024-02-29T12:30:00",
        "price": "1.50",
        "utf8": "café",
        "bytes": "/wA=",
        "nan": None,
        "deep": [{"x": None}],
        "text": "plum",
    }
    in_csv = in_jsonl | {"nan": "", "deep": '[{"x": null}]'}
    pq.write_table(pa.Table.from_pylist([values]), "a.parquet")
    selfattn_lm.predict(run, "a.parquet", out="b.jsonl")
    selfattn_lm.predict(run, "a.parquet", out="b.csv")
    (json_row,) = read_jsonl(Path("b.jsonl"))
    (csv_row,) = read_csv(Path("b.csv"))
    for name in values:
        assert json_row[name] == in_jsonl[name]
        assert csv_row[name] == in_csv[name]


def test_parquet_keeps_what_its_schema_says_beside_the_types(run: Path) -> None:
    metadata = {"huggingface": '{"info": {"features": {}}}'}
    table = pa.table({"text": ["plum"], "kind": [0]}, metadata=metadata)
    pq.write_table(table, "a.parquet")
    selfattn_lm.predict(run, "a.parquet", out="b.parquet")
    assert pq.read_schema("b.parquet").metadata == table.schema.metadata


def test_csv_cells_stay_texts_in_parquet_and_all_newlines_survive_in_csv(run: Path) -> None:
    rows = [("007", "a\rb"), ("1.50", "c\r\nd"), ("true", "e\nf"), ("", ' "g" ')]
    write_csv(Path("a.csv"), rows, ("id", "text"))
    selfattn_lm.predict(run, "a.csv", out="b.csv")
    selfattn_lm.predict(run, "b.csv", out="c.parquet")
    table = pq.read_table("c.parquet")
    ids = table["id"].to_pylist()
    texts = table["text"].to_pylist()
    assert list(zip(ids, texts, strict=True)) == rows


def test_a_file_of_empty_objects_is_refused_with_the_reason(run: Path) -> None:
    write_jsonl(Path("a.jsonl"), [{}, {}])
    reason = "an object without columns; no row can be read"
    with pytest.raises(UserError, match=rf"^a\.jsonl, row 1: {reason}\.$"):
        selfattn_lm.predict(run, "a.jsonl")


# Where to


def test_the_input_can_be_the_output(run: Path) -> None:
    file = write_csv(Path("a.csv"), [("a plum", "x")])
    selfattn_lm.predict(run, "a.csv", out="./a.csv")
    header, row = file.read_text(encoding="utf-8").splitlines()
    assert header == "text,label,prediction,probability"
    assert row.startswith("a plum,x,fruit,")


def test_the_input_cannot_be_the_output_if_rows_would_be_lost(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    content = "text,label\na plum,x\na pear\n"
    file = tmp_path / "a.csv"
    file.write_text(content, encoding="utf-8")
    assert main(["predict", str(run), "a.csv", "--out", "a.csv"]) == 2
    reason = (
        "is the input, and its unreadable rows (1) would be lost; name another file with --out."
    )
    assert capsys.readouterr().err.splitlines()[-1] == f"selfattn: a.csv: {reason}"
    assert file.read_text(encoding="utf-8") == content
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_is_no_output_file_and_a_missing_folder_is_made(run: Path) -> None:
    write_csv(Path("a.csv"), [("a plum", "x")])
    Path("folder.csv").mkdir()
    with pytest.raises(UserError, match=r"^folder.csv: is a folder; name a file with --out\.$"):
        selfattn_lm.predict(run, "a.csv", out="folder.csv")
    assert selfattn_lm.predict(run, "a.csv", out="new/b.csv.gz").rows == 1


def test_the_same_rows_give_the_same_packed_bytes(run: Path) -> None:
    write_csv(Path("a.csv"), [("a plum", "x")])
    file = Path("b.csv.gz")
    selfattn_lm.predict(run, "a.csv", out=file)
    first = file.read_bytes()
    selfattn_lm.predict(run, "a.csv", out=file)
    assert file.read_bytes() == first
