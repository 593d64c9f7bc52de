import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfattn_lm import predict


@pytest.mark.parametrize("name", ["in.jsonl", "in.parquet"])
def test_a_predicted_line_of_json_has_null_for_what_is_not_a_number(
    name: str, run: Path, tmp_path: Path
) -> None:
    texts, scores = ["a plum", "a lake"], [float("nan"), float("-inf")]
    if name == "in.parquet":
        pq.write_table(
            pa.table({"text": texts, "score": scores, "all": [scores, [1.5]]}), tmp_path / name
        )
    else:
        lines = [
            '{"text": "a plum", "score": NaN, "all": [NaN, -Infinity]}',
            '{"text": "a lake", "score": 1e999}',
        ]
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    assert predict(run, str(tmp_path / name), out=tmp_path / "out.jsonl").rows == 2
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    for line in lines:
        assert json.loads(line, parse_constant=pytest.fail)["score"] is None
    assert json.loads(lines[0])["all"] == [None, None]
