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

pytestmark = pytest.mark.usefixtures("in_own_folder")


def column(rows: list[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]


def send_to_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_labels_that_the_run_does_not_know_are_named_or_skipped_and_counted(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    known = list(zip(TEXTS, LABELS, strict=True))
    write_csv(tmp_path / "a.csv", [*known, ("oak", "wood"), ("elm", "wood"), ("slate", "stone")])
    reason = "a.csv: the run does not know the labels 'wood' (2 rows), 'stone' (1 row)"
    message = f"{reason}; --skip-unknown leaves them out."
    assert refusal(capsys, "evaluate", run, "a.csv", "--out", "scores") == message
    assert main(["evaluate", str(run), "a.csv", "--out", "scores", "--skip-unknown"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].strip() == "a.csv: 3 rows"
    assert printed[1].strip() == "text from 'text'; label from 'label'"
    assert printed[2].strip() == "skipped rows with unknown labels: wood (2), stone (1)"
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text(encoding="utf-8"))
    scores = metrics["test"]
    assert scores["skipped"] == {"wood": 2, "stone": 1}
    assert (scores["rows"], scores["accuracy"]["value"]) == (3, 1.0)
    write_csv(tmp_path / "b.csv", [("oak", "wood")])
    message = "b.csv: the run knows none of the labels, only fruit, metal, water."
    assert refusal(capsys, "evaluate", run, "b.csv", "--skip-unknown") == message


def test_texts_of_the_command_line_are_predicted_also_with_a_dash_in_front(
    run: Path, capsys: Capture
) -> None:
    rows, said = predicted(capsys, run, "--text", TEXTS[0], "--text", "- iron, tin")
    assert column(rows, "text") == [TEXTS[0], "- iron, tin"]
    assert column(rows, "prediction") == ["fruit", "metal"]
    assert said == ""


def test_lines_of_standard_input_are_predicted(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    lines = [*TEXTS, "", "apple é"]
    send_to_stdin(monkeypatch, "\n".join(lines).encode())
    rows, said = predicted(capsys, run, "-")
    assert column(rows, "prediction") == [*LABELS, "", "fruit"]
    assert said == "-, row 4: an empty text, so no prediction\n"


@pytest.mark.parametrize(
    ("first", "form"), [('{"text": "a plum"}', "jsonl"), ("text,label", "csv")]
)
def test_standard_input_that_begins_like_another_format_is_told(
    first: str, form: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    send_to_stdin(monkeypatch, first.encode())
    rows, said = predicted(capsys, run, "-")
    assert column(rows, "text") == [first]
    reason = f"-: read as one text per line, but it begins like {form}"
    assert said == f"{reason}; --input-format says what it is\n"


WAITS = (
    "-: read to its end first, to see whether its fields are quoted;"
    " --data.quoting standard or none predicts rows as they arrive\n"
)


@pytest.mark.parametrize(("quoting", "expected"), [("auto", WAITS), ("standard", "")])
def test_csv_on_standard_input_waits_for_its_end_unless_its_quoting_is_given(
    quoting: str, expected: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    send_to_stdin(monkeypatch, b"text,id\na plum,1\n")
    rows, said = predicted(capsys, run, "-", "--input-format", "csv", "--data.quoting", quoting)
    assert column(rows, "prediction") == ["fruit"]
    assert said == expected


def test_a_parquet_file_on_standard_input_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    send_to_stdin(monkeypatch, b"PAR1" + b"\xff" * 40)
    assert main(["predict", str(run), "-"]) == 2
    message = "-: is parquet, not txt; give the name of a file, or /dev/stdin."
    assert capsys.readouterr().err == f"selfattn: {message}\n"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read predictions back, in the format of the file's name."""
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    text = content.decode("utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    delimiter = ","
    if path.suffix == ".tsv":
        delimiter = "\t"
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.jsonl", "out.parquet", "out.csv.gz"])
def test_predictions_are_written_beside_the_columns_of_the_input(
    name: str, run: Path, tmp_path: Path, capsys: Capture
) -> None:
    ids = ["01", "NA", "", "None"]
    texts = [*TEXTS, 'the "plum",\n\ta pear']
    write_csv(tmp_path / "a.csv", list(zip(ids, texts, strict=True)), ("id", "text"))
    assert main(["predict", str(run), "a.csv", "--out", name]) == 0
    assert capsys.readouterr().out == f"4 rows, 0 of them bad, written to {name}\n"
    rows = read_rows(tmp_path / name)
    assert column(rows, "id") == ids
    assert column(rows, "text") == texts
    assert column(rows, "prediction") == [*LABELS, "fruit"]
    for row in rows:
        assert 1 / 3 < float(row["probability"]) <= 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", name]


def test_more_labels_and_every_probability_are_written_when_asked_for(
    run: Path, capsys: Capture
) -> None:
    (row,), _ = predicted(capsys, run, "--text", TEXTS[0], "--top-k", "3", "--probabilities")
    ranked = [row["prediction"], row["prediction_2"], row["prediction_3"]]
    probabilities = [
        float(row["probability"]),
        float(row["probability_2"]),
        float(row["probability_3"]),
    ]
    assert ranked[0] == "fruit"
    assert sorted(ranked) == sorted(LABELS)
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    for label, probability in zip(ranked, probabilities, strict=True):
        assert float(row[f"probability:{label}"]) == probability


def test_a_prediction_that_is_not_probable_enough_is_left_empty(run: Path, capsys: Capture) -> None:
    texts = ("--text", TEXTS[0], "--text", "zzz")
    before, _ = predicted(capsys, run, *texts)
    least = sum(float(row["probability"]) for row in before) / 2
    rows, _ = predicted(capsys, run, *texts, "--min-probability", least)
    assert column(rows, "prediction") == ["fruit", ""]
    assert column(rows, "probability") == column(before, "probability")


def test_a_column_of_the_input_with_the_same_name_is_kept(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    write_csv(tmp_path / "a.csv", [(TEXTS[0], "old")], ("text", "prediction"))
    rows, said = predicted(capsys, run, "a.csv")
    reason = "a.csv: has a column 'prediction' already"
    added = "prediction_new, probability_new"
    assert said == f"{reason}, so the added ones are {added}\n"
    assert (rows[0]["prediction"], rows[0]["prediction_new"]) == ("old", "fruit")
    _, said = predicted(capsys, run, "a.csv", "--probabilities")
    assert said == f"{reason}, so the added ones are {added} and so on\n"


def check_bad_rows(
    name: str, lines: list[str], problems: list[str], run: Path, capsys: Capture
) -> None:
    """Predict the lines of a file, all of which are bad but the first and the last row."""
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows, said = predicted(capsys, run, name)
    assert column(rows, "prediction") == ["fruit", *[""] * len(problems), "metal"]
    assert [rows[0]["id"], rows[1]["id"], rows[-1]["id"]] == ["0", "1", "9"]
    for line, problem in zip(said.splitlines(), problems, strict=True):
        assert_says(line, f"{name}, {problem}, so no prediction")


def test_bad_rows_of_csv_are_reported_and_keep_their_place(run: Path, capsys: Capture) -> None:
    lines = ["id,text", '0,"an apple, a plum"', "1,", '2,"a"b', "3,a,b", '4,"",', "9,tin"]
    problems = [
        "row 2 (line 3): an empty text",
        "row 3 (line 4): broken line: …",
        "row 4 (line 5): 3 fields where the header has 2",
        "row 5 (line 6): 3 fields where the header has 2",
    ]
    check_bad_rows("a.csv", lines, problems, run, capsys)


def test_bad_rows_of_jsonl_are_reported_and_keep_their_place(run: Path, capsys: Capture) -> None:
    lines = [
        '{"id": "0", "text": "an apple"}',
        '{"id": "1", "text": null}',
        '{"id": "2", "text": 5}',
        "{",
        '{"id": "4"}',
        "[]",
        '{"id": "9", "text": "tin"}',
    ]
    problems = [
        "row 2: an empty text",
        "row 3: column 'text' holds 5, not a text; write it as a string",
        "row 4: broken line: …",
        "row 5: no column 'text'",
        "row 6: broken line: [] is not an object",
    ]
    check_bad_rows("a.jsonl", lines, problems, run, capsys)


def test_of_many_bad_rows_twenty_are_named_and_all_are_counted(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    write_csv(tmp_path / "a.csv", [("", "x")] * 30)
    _, said = predicted(capsys, run, "a.csv")
    lines = said.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "a.csv: 30 bad rows in all got an empty prediction"


def test_parquet_keeps_the_types_of_its_columns(run: Path, tmp_path: Path) -> None:
    types = [
        ("id", pa.int8()),
        ("when", pa.timestamp("ms")),
        ("tags", pa.list_(pa.string())),
        ("text", pa.large_string()),
        ("kind", pa.dictionary(pa.int32(), pa.string())),
        ("score", pa.float32()),
    ]
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
