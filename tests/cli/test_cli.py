import csv
import gzip
import hashlib
import io
import json
import logging
import os
import pickle
import re
import shutil
import sys
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from helpers import assert_says, write_csv

from selfattn_lm import Interrupted
from selfattn_lm.cli import main

TEXTS = ["the apple and a plum", "rain on the lake", "very iron tin"]
LABELS = ["fruit", "water", "metal"]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def broken(run: Path, tmp_path: Path) -> Path:
    """A copy of the run for a test to break."""
    return shutil.copytree(run, tmp_path / "broken")


def refusal(capsys: Capture, *arguments: object) -> str:
    """What the command line says on the one line with which it refuses; it leaves all files as they were."""
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before
    found = re.fullmatch(r"selfattn: (.+)\n", said.err)
    assert found is not None, said.err
    return found[1]


def predicted(capsys: Capture, *arguments: object) -> tuple[list[dict[str, str]], str]:
    """The rows of csv on standard output, and what was said."""
    assert main(["predict", *map(str, arguments)]) == 0
    said = capsys.readouterr()
    return list(csv.DictReader(io.StringIO(said.out))), said.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data.sorce", "x"], "Unknown option: --data.sorce…"),
        (["--model.kind", "x"], 'Invalid value "x" for --model.kind…'),
        (["--model.width", "2.7"], 'Invalid value for --model.width: …"2.7"…'),
        (["--training.learning-rate", "x"], 'Invalid value for --training.learning-rate: …"x"…'),
        (["--training.epochs", "0"], "training.epochs must be at least 1, got 0."),
        (["--model.heads", "3"], "model.heads: 3 heads do not divide model.width 128."),
        (["--init", "none"], "none: no such run folder; `selfattn train DATA --out none` makes one."),
        (["--data.label-column", "topic"], "{data}: no column 'topic'; found 'text', 'label'. Use"
         " --data.label-column."),
        (["--data.test", "none.csv"], "none.csv: no such file."),
        (["--config", "none.yaml"], "none.yaml: the config file cannot be read (…)."),
    ],
)  # fmt: skip
def test_a_wrong_flag_of_train_is_refused(
    flags: list[str], message: str, data: Path, capsys: Capture
) -> None:
    source = data / "train.csv"
    assert_says(
        refusal(capsys, "train", source, "--out", "new", *flags), message.format(data=source)
    )


def test_a_fraction_is_refused_also_where_auto_may_stand(data: Path, capsys: Capture) -> None:
    flags = ("--model.layers", "1", "--training.max-minutes", "0.001", "--training.epochs", "1.5")
    message = refusal(capsys, "train", data / "train.csv", "--out", "new", *flags)
    assert_says(message, 'Invalid value for --training.epochs: …"1.5"…')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {widht: 3}", "no setting model.widht; did you mean model.width?"),
        ("optimizer: adam", "no setting optimizer; there are seed, data, tokenizer, model, training."),
        ("model: {width: wide}", "model.width: 'wide' is not a whole number."),
        ("model: {width: 2.7}", "model.width: 2.7 is not a whole number."),
        ("model: {kind: transformer}", "model.kind: 'transformer' is not 'attention' or 'bag' or 'cnn' or 'lstm'."),
        ("training: {epochs: many}", "training.epochs: 'many' is not a whole number or 'auto'."),
        ("data: {label_column: no}", "data.label_column: False is not a text (quote it)."),
        ("data: {validation_fraction: 1}", "data.validation_fraction must be from 0.001 to 0.9, got 1."),
        ("model: 3", "model holds 3, not settings of the form key: value."),
        ("- model", "holds \"['model']\", not settings of the form key: value."),
        ("format: 3", "format 3, and this version reads format 2; update selfattn_lm."),
        ("format: 1", "format 1, and this version reads format 2; train the run again."),
        ("model: {width: [", "not a YAML file: …."),
    ],
)  # fmt: skip
def test_a_wrong_config_file_is_refused(
    text: str, message: str, data: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    assert_says(
        refusal(capsys, "train", data, "--out", "new", "--config", "a.yaml"), f"a.yaml: {message}"
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [("a", "x"), ("b", "x")],
            "a.csv: every row has the label 'x'; a classifier needs two or more.",
        ),
        (
            [("a", "x"), ("b",)],
            "a.csv, row 2 (line 3): 1 field where the header has 2; fix or remove the row.",
        ),
        ([], "a.csv: the file has no rows."),
        (None, "a.csv: no such file or folder, and not a hub name of the form owner/name."),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused(
    rows: list[tuple[str, ...]] | None, message: str, tmp_path: Path, capsys: Capture
) -> None:
    if rows is not None:
        write_csv(tmp_path / "a.csv", rows)
    assert refusal(capsys, "train", "a.csv", "--out", "new") == message


def test_a_missing_or_wrong_verb_or_data_is_refused(capsys: Capture) -> None:
    assert_says(refusal(capsys, "trian"), 'Unknown command "trian"…"train"…')
    message = "train: no data; name a file, a folder, a hub name such as fancyzhx/ag_news, or stdlib-docs."
    assert refusal(capsys, "train") == message


@pytest.mark.parametrize(
    "arguments", [["train", "-"], ["pretrain", "-"], ["study", "-"], ["evaluate", "run", "-"]]
)
def test_standard_input_is_refused_where_a_file_is_needed(
    arguments: list[str], capsys: Capture
) -> None:
    reason = "-: only the FILE of `selfattn predict` may be standard input"
    assert refusal(capsys, *arguments) == f"{reason}; name a file, a folder or a hub name."


def test_the_flags_of_one_call_do_not_count_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def remember(data: str, **options: Any) -> None:
        calls.append(options)

    monkeypatch.setattr("selfattn_lm.api.train", remember)
    assert main(["train", "a.csv", "--model.width", "128", "--training.epochs", "auto"]) == 0
    assert main(["train", "a.csv", "--seed", "3"]) == 0
    first, second = calls
    # A flag that is given counts, even with the value of its default.
    assert (first["model.width"], first["training.epochs"]) == (128, "auto")
    assert "seed" not in first
    assert second["seed"] == 3
    assert "model.width" not in second


def test_a_run_is_neither_replaced_nor_contradicted_nor_resumed_unasked(
    broken: Path, data: Path, capsys: Capture
) -> None:
    message = f"{broken}: exists; --overwrite replaces it, --out names another folder."
    assert refusal(capsys, "train", data, "--out", broken) == message
    message = (
        f"{broken}: the run is finished, so there is nothing to resume; train without --resume."
    )
    assert refusal(capsys, "train", data, "--out", broken, "--resume") == message
    message = (
        f"model.width=32 contradicts {broken}, the run to start from, which has 16; leave it out."
    )
    assert (
        refusal(capsys, "train", data, "--out", "new", "--init", broken, "--model.width", "32")
        == message
    )
    message = "new: no checkpoint of an interrupted run, so there is nothing to resume; train without --resume."
    assert refusal(capsys, "train", data, "--out", "new", "--resume") == message
    message = "none.csv: no such file or folder, and not a hub name of the form owner/name."
    assert refusal(capsys, "train", "none.csv", "--out", broken, "--overwrite") == message


@pytest.mark.parametrize(
    ("gone", "made", "message"),
    [
        (".", "", "no such run folder; `selfattn train DATA --out {run}` makes one."),
        ("labels.json", "", "labels.json is missing, so the run is broken; train it again."),
        ("model.safetensors", "", "no model.safetensors, so not a run folder; `selfattn train` makes one."),
        ("model.safetensors", "checkpoints/last.ckpt", "training has not finished; go on with"
         " `selfattn train --resume --out {run}`."),
        ("model.safetensors", "model.pt", "weights in model.pt, which may run code when opened; only model.safetensors"
         " is."),
    ],
)  # fmt: skip
def test_a_run_that_is_not_whole_is_refused(
    gone: str, made: str, message: str, broken: Path, capsys: Capture
) -> None:
    shutil.rmtree(broken) if gone == "." else (broken / gone).unlink()
    if made:
        (broken / made).parent.mkdir(exist_ok=True)
        (broken / made).touch()
    assert (
        refusal(capsys, "predict", broken, "--text", "a")
        == f"{broken}: {message.format(run=broken)}"
    )


def test_a_run_with_broken_files_is_refused_by_the_file(broken: Path, capsys: Capture) -> None:
    config = yaml.safe_load((broken / "config.yaml").read_text(encoding="utf-8"))
    (broken / "config.yaml").write_text(yaml.safe_dump(config | {"format": 3}), encoding="utf-8")
    message = (
        f"{broken}/config.yaml: format 3, and this version reads format 2; update selfattn_lm."
    )
    assert refusal(capsys, "predict", broken, "--text", "a") == message
    (broken / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (broken / "labels.json").write_text('{"a": 1}', encoding="utf-8")
    message = f"{broken}/labels.json: not a list of label names; train the run again."
    assert refusal(capsys, "predict", broken, "--text", "a") == message
    (broken / "labels.json").write_text('["a", "b"]', encoding="utf-8")
    reason = "labels.json is not the one that config.yaml belongs to (sha256)"
    message = f"{broken}: {reason}; restore it, or train the run again."
    assert refusal(capsys, "predict", broken, "--text", "a") == message
    config["files"]["labels.json"] = hashlib.sha256(b'["a", "b"]').hexdigest()
    (broken / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    message = refusal(capsys, "predict", broken, "--text", "a")
    assert message.startswith(
        f"{broken}: model.safetensors does not fit config.yaml and labels.json: "
    )


class MakesFolder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("kind", ["pickle", "cut off", "empty"])
def test_weights_that_are_not_whole_safetensors_are_refused_and_run_nothing(
    kind: str, broken: Path, tmp_path: Path, capsys: Capture
) -> None:
    weights = broken / "model.safetensors"
    harmful = pickle.dumps(MakesFolder(tmp_path / "harm"))
    weights.write_bytes(
        {"pickle": harmful, "cut off": weights.read_bytes()[:-9], "empty": b""}[kind]
    )
    message = refusal(capsys, "predict", broken, "--text", "a")
    expected = (
        re.escape(f"{weights}: cannot be read as safetensors (")
        + ".+"
        + re.escape("); train the run again.")
    )
    assert re.fullmatch(expected, message), message
    assert not (tmp_path / "harm").exists()
    pickle.loads(harmful)
    assert (tmp_path / "harm").exists()  # so it would have done harm


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "predict: give a FILE, or - for standard input, or --text, and only one of them."),
        (["a.csv", "--text", "a"], "predict: give a FILE, or - for standard input, or --text, and only one of them."),
        (["a.csv", "--out", "a.xlsx"], "a.xlsx: not a format that is written; name it .csv, .tsv, .jsonl or .parquet."),
        (["a.csv", "--top-k", "0"], "--top-k: 0 is not 1 or more."),
        (["a.csv", "--min-probability", "2"], "--min-probability: 2 is not from 0 to 1."),
        (["a.csv", "--data.text-column", "b"], "a.csv: no column 'b'; found 'text', 'label'. Use --data.text-column."),
        (["a.csv", "--out", "a.csv/b.csv"], "a.csv/b.csv: cannot be written (…); name another place with --out."),
        *(([f"none.{form}", "--out", "new.csv"], f"none.{form}: no such file.") for form in ("csv", "parquet")),
        (["bad.parquet.gz", "--out", "new.csv"], "bad.parquet.gz: broken gzip: …."),
        (["bad.jsonl", "--out", "new.csv"], "bad.jsonl, row 1: broken line: …; no row can be read."),
    ],
)  # fmt: skip
def test_a_wrong_call_of_predict_is_refused(
    arguments: list[str], message: str, run: Path, tmp_path: Path, capsys: Capture
) -> None:
    write_csv(tmp_path / "a.csv", [("a", "x")])
    (tmp_path / "bad.parquet.gz").write_bytes(b"PAR1")
    (tmp_path / "bad.jsonl").write_bytes(b"text\n")
    assert_says(refusal(capsys, "predict", run, *arguments), message)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["evaluate", "predict", "train"]),
        (
            ["train", "--help"],
            ["--config", "--seed", "--data.text-column", "--model.width", "--training.batch-size"],
        ),
        (["predict", "--help"], ["--text", "--top-k", "--min-probability", "--data.text-column"]),
    ],
)
def test_help_names_what_there_is(arguments: list[str], words: list[str], capsys: Capture) -> None:
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert [word for word in words if word not in said] == []


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
        == f"-: read as one text per line, but it begins like {form}; --input-format says what it is\n"
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


def test_no_log_line_is_written_to_a_stream_that_was_closed_since(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    logger = logging.getLogger("selfattn_lm")
    before = (logger.handlers[:], logger.level)
    write_csv(tmp_path / "a.csv", [("", "x"), ("an apple", "y")])
    with io.StringIO() as stream, redirect_stderr(stream):
        assert main(["predict", str(run), "a.csv"]) == 0
        assert stream.getvalue() == "a.csv, row 1 (line 2): an empty text, so no prediction\n"
    logging.getLogger("selfattn_lm.data").warning("said later in the same process")
    assert capsys.readouterr().err == ""  # else "--- Logging error ---"
    assert (logger.handlers, logger.level) == before


def test_a_command_that_fails_leaves_the_logger_as_it_was(capsys: Capture) -> None:
    logger = logging.getLogger("selfattn_lm")
    before = (logger.handlers[:], logger.level)
    assert main(["predict", "none", "--text", "a"]) == 2
    assert (logger.handlers, logger.level) == before


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


@pytest.mark.parametrize(
    ("interruption", "message"),
    [
        (Interrupted("run: stopped; the run is kept."), "run: stopped; the run is kept."),
        (KeyboardInterrupt(), "interrupted; nothing was written."),
    ],
)
def test_an_interruption_is_reported_in_one_line_with_exit_code_130(
    interruption: BaseException,
    message: str,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> None:
        raise interruption

    monkeypatch.setattr("selfattn_lm.runs.read_run", interrupted)
    assert main(["export", str(run), "--out", "exported"]) == 130
    assert capsys.readouterr().err == f"selfattn: {message}\n"
