"""Numbers that JSON cannot express, in the files that `predict` writes."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfattn_lm import predict

NAN = float("nan")
MINUS_INFINITY = float("-inf")


def check_that_they_are_null(run: Path, file: Path) -> None:
    out = file.with_name("out.jsonl")
    assert predict(run, file, out=out).rows == 2
    lines = out.read_text(encoding="utf-8").splitlines()
    for line in lines:
        assert json.loads(line, parse_constant=pytest.fail)["score"] is None
    assert json.loads(lines[0])["all"] == [None, None]


def test_what_is_not_a_number_in_jsonl_becomes_null(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    first = '{"text": "a plum", "score": NaN, "all": [NaN, -Infinity]}'
    second = '{"text": "a lake", "score": 1e999}'
    file.write_text(f"{first}\n{second}", encoding="utf-8")
    check_that_they_are_null(run, file)


def test_what_is_not_a_number_in_parquet_becomes_null(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "in.parquet"
    columns = {
        "text": ["a plum", "a lake"],
        "score": [NAN, MINUS_INFINITY],
        "all": [[NAN, MINUS_INFINITY], [1.5]],
    }
    pq.write_table(pa.table(columns), file)
    check_that_they_are_null(run, file)
