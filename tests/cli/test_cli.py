"""The command line itself: commands, flags, help, the log and exit codes."""

import io
import logging
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
from command_line import Capture, refusal
from helpers import assert_says, write_csv

from selfattn_lm import Interrupted
from selfattn_lm.cli import main

pytestmark = pytest.mark.usefixtures("in_own_folder")


def test_a_wrong_command_or_missing_data_are_refused(capsys: Capture) -> None:
    assert_says(refusal(capsys, "trian"), 'Unknown command "trian"…"train"…')
    advice = "name a file, a folder, a hub name such as fancyzhx/ag_news, or stdlib-docs"
    assert refusal(capsys, "train") == f"train: no data; {advice}."


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
    printed = capsys.readouterr().out
    for word in words:
        assert word in printed


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
