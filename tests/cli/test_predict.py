"""Predictions and scores on the command line: what is read, and what is written."""

import csv
import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import LABELS, TEXTS, Capture, predicted, refusal
from helpers import assert_says, write_csv

from selfattn_lm.cli import main


def test_labels_that_the_run_does_not_know_are_named_or_skipped_and_counted(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    rows = [*zip(TEXTS, LABELS, strict=True), ("oak", "wood"), ("elm", "wood"), ("slate", "stone")]
    write_csv(tmp_path / "a.csv", rows)
    message = "a.csv: the run does not know the labels 'wood' (2 rows), 'stone' (1 rows); --skip-unknown leaves them out."
    assert refusal(capsys, "evaluate", run, "a.csv", "--out", "scores") == message
    assert main(["evaluate", str(run), "a.csv", "--out", "scores", "--skip-unknown"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in said[:3]] == [
        "a.csv: 3 rows",
        "text from 'text'; label from 'label'",
        "skipped rows with unknown labels: wood (2), stone (1)",
    ]
    scores = json.loads((tmp_path / "scores" / "metrics.json").read_text(encoding="utf-8"))["test"]
    assert scores["skipped"] == {"wood": 2, "stone": 1}
    assert (scores["rows"], scores["accuracy"]["value"]) == (3, 1.0)
    write_csv(tmp_path / "b.csv", [("oak", "wood")])
    message = "b.csv: the run knows none of the labels, only fruit, metal, water."
    assert refusal(capsys, "evaluate", run, "b.csv", "--skip-unknown") == message


def test_texts_of_the_command_line_are_predicted_also_with_a_dash_in_front(
    run: Path, capsys: Capture
) -> None:
    rows, said = predicted(capsys, run, "--text", TEXTS[0], "--text", "- iron, tin")
    assert [(row["text"], row["prediction"]) for row in rows] == [
        (TEXTS[0], "fruit"),
        ("- iron, tin", "metal"),
    ]
    assert said == ""


def test_lines_of_standard_input_are_predicted(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join([*TEXTS, "", "apple é"]).encode()))
    )
    rows, said = predicted(capsys, run, "-")
    assert [row["prediction"] for row in rows] == [*LABELS, "", "fruit"]
    assert said == "-, row 4: an empty text, so no prediction\n"


@pytest.mark.parametrize(
    ("first", "form"), [('{"text": "a plum"}', "jsonl"), ("text,label", "csv")]
)
def test_standard_input_that_begins_like_another_format_is_told(
    first: str, form: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(first.encode())))
    rows, said = predicted(capsys, run, "-")
    assert [row["text"] for row in rows] == [first]
    assert (
        said
        == f"-: read as one text a line, but it begins like {form}; --input-format says what it is\n"
    )


@pytest.mark.parametrize("quoting", ["auto", "standard"])
def test_csv_on_standard_input_waits_for_its_end_unless_its_quoting_is_given(
    quoting: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"text,id\na plum,1\n")))
    rows, said = predicted(capsys, run, "-", "--input-format", "csv", "--data.quoting", quoting)
    assert [row["prediction"] for row in rows] == ["fruit"]
    reason = "-: read to its end first, to see whether its fields are quoted"
    waits = f"{reason}; --data.quoting standard or none predicts rows as they arrive\n"
    assert said == (waits if quoting == "auto" else "")


def test_a_parquet_file_on_standard_input_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"PAR1" + b"\xff" * 40)))
    assert main(["predict", str(run), "-"]) == 2
    assert capsys.readouterr().err == (
        "selfattn: -: is parquet, not txt; give the name of a file, or /dev/stdin.\n"
    )


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.jsonl", "out.parquet", "out.csv.gz"])
def test_predictions_are_written_beside_the_columns_of_the_input(
    name: str, run: Path, tmp_path: Path, capsys: Capture
) -> None:
    texts = [*TEXTS, 'the "plum",\n\ta pear']
    rows = list(zip(("01", "NA", "", "None"), texts, strict=True))
    write_csv(tmp_path / "a.csv", rows, ("id", "text"))
    assert main(["predict", str(run), "a.csv", "--out", name]) == 0
    assert capsys.readouterr().out == f"4 rows, 0 of them bad, written to {name}\n"
    content = (tmp_path / name).read_bytes()
    written = (gzip.decompress(content) if name.endswith("gz") else content).decode(
        "utf-8", "replace"
    )
    read: list[dict[str, Any]]
    if name == "out.parquet":
        read = pq.read_table(name).to_pylist()
    elif name == "out.jsonl":
        read = [json.loads(line) for line in written.splitlines()]
    else:
        read = list(
            csv.DictReader(io.StringIO(written), delimiter="\t" if name == "out.tsv" else ",")
        )
    assert [(row["id"], row["text"]) for row in read] == rows
    assert [row["prediction"] for row in read] == [*LABELS, "fruit"]
    assert all(1 / 3 < float(row["probability"]) <= 1 for row in read)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", name]


def test_more_labels_and_every_probability_are_written_when_asked_for(
    run: Path, capsys: Capture
) -> None:
    (row,), _ = predicted(capsys, run, "--text", TEXTS[0], "--top-k", "3", "--probabilities")
    ranked = [(row[f"prediction{i}"], float(row[f"probability{i}"])) for i in ("", "_2", "_3")]
    assert ranked == sorted(ranked, key=lambda pair: -pair[1])
    assert {label: float(row[f"probability:{label}"]) for label in sorted(LABELS)} == dict(ranked)
    assert sum(probability for _, probability in ranked) == pytest.approx(1, abs=1e-5)
    assert ranked[0][0] == "fruit"


def test_a_prediction_that_is_not_probable_enough_is_left_empty(run: Path, capsys: Capture) -> None:
    texts = ("--text", TEXTS[0], "--text", "zzz")
    first, second = (float(row["probability"]) for row in predicted(capsys, run, *texts)[0])
    least = (first + second) / 2
    rows, _ = predicted(capsys, run, *texts, "--min-probability", least)
    assert [row["prediction"] for row in rows] == ["fruit", ""]
    assert [float(row["probability"]) for row in rows] == [first, second]


def test_a_column_of_the_input_with_the_same_name_is_kept(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    write_csv(tmp_path / "a.csv", [(TEXTS[0], "old")], ("text", "prediction"))
    rows, said = predicted(capsys, run, "a.csv")
    added = "prediction_new, probability_new"
    assert said == f"a.csv: has a column 'prediction' already, so the added ones are {added}\n"
    assert (rows[0]["prediction"], rows[0]["prediction_new"]) == ("old", "fruit")
    said = predicted(capsys, run, "a.csv", "--probabilities")[1]
    assert (
        said
        == f"a.csv: has a column 'prediction' already, so the added ones are {added} and so on\n"
    )


@pytest.mark.parametrize(
    ("name", "bad", "problems"),
    [
        ("a.csv", ["1,", '2,"a"b', "3,a,b", '4,"",'], ["an empty text", "broken line: …",
         "3 fields where the header has 2", "3 fields where the header has 2"]),
        ("a.jsonl", ['{"id": "1", "text": null}', '{"id": "2", "text": 5}', "{", '{"id": "4"}', "[]"],
         ["an empty text", "column 'text' holds 5, not a text; write it as a string", "broken line: …",
          "no column 'text'", "broken line: [] is not an object"]),
    ],
)  # fmt: skip
def test_bad_rows_are_reported_and_keep_their_place(
    name: str, bad: list[str], problems: list[str], run: Path, tmp_path: Path, capsys: Capture
) -> None:
    first, last = '{"id": "0", "text": "an apple"}', '{"id": "9", "text": "tin"}'
    lines = (
        ["id,text", '0,"an apple, a plum"', *bad, "9,tin"]
        if name == "a.csv"
        else [first, *bad, last]
    )
    (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows, said = predicted(capsys, run, name)
    assert [row["prediction"] for row in rows] == ["fruit", *[""] * len(bad), "metal"]
    assert [rows[0]["id"], rows[1]["id"], rows[-1]["id"]] == ["0", "1", "9"]
    places = [
        f"row {i} (line {i + 1})" if name == "a.csv" else f"row {i}" for i in range(2, len(bad) + 2)
    ]
    for line, place, problem in zip(said.splitlines(), places, problems, strict=True):
        assert_says(line, f"{name}, {place}: {problem}, so no prediction")


def test_of_many_bad_rows_twenty_are_named_and_all_are_counted(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    write_csv(tmp_path / "a.csv", [("", "x")] * 30)
    said = predicted(capsys, run, "a.csv")[1].splitlines()
    assert (len(said), said[-1]) == (21, "a.csv: 30 bad rows in all got an empty prediction")


def test_parquet_keeps_the_types_of_its_columns(run: Path, tmp_path: Path) -> None:
    types = [("id", pa.int8()), ("when", pa.timestamp("ms")), ("tags", pa.list_(pa.string())),
             ("text", pa.large_string()), ("kind", pa.dictionary(pa.int32(), pa.string())),
             ("score", pa.float32())]  # fmt: skip
    rows = [
        {"id": 1, "when": None, "tags": ["a"], "text": TEXTS[0], "kind": "k", "score": 0.1},
        {"id": None, "text": None},
    ]
    table = pa.Table.from_pylist(rows, schema=pa.schema(types))
    pq.write_table(table, tmp_path / "a.parquet")
    assert main(["predict", str(run), "a.parquet", "--out", "b.parquet"]) == 0
    written = pq.read_table(tmp_path / "b.parquet")
    assert written.select(table.column_names).equals(table)
    added = [("prediction", pa.string()), ("probability", pa.float64())]
    assert [(field.name, field.type) for field in written.schema] == types + added
    assert written["prediction"].to_pylist() == ["fruit", None]
