"""Calls of the command line, and texts with the labels that the shared run predicts for them."""

import csv
import io
import re
from pathlib import Path

import pytest

from selfattn_lm.cli import main

TEXTS = ["the apple and a plum", "rain on the lake", "very iron tin"]
LABELS = ["fruit", "water", "metal"]
Capture = pytest.CaptureFixture[str]


def refusal(capsys: Capture, *arguments: object) -> str:
    """Call the command line, which must refuse and leave all files as they are.

    Returns:
        The one line of the refusal, without the name of the program.
    """
    before = _times_of_files()
    assert main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert _times_of_files() == before
    found = re.fullmatch(r"selfattn: (.+)\n", printed.err)
    assert found is not None, printed.err
    return found[1]


def _times_of_files() -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in Path().rglob("*")}


def predicted(capsys: Capture, *arguments: object) -> tuple[list[dict[str, str]], str]:
    """Call `predict`; returns the rows of csv on standard output, and standard error."""
    assert main(["predict", *[str(argument) for argument in arguments]]) == 0
    printed = capsys.readouterr()
    return list(csv.DictReader(io.StringIO(printed.out))), printed.err
