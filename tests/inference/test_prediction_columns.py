"""The columns that a prediction adds: their names, and what they hold."""

from pathlib import Path

import numpy as np
import pytest
from helpers import write_csv
from row_files import read_jsonl

from selfattn_lm import predict
from selfattn_lm.tasks import PredictionOptions, SingleLabel

FOR_TWO_LABELS = ("prediction", "probability", "prediction_2", "probability_2")


def test_the_added_columns_have_names_that_no_label_can_take() -> None:
    labels = ["1", "2", "3", "prediction", "_2", ":2", "2) probability"]
    options = PredictionOptions(top_k=9, probabilities=True)
    names = list(SingleLabel(labels).columns(options))
    assert len(set(names)) == len(names) == 3 * len(labels)
    assert tuple(names[:4]) == FOR_TWO_LABELS
    assert names[-7:-4] == ["probability:1", "probability:2", "probability:3"]


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_a_predicted_file_can_be_predicted_again_and_again(
    form: str, run: Path, tmp_path: Path
) -> None:
    original = write_csv(tmp_path / "0.csv", [("a plum", "x"), ("iron", "y")])
    first_file = tmp_path / f"1.{form}"
    second_file = tmp_path / f"2.{form}"
    third_file = tmp_path / "3.jsonl"
    first = predict(run, original, out=first_file, top_k=2, probabilities=True)
    second = predict(run, first_file, out=second_file, top_k=2, probabilities=True)
    third = predict(run, second_file, out=third_file, top_k=2, probabilities=True)
    every_label = ("probability:fruit", "probability:metal", "probability:water")
    assert first.columns == FOR_TWO_LABELS + every_label
    assert second.columns == tuple(f"{name}_new" for name in first.columns)
    assert third.columns == tuple(f"{name}_new_new" for name in first.columns)
    row = read_jsonl(third_file)[0]
    assert list(row) == ["text", "label", *first.columns, *second.columns, *third.columns]
    assert row["prediction"] == row["prediction_new"] == row["prediction_new_new"]


def test_a_label_that_is_not_probable_enough_is_left_out_at_every_rank() -> None:
    task = SingleLabel(["a", "b", "c"])
    outputs = np.array([0.2, 0.7, 0.1], dtype=np.float32)
    every_rank = PredictionOptions(top_k=10, min_probability=0.2)
    assert task.column_values(every_rank, outputs) == ["b", 0.7, "a", 0.2, None, 0.1]
    probable = PredictionOptions(min_probability=0.7)
    assert task.column_values(probable, outputs) == ["b", 0.7]
    improbable = PredictionOptions(min_probability=0.71)
    assert task.column_values(improbable, outputs) == [None, 0.7]
