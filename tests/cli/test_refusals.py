"""What the commands refuse: flags, config files, data, and broken runs."""

import hashlib
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import Capture, refusal
from helpers import assert_says, write_csv

pytestmark = pytest.mark.usefixtures("in_own_folder")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data.sorce", "x"], "Unknown option: --data.sorce…"),
        (["--model.kind", "x"], 'Invalid value "x" for --model.kind…'),
        (["--model.width", "2.7"], 'Invalid value for --model.width: …"2.7"…'),
        (["--training.learning-rate", "x"], 'Invalid value for --training.learning-rate: …"x"…'),
        (["--training.epochs", "0"], "training.epochs must be at least 1, got 0."),
        (["--model.heads", "3"], "model.heads: 3 heads do not divide model.width 128."),
        (
            ["--init", "none"],
            "none: no such run folder; `selfattn train DATA --out none` makes one.",
        ),
        (
            ["--data.label-column", "topic"],
            "{data}: no column 'topic'; found 'text', 'label'. Use --data.label-column.",
        ),
        (["--data.test", "none.csv"], "none.csv: no such file."),
        (["--config", "none.yaml"], "none.yaml: the config file cannot be read (…)."),
    ],
)
def test_a_wrong_flag_of_train_is_refused(
    flags: list[str], message: str, data: Path, capsys: Capture
) -> None:
    source = data / "train.csv"
    found = refusal(capsys, "train", source, "--out", "new", *flags)
    assert_says(found, message.format(data=source))


def test_a_fraction_is_refused_also_where_auto_may_stand(data: Path, capsys: Capture) -> None:
    flags = ("--model.layers", "1", "--training.max-minutes", "0.001", "--training.epochs", "1.5")
    message = refusal(capsys, "train", data / "train.csv", "--out", "new", *flags)
    assert_says(message, 'Invalid value for --training.epochs: …"1.5"…')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {widht: 3}", "no setting model.widht; did you mean model.width?"),
        ("epoch: 3", "no setting epoch; did you mean training.epochs?"),
        (
            "optimizer: adam",
            "no setting optimizer; there are seed, data, tokenizer, model, training.",
        ),
        ("model: {width: wide}", "model.width: 'wide' is not a whole number."),
        ("model: {width: 2.7}", "model.width: 2.7 is not a whole number."),
        (
            "model: {kind: transformer}",
            "model.kind: 'transformer' is not 'attention' or 'bag' or 'cnn' or 'lstm'.",
        ),
        ("training: {epochs: many}", "training.epochs: 'many' is not a whole number or 'auto'."),
        (
            "data: {label_column: no}",
            "data.label_column: False is not a text or a list of texts (quote them).",
        ),
        (
            "data: {validation_fraction: 1}",
            "data.validation_fraction must be from 0.001 to 0.9, got 1.",
        ),
        ("model: 3", "model holds 3, not settings of the form key: value."),
        ("- model", "holds \"['model']\", not settings of the form key: value."),
        ("format: 3", "format 3, and this version reads format 2; update selfattn_lm."),
        ("format: 1", "format 1, and this version reads format 2; train the run again."),
        ("model: {width: [", "not a YAML file: …."),
    ],
)
def test_a_wrong_config_file_is_refused(
    text: str, message: str, data: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    found = refusal(capsys, "train", data, "--out", "new", "--config", "a.yaml")
    assert_says(found, f"a.yaml: {message}")


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


@pytest.mark.parametrize(
    "arguments", [["train", "-"], ["pretrain", "-"], ["study", "-"], ["evaluate", "run", "-"]]
)
def test_standard_input_is_refused_where_a_file_is_needed(
    arguments: list[str], capsys: Capture
) -> None:
    reason = "-: only the FILE of `selfattn predict` may be standard input"
    assert refusal(capsys, *arguments) == f"{reason}; name a file, a folder or a hub name."


def test_a_run_is_neither_replaced_nor_contradicted_nor_resumed_unasked(
    broken: Path, data: Path, capsys: Capture
) -> None:
    message = f"{broken}: exists; --overwrite replaces it, --out names another folder."
    assert refusal(capsys, "train", data, "--out", broken) == message
    advice = "so there is nothing to resume; train without --resume."
    message = f"{broken}: the run is finished, {advice}"
    assert refusal(capsys, "train", data, "--out", broken, "--resume") == message
    message = f"new: no checkpoint of an interrupted run, {advice}"
    assert refusal(capsys, "train", data, "--out", "new", "--resume") == message
    start = f"{broken}, the run to start from, which has 16"
    message = f"model.width=32 contradicts {start}; leave it out."
    flags = ("--init", broken, "--model.width", "32")
    assert refusal(capsys, "train", data, "--out", "new", *flags) == message
    message = "none.csv: no such file or folder, and not a hub name of the form owner/name."
    assert refusal(capsys, "train", "none.csv", "--out", broken, "--overwrite") == message


@pytest.mark.parametrize(
    ("gone", "made", "message"),
    [
        (".", "", "no such run folder; `selfattn train DATA --out {run}` makes one."),
        ("labels.json", "", "labels.json is missing, so the run is broken; train it again."),
        (
            "model.safetensors",
            "",
            "no model.safetensors, so not a run folder; `selfattn train` makes one.",
        ),
        (
            "model.safetensors",
            "checkpoints/last.ckpt",
            "training has not finished; go on with `selfattn train --resume --out {run}`.",
        ),
        (
            "model.safetensors",
            "model.pt",
            "weights in model.pt, which may run code when opened; only model.safetensors is.",
        ),
    ],
)
def test_a_run_that_is_not_whole_is_refused(
    gone: str, made: str, message: str, broken: Path, capsys: Capture
) -> None:
    if gone == ".":
        shutil.rmtree(broken)
    else:
        (broken / gone).unlink()
    if made:
        (broken / made).parent.mkdir(exist_ok=True)
        (broken / made).touch()
    found = refusal(capsys, "predict", broken, "--text", "a")
    assert found == f"{broken}: {message.format(run=broken)}"


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
    contents = {"pickle": harmful, "cut off": weights.read_bytes()[:-9], "empty": b""}
    weights.write_bytes(contents[kind])
    message = refusal(capsys, "predict", broken, "--text", "a")
    assert_says(message, f"{weights}: cannot be read as safetensors (…); train the run again.")
    assert not (tmp_path / "harm").exists()
    pickle.loads(harmful)
    assert (tmp_path / "harm").exists()  # so it would have done harm


ONE_SOURCE = "predict: give a FILE, or - for standard input, or --text, and only one of them."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], ONE_SOURCE),
        (["a.csv", "--text", "a"], ONE_SOURCE),
        (
            ["a.csv", "--out", "a.xlsx"],
            "a.xlsx: not a format that is written; name it .csv, .tsv, .jsonl or .parquet.",
        ),
        (["a.csv", "--top-k", "0"], "--top-k: 0 is not 1 or more."),
        (["a.csv", "--min-probability", "2"], "--min-probability: 2 is not from 0 to 1."),
        (
            ["a.csv", "--data.text-column", "b"],
            "a.csv: no column 'b'; found 'text', 'label'. Use --data.text-column.",
        ),
        (
            ["a.csv", "--out", "a.csv/b.csv"],
            "a.csv/b.csv: cannot be written (…); name another place with --out.",
        ),
        (["none.csv", "--out", "new.csv"], "none.csv: no such file."),
        (["none.parquet", "--out", "new.csv"], "none.parquet: no such file."),
        (["bad.parquet.gz", "--out", "new.csv"], "bad.parquet.gz: broken gzip: …."),
        (
            ["bad.jsonl", "--out", "new.csv"],
            "bad.jsonl, row 1: broken line: …; no row can be read.",
        ),
    ],
)
def test_a_wrong_call_of_predict_is_refused(
    arguments: list[str], message: str, run: Path, tmp_path: Path, capsys: Capture
) -> None:
    write_csv(tmp_path / "a.csv", [("a", "x")])
    (tmp_path / "bad.parquet.gz").write_bytes(b"PAR1")
    (tmp_path / "bad.jsonl").write_bytes(b"text\n")
    assert_says(refusal(capsys, "predict", run, *arguments), message)
