"""Bytes and halves of characters that are no text, and what ends a line."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import SMALL, sentences

from selfattn_lm import predict, train
from selfattn_lm.cli import main
from selfattn_lm.config import DataConfig
from selfattn_lm.data.readers import read_rows
from selfattn_lm.data.rows import NoRowsError, Row
from selfattn_lm.data.sources import load_splits, split_in_memory, stream_texts
from selfattn_lm.errors import UserError

HALF = "a lone surrogate (\\ud83d)"
BYTE = "not UTF-8 (byte 0xe9)"
FILES: dict[str, Any] = {
    "a.csv": b"id,text,label\n1,one,x\n2,caf\xe9,x\n\xe9,three,y\n4,four,\xe9\n",
    "a.tsv": b"id\ttext\tlabel\n1\tone\tx\n2\tcaf\xe9\tx\n\xe9\tthree\ty\n4\tfour\t\xe9\n",
    "a.jsonl": b'{"id": "1", "text": "one", "label": "x"}\n{"id": "2", "text": "caf\xe9", "label": "x"}\n'
    b'{"id": "\xe9", "text": "three", "label": "y"}\n{"id": "4", "text": "four", "label": "\xe9"}\n',
}
FILES["a.json"] = b"[" + FILES["a.jsonl"].strip().replace(b"\n", b",") + b"]"
FILES |= {
    f"half.{name[2:]}": FILES[name].replace(b"\xe9", b"\\ud83d") for name in ("a.jsonl", "a.json")
}


def written(path: Path, contents: bytes) -> Path:
    path.write_bytes(contents)
    return path


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_text_becomes_a_mark_in_its_own_cell_and_is_named(
    name: str, tmp_path: Path
) -> None:
    rows = list(read_rows(written(tmp_path / name, FILES[name])))
    problem = HALF if name.startswith("half") else BYTE
    values = [list((row.values or {}).values()) for row in rows]
    assert values == [
        ["1", "one", "x"],
        ["2", "caf\ufffd", "x"],
        ["\ufffd", "three", "y"],
        ["4", "four", "\ufffd"],
    ]
    assert [dict(row.damaged) for row in rows] == [
        {},
        {"text": problem},
        {"id": problem},
        {"label": problem},
    ]


def test_halves_inside_names_lists_and_objects_are_found_and_whole_pairs_are_kept(
    tmp_path: Path,
) -> None:
    line = rb'{"o\ud83d": 1, "list": ["\ude00", {"a": "\ud83d"}], "whole": "\ud83c\udf4e", "text": "a"}'
    row = next(read_rows(written(tmp_path / "a.jsonl", line)))
    assert row.values == {
        "o\ufffd": 1,
        "list": ["\ufffd", {"a": "\ufffd"}],
        "whole": "🍎",
        "text": "a",
    }
    assert row.damaged == {"o\ufffd": HALF, "list": "a lone surrogate (\\ude00)"}


@pytest.mark.parametrize("name", FILES)
def test_training_refuses_a_text_or_a_label_that_is_no_text_with_its_row(
    name: str, tmp_path: Path
) -> None:
    path = written(tmp_path / name, FILES[name])
    problem = HALF if name.startswith("half") else BYTE
    line = " (line 3)" if name[2:] in ("csv", "tsv") else ""
    advice = "fix or remove the row." if problem == HALF else "save the file as UTF-8."
    for read in (load_splits, lambda config: list(stream_texts(config))):
        with pytest.raises(UserError) as caught:
            read(DataConfig(str(path)))
        assert str(caught.value) == f"{path}, row 2{line}: {problem} in column 'text'; {advice}"
    texts = DataConfig(str(path), text_column=("id",))
    with pytest.raises(UserError, match="in column 'id'"):
        load_splits(texts)


def test_texts_in_memory_are_held_to_the_same_rule() -> None:
    with pytest.raises(UserError) as caught:
        split_in_memory("texts", ["a", "\ud83d"], ["x", "y"])
    assert str(caught.value) == f"texts, row 2: {HALF} in column 'text'; fix or remove the row."
    with pytest.raises(UserError) as caught:
        split_in_memory("texts", ["a", "b"], ["x", "\ud83d"])
    assert str(caught.value) == f"texts, row 2: {HALF} in column 'label'; fix or remove the row."


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_predicting_goes_on_and_keeps_every_row(
    name: str, form: str, run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, out = written(tmp_path / name, FILES[name]), tmp_path / f"out.{form}"
    done = predict(run, str(path), out=out)
    assert (done.rows, done.bad) == (4, 1)
    rows = [row.values or {} for row in read_rows(out)]
    assert [row["id"] for row in rows] == ["1", "2", "\ufffd", "4"]
    assert [bool(row["prediction"]) for row in rows] == [True, False, True, True]
    problem = HALF if name.startswith("half") else BYTE
    places = (
        ["row 2 (line 3)", "row 3 (line 4)"] if name[2:] in ("csv", "tsv") else ["row 2", "row 3"]
    )
    assert caplog.messages == [
        f"{path}, {places[0]}: {problem} in column 'text', so no prediction",
        f"{path}, {places[1]}: {problem} in column 'id', written as U+FFFD",
    ]


def test_a_text_on_the_command_line_may_be_no_text(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["predict", str(run), "--text", "a \ud83d", "--text", "caf\udce9", "--text", "plum"])
        == 0
    )
    said = capsys.readouterr()
    assert [line.split(",")[1] for line in said.out.splitlines()[1:]] == ["", "", "fruit"]
    assert said.err.splitlines() == [
        f"--text, row 1: {HALF} in column 'text', so no prediction",
        f"--text, row 2: {BYTE} in column 'text', so no prediction",
    ]


def test_a_file_whose_name_is_not_utf_8_is_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9.csv"
    path.write_text(
        "text,label\n" + "".join(f"{text},{label}\n" for text, label in sentences(60)),
        encoding="utf-8",
    )
    result = train(str(path), out=tmp_path / "run", **{**SMALL, "training": {"epochs": 1}})
    assert "caf\\udce9.csv" in (result.folder / "README.md").read_text(encoding="utf-8")
    assert predict(result.folder, str(path), out=tmp_path / "out.csv").rows == 60


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_line_ends_only_in_a_newline(name: str, tmp_path: Path) -> None:
    texts = ["a\rb", "c\u2028d\u2029e", "f\x0bg\x0ch\x85i", "last"]
    lines = (
        texts
        if name == "a.txt"
        else [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    )
    path = written(tmp_path / name, f"{lines[0]}\n{lines[1]}\r\n{lines[2]}\n{lines[3]}".encode())
    assert [row.values for row in read_rows(path)] == [{"text": text} for text in texts]


@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_a_carriage_return_inside_a_cell_is_part_of_it(form: str, tmp_path: Path) -> None:
    mark = "\t" if form == "tsv" else ","
    path = written(
        tmp_path / f"a.{form}",
        f'text{mark}label\r\na\rb{mark}x\r\n"c\r{mark}d"{mark}y\r\n'.encode(),
    )
    assert [row.values for row in read_rows(path)] == [
        {"text": "a\rb", "label": "x"},
        {"text": f"c\r{mark}d", "label": "y"},
    ]


@pytest.mark.parametrize(
    ("contents", "forms"),
    [(b"text,label\na,x\n", ("csv", "csv")), (b"text\tlabel\na\tx\n", ("tsv", "tsv")),
     (b'{"text": "a", "label": "x"}\n', ("jsonl", "jsonl")), (b'[{"text": "a", "label": "x"}]', ("json", "json")),
     (b"a plum, and iron\n", ("csv", "txt"))],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_the_format_of_a_pipe_is_seen_by_how_it_begins(
    contents: bytes, forms: tuple[str, str], packed: bool, tmp_path: Path
) -> None:
    for usual, form in zip(("csv", "txt"), forms, strict=True):
        reading, writing = os.pipe()
        os.write(writing, gzip.compress(contents) if packed else contents)
        os.close(writing)
        path = Path(f"/dev/fd/{reading}")
        rows: list[Row] = []
        header: list[str] = []
        try:
            rows = list(read_rows(path, stream_form=usual))
        except NoRowsError as error:
            header = error.columns
        os.close(reading)
        if form == "csv" and b"iron" in contents:
            assert header == ["a plum", " and iron"]
        else:
            expected = (
                {"text": "a plum, and iron"} if form == "txt" else {"text": "a", "label": "x"}
            )
            assert [row.values for row in rows] == [expected]


def test_a_pipe_can_be_trained_on_and_not_pretrained_on(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"text,label\na,x\nb,y\n")
    os.close(writing)
    config = DataConfig(f"/dev/fd/{reading}")
    with pytest.raises(UserError) as caught:
        list(stream_texts(config))
    reason = "a pipe can be read only once, and pretraining reads its texts several times; write them to a file."
    assert str(caught.value) == f"{config.source}: {reason}"
    assert load_splits(config)["train"].texts == ["a", "b"]
    os.close(reading)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.parquet"])
def test_a_header_without_rows_gives_a_header_and_is_refused_in_training(
    name: str, run: Path, tmp_path: Path
) -> None:
    path = tmp_path / name
    if name == "a.parquet":
        pq.write_table(
            pa.table({"id": pa.array([], pa.int8()), "text": pa.array([], pa.string())}), path
        )
    else:
        path.write_text("id\ttext\n" if name == "a.tsv" else "id,text\n", encoding="utf-8")
    done = predict(run, str(path), out=tmp_path / "out.csv")
    assert (done.rows, done.bad) == (0, 0)
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == "id,text,prediction,probability\n"
    with pytest.raises(UserError) as caught:
        load_splits(DataConfig(str(path)))
    assert str(caught.value) == f"{path}: the file has no rows."


@pytest.mark.parametrize(
    "contents",
    [{"text": {"0": "a", "1": "b"}, "label": {"0": "x", "1": "y"}}, {"text": ["a", "b"], "label": ["x", "y"]},
     {"columns": ["text", "label"], "index": [0], "data": [["a", "x"]]}],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_table_that_is_written_column_by_column_is_refused(
    contents: object, name: str, tmp_path: Path
) -> None:
    path = written(tmp_path / name, json.dumps(contents).encode())
    with pytest.raises(UserError) as caught:
        list(read_rows(path))
    assert str(caught.value).startswith(f"{path}: holds a table column by column (")
    assert str(caught.value).endswith(
        "write an object for each row: df.to_json(path, orient='records')."
    )


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_table_whose_rows_are_in_one_object_is_refused(name: str, tmp_path: Path) -> None:
    rows = {str(number): {"text": "a", "label": "x"} for number in range(3)}
    path = written(tmp_path / name, json.dumps(rows).encode())
    with pytest.raises(UserError) as caught:
        list(read_rows(path))
    reason = "holds a table as one object with the rows by number, not row by row"
    assert (
        str(caught.value)
        == f"{path}: {reason}; write an object for each row: df.to_json(path, orient='records')."
    )


@pytest.mark.parametrize(
    ("column", "said"),
    [(pa.array([b"a", b"b"]), "bytes, not a text; decode them to a column of strings"),
     (pa.array([b"a", b"b"], pa.large_binary()), "bytes, not a text; decode them to a column of strings"),
     (pa.array([["a"], ["b"]]), "a list, not a text; join it to one string"),
     (pa.array([{"a": "b"}, {"a": "c"}]), "an object, not a text; name one of its fields as a column"),
     (pa.array([1, 2]), "1, not a text; write it as a string"),
     (pa.array(["a", "b"]).dictionary_encode(), ""), (pa.array(["a", "b"], pa.large_string()), "")],
)  # fmt: skip
def test_a_parquet_column_is_read_if_it_holds_texts(
    column: pa.Array, said: str, run: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": column, "label": ["fruit", "metal"]}), path)
    if not said:
        assert load_splits(DataConfig(str(path)))["train"].texts == ["a", "b"]
        assert predict(run, str(path), out=tmp_path / "out.csv").bad == 0
        return
    with pytest.raises(UserError) as caught:
        load_splits(DataConfig(str(path)))
    assert str(caught.value) == f"{path}, row 1: column 'text' holds {said}."
    with pytest.raises(UserError, match=r"column .text. holds .+, not texts; write it as strings"):
        predict(run, str(path), out=tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
