"""What `predict` writes is UTF-8, whatever the locale and the streams are."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from helpers import file_name, write_csv
from row_files import read_csv, read_jsonl, write_jsonl

import selfattn_lm
from selfattn_lm.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose labels are of several scripts."""
    folder = tmp_path_factory.mktemp("runs") / file_name("läufe 果")
    texts = ["plum plum", "iron iron", "rain rain"]
    labels = ["果物", "métal", "5"]
    selfattn_lm.fit(
        texts * 10,
        labels * 10,
        out=folder,
        model={"width": 8, "heads": 2, "layers": 1},
        training={"epochs": 1},
    )
    return folder


class AsciiStreams:
    """Standard output and error that Python believes to be ASCII."""

    def __init__(self) -> None:
        self.stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        self.stderr = io.TextIOWrapper(io.BytesIO(), encoding="ascii")

    def written_to_stdout(self) -> str:
        return self._written(self.stdout)

    def written_to_stderr(self) -> str:
        return self._written(self.stderr)

    def _written(self, stream: io.TextIOWrapper) -> str:
        stream.flush()
        assert isinstance(stream.buffer, io.BytesIO)
        return stream.buffer.getvalue().decode("utf-8")


@contextmanager
def ascii_streams() -> Iterator[AsciiStreams]:
    streams = AsciiStreams()
    with redirect_stdout(streams.stdout), redirect_stderr(streams.stderr):
        yield streams


def ascii_argument(text: str) -> str:
    """An argument in UTF-8 as Python gives it where the locale is ASCII."""
    return text.encode("utf-8").decode("ascii", "surrogateescape")


def test_predictions_are_utf_8_whatever_the_encoding_of_the_streams(scripts: Path) -> None:
    file = file_name("文.csv")
    write_csv(Path(file), [("ö plum", "果物"), ("iron", "métal")], ("テキスト", "label"))
    with ascii_streams() as streams:
        command = ["predict", str(scripts), file, "--data.text-column", "テキスト"]
        assert main([*command, "--probabilities"]) == 0
    header, row, _ = streams.written_to_stdout().splitlines()
    added = "prediction,probability,probability:5,probability:métal,probability:果物"
    assert header == f"テキスト,label,{added}"
    assert row.startswith("ö plum,果物,")


def test_scores_and_errors_are_utf_8_whatever_the_encoding_of_the_streams(scripts: Path) -> None:
    file = file_name("文.csv")
    write_csv(Path(file), [("ö plum", "果物"), ("iron", "métal")], ("テキスト", "label"))
    with ascii_streams() as streams:
        assert main(["evaluate", str(scripts), file, "--data.text-column", "テキスト"]) == 0
        assert main(["predict", str(scripts), file, "--data.text-column", "größe"]) == 2
    assert "果物" in streams.written_to_stdout().split("confusion")[-1]
    reason = "no column 'größe'; found 'テキスト', 'label'. Use --data.text-column."
    assert streams.written_to_stderr() == f"selfattn: 文.csv: {reason}\n"


def test_a_file_name_that_the_locale_cannot_read_is_shown_as_utf_8_or_escaped(run: Path) -> None:
    with ascii_streams() as streams:
        assert main(["predict", str(run), ascii_argument("文.csv")]) == 2
        assert main(["predict", str(run), "\udcff.csv"]) == 2
    expected = "selfattn: 文.csv: no such file.\nselfattn: \\udcff.csv: no such file.\n"
    assert streams.written_to_stderr() == expected


def test_a_text_of_the_command_line_is_read_as_utf_8_whatever_the_locale(
    run: Path, capsys: Capture
) -> None:
    assert main(["predict", str(run), "--text", ascii_argument("é plum")]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("é plum,")


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_half_an_emoji_beside_the_text_is_replaced_and_stops_nothing(form: str, run: Path) -> None:
    damaged = {"text": "plum", "x\udc00": "\ud83d", "y": {"k\ud83d": ["\ud83d", "😀"]}}
    write_jsonl(Path("a.jsonl"), [damaged])
    file = Path(f"b.{form}")
    selfattn_lm.predict(run, "a.jsonl", out=file)
    row: dict[str, Any]
    if form == "parquet":
        (row,) = pq.read_table(file).to_pylist()
    elif form == "jsonl":
        (row,) = read_jsonl(file)
    else:
        (row,) = read_csv(file)
        row["y"] = json.loads(row["y"])
    assert row["x\ufffd"] == "\ufffd"
    assert row["y"] == {"k\ufffd": ["\ufffd", "😀"]}


def test_rows_are_printed_to_what_takes_only_texts_too(run: Path) -> None:
    with redirect_stdout(io.StringIO()) as printed:
        summary = selfattn_lm.predict(run, text=["é plum", "iron"])
    first_cells = [line.split(",")[0] for line in printed.getvalue().splitlines()]
    assert first_cells == ["text", "é plum", "iron"]
    assert (summary.rows, summary.bad, summary.out) == (2, 0, None)
    assert summary.columns == ("prediction", "probability")


def test_a_line_is_answered_before_the_next_is_sent_and_ctrl_c_ends_it(scripts: Path) -> None:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252"}
    # A shell lets the jobs in its background ignore Ctrl-C, and what they start too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    started = subprocess.Popen(
        [sys.executable, "-m", "selfattn_lm", "predict", str(scripts), "-"],
        env=os.environ | locale,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    signal.signal(signal.SIGINT, before)
    with started as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write("plum 果\n".encode())
        process.stdin.flush()
        assert process.stdout.readline() == b"text,prediction,probability\n"
        assert process.stdout.readline().decode("utf-8").startswith("plum 果,")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b"selfattn: interrupted after 1 row.\n"
