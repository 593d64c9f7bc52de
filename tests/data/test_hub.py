from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfattn_lm import evaluate, predict
from selfattn_lm.config import DataConfig
from selfattn_lm.data.examples import Split
from selfattn_lm.data.hub import stored_class_names
from selfattn_lm.data.sources import load_split, load_splits
from selfattn_lm.errors import UserError
from selfattn_lm.tasks import choose_task

# Not in alphabetical order, so that a stored class number differs from a sorted label's number.
LABELS = ["water", "metal", "fruit"]
TEXTS = ["rain and dew", "tin and zinc", "a plum", "a pear"]


def with_class_names(numbers: list[int | None], **more: Any) -> datasets.Dataset:
    """Make a dataset whose column `label` has numbers and, in its schema, their names."""
    columns: dict[str, Any] = {"text": TEXTS[: len(numbers)], "label": numbers}
    types = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=LABELS)}
    for name, (values, feature) in more.items():
        columns[name] = values
        types[name] = feature
    return datasets.Dataset.from_dict(columns, features=datasets.Features(types))


def read(path: Path, **config: Any) -> Split:
    return load_split(DataConfig(str(path), **config), None)


def test_class_names_stored_in_a_parquet_file_are_its_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with_class_names([0, 1, 2, 2]).to_parquet(path)
    splits = load_splits(DataConfig(str(path)))
    assert splits["train"].targets == ["water", "metal", "fruit", "fruit"]
    assert choose_task(splits).names == ["fruit", "metal", "water"]


def test_class_names_stored_in_an_arrow_file_are_its_labels(tmp_path: Path) -> None:
    with_class_names([0, 1, 2, 2]).save_to_disk(tmp_path / "saved")
    (path,) = (tmp_path / "saved").glob("*.arrow")
    assert read(path).targets == ["water", "metal", "fruit", "fruit"]


def test_class_names_are_used_beside_other_kinds_of_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    nested = datasets.Features({"start": datasets.Value("int32")})
    topics = datasets.ClassLabel(names=["b", "a"])
    more = {
        "spans": ([[1], [2, 3]], datasets.Sequence(datasets.Value("int32"))),
        "answer": ([{"start": 1}, {"start": 2}], nested),
        "topic": ([1, 0], topics),
    }
    with_class_names([0, 2], **more).to_parquet(path)
    assert stored_class_names(path) == {"label": LABELS, "topic": ["b", "a"]}
    assert read(path).targets == ["water", "fruit"]
    assert read(path, label_column="topic").targets == ["a", "b"]


def test_class_names_are_used_for_files_of_splits_wherever_they_are_named(tmp_path: Path) -> None:
    for name in ("train", "test"):
        with_class_names([0, 1, 2]).to_parquet(tmp_path / f"{name}.parquet")
    by_folder = DataConfig(str(tmp_path))
    by_file = DataConfig(f"{tmp_path}/train.parquet", test=f"{tmp_path}/test.parquet")
    for config in (by_folder, by_file):
        splits = load_splits(config)
        assert sorted(splits) == ["test", "train"]
        assert splits["train"].targets == splits["test"].targets == LABELS


def test_class_names_are_used_in_evaluation_and_prediction_leaves_the_column_as_it_is(
    run: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    with_class_names([0, 1, 2, 2]).to_parquet(path)
    evaluation = evaluate(run, str(path))
    assert list(evaluation.values["per_class"]) == ["fruit", "metal", "water"]
    assert [sum(row) for row in evaluation.values["confusion"]] == [2, 1, 1]
    predict(run, str(path), out=tmp_path / "out.parquet")
    out = pq.read_table(tmp_path / "out.parquet")
    assert out["label"].to_pylist() == [0, 1, 2, 2]
    assert out["label"].type == pa.int64()


def test_a_test_file_whose_labels_are_withheld_is_left_out(
    tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    with_class_names([0, 1, 2]).to_parquet(tmp_path / "train.parquet")
    with_class_names([-1, -1]).to_parquet(tmp_path / "test.parquet")
    assert list(load_splits(DataConfig(str(tmp_path)))) == ["train"]
    test = tmp_path / "test.parquet"
    assert said.messages == [f"{test}: its labels are withheld, so it is left out"]


@pytest.mark.parametrize("number", [-1, None])
def test_a_row_whose_class_is_withheld_has_no_label(number: int | None, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with_class_names([0, number]).to_parquet(path)
    with pytest.raises(UserError) as caught:
        read(path)
    message = f"{path}, row 2: no label in column 'label'; fill it in or remove the row."
    assert str(caught.value) == message


def test_a_class_without_a_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with_class_names([0, 1]).to_parquet(path)
    table = pq.read_table(path)
    numbers = pa.array([0, 3], pa.int64())
    pq.write_table(table.set_column(1, table.schema.field("label"), numbers), path)
    with pytest.raises(UserError) as caught:
        read(path)
    problem = "class 3 of column 'label' has no name; only 3 classes have one"
    assert str(caught.value) == f"{path}, row 2: {problem}; fix or remove the row."


@pytest.mark.parametrize(
    "stored", [b"", b"[]", b"{}", b'{"info": null}', b'{"info": {"features": [1]}}', b"\xff"]
)
def test_what_is_stored_in_an_unknown_form_gives_no_class_names(
    stored: bytes, tmp_path: Path
) -> None:
    table = pa.table({"text": TEXTS[:2], "label": [0, 1]})
    table = table.replace_schema_metadata({b"huggingface": stored})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").targets == ["0", "1"]


def test_what_the_datasets_library_saved_to_disk_is_read(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    split = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    datasets.DatasetDict({"train": split, "test": split}).save_to_disk(tmp_path / "saved")
    splits = load_splits(DataConfig(str(tmp_path / "saved")))
    assert sorted(splits) == ["test", "train"]
    for found in splits.values():
        assert found.texts == ["a", "b"]
        assert found.targets == ["yes", "no"]


def test_a_split_that_the_datasets_library_saved_to_disk_is_read(tmp_path: Path) -> None:
    split = datasets.Dataset.from_dict({"text": ["a", "b"], "label": ["x", "y"]})
    split.save_to_disk(tmp_path / "saved", num_shards=2)
    splits = load_splits(DataConfig(str(tmp_path / "saved")))
    assert list(splits) == ["train"]
    assert (splits["train"].texts, splits["train"].targets) == (["a", "b"], ["x", "y"])
    assert read(tmp_path / "saved").texts == ["a", "b"]
