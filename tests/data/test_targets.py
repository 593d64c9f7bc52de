"""One label, several labels or a number: what the label columns hold decides what is predicted."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from selfattn_lm.config import DataConfig
from selfattn_lm.data.examples import Split
from selfattn_lm.data.sources import load_split, load_splits, split_in_memory
from selfattn_lm.errors import UserError

NUMBERS = [f"{number / 10}" for number in range(30)]  # 0.0, 0.1, …, 2.9


def write_rows(path: Path, labels: list[Any], column: str = "label") -> Path:
    """Write a file of JSON lines with a text and a label each."""
    lines = [json.dumps({"text": f"text {i}", column: label}) for i, label in enumerate(labels)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def write_csv(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def read(path: Path, **settings: Any) -> Split:
    return load_splits(DataConfig(str(path), **settings))["train"]


def refusal(function: Any, *arguments: Any, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments, **more)
    return str(caught.value)


def test_lists_are_several_labels_and_an_empty_one_is_none(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [["x", " y "], [], ["x", "x"], [1, 2.0]])
    split = read(path)
    assert split.kind == "multi_label"
    assert split.targets == [("x", "y"), (), ("x",), ("1", "2")]


def test_a_separator_divides_a_cell_into_labels(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", 'text,label\na,"x; y"\nb,x\n')
    split = read(path, label_separator=";")
    assert (split.kind, split.targets) == ("multi_label", [("x", "y"), ("x",)])


def test_several_label_columns_mark_their_labels_with_1(tmp_path: Path) -> None:
    lines = 'text,"a, b",c\nt,1,0\nu,0,0.0\nv,1.0,1\n'
    split = read(write_csv(tmp_path / "a.csv", lines), label_column=("a, b", "c"))
    assert (split.kind, split.targets) == ("multi_label", [("a, b",), (), ("a, b", "c")])
    assert split.columns == "text from 'text'; label from 'a, b', 'c'"


def test_a_label_column_may_be_called_none(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", "text,a,none\nt,1,0\nu,0,1\n")
    assert read(path, label_column=("a", "none")).targets == [("a",), ("none",)]


def test_marks_may_be_true_and_false(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "t", "a": true, "b": false}\n', encoding="utf-8")
    assert read(path, label_column=("a", "b")).targets == [("a",)]


def test_an_empty_cell_is_no_label_only_if_that_is_asked_for(tmp_path: Path) -> None:
    separated = write_csv(tmp_path / "a.csv", "text,label\nt,x\nu,\n")
    columns = write_csv(tmp_path / "b.csv", "text,a,b\nt,1,0\nu,,1\n")
    asked = {"label_separator": ";", "empty_means_none": True}
    assert read(separated, **asked).targets == [("x",), ()]
    assert read(columns, label_column=("a", "b"), empty_means_none=True).targets == [("a",), ("b",)]


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        (
            "text,label\nt,x\nu,\n",
            {"label_separator": ";"},
            "row 2 (line 3): no label in column 'label'; fill it in, or --data.empty-means-none"
            " takes it as a text without labels.",
        ),
        (
            "text,label\nt,x;;y\n",
            {"label_separator": ";"},
            "row 1 (line 2): an empty label between separators in column 'label'; fix the cell"
            " 'x;;y'.",
        ),
        (
            "text,label\nt,x\n",
            {"task": "multi_label"},
            "row 1 (line 2): column 'label' holds 'x', not a list of labels; write a list, or name"
            " what separates labels with --data.label-separator.",
        ),
        (
            "text,a,b\nt,1,x\n",
            {"label_column": ("a", "b")},
            "row 1 (line 2): 'x' in column 'b' is not 0 or 1; several label columns hold 0 or 1"
            " each.",
        ),
        (
            "text,a,b\nt,1,\n",
            {"label_column": ("a", "b")},
            "row 1 (line 2): nothing in column 'b'; fill it in, or --data.empty-means-none takes it"
            " as 0.",
        ),
        (
            "text,label\nt,3\nu,high\n",
            {"task": "regression"},
            "row 2 (line 3): 'high' in column 'label' is not a number; fix or remove the row, or"
            " name another column with --data.label-column.",
        ),
        (
            "text,label\nt,3\nu,-inf\n",
            {"task": "regression"},
            "row 2 (line 3): -inf in column 'label' is not a finite number; fix or remove the row,"
            " or name another column with --data.label-column.",
        ),
        (
            "text,label\nt,3\nu,\n",
            {"task": "regression"},
            "row 2 (line 3): no number in column 'label'; fix or remove the row, or name another"
            " column with --data.label-column.",
        ),
    ],
)
def test_a_cell_of_another_kind_is_refused_with_row_and_column(
    text: str, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "a.csv", text)
    assert refusal(read, path, **settings) == f"{path}, {message}"


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        (
            [["x"], "y"],
            {},
            "row 2: column 'label' holds 'y', not a list of labels; write a list, or name what"
            " separates labels with --data.label-separator.",
        ),
        (
            ["x", ["y"]],
            {},
            "row 2: column 'label' holds a list of labels, but one label in the first row; write a"
            " list in each row.",
        ),
        (
            [["x"]],
            {"task": "single_label"},
            "row 1: column 'label' holds a list of labels, not one label; name another column with"
            " --data.label-column, or train with lists.",
        ),
        ([["x", ["y"]]], {}, "row 1: column 'label' holds ['y'], which is not a label."),
        ([["x", None]], {}, "row 1: no label in column 'label'; fill it in or remove the row."),
        (
            [["x;y"]],
            {"label_separator": ";"},
            "row 1: label 'x;y' in column 'label' contains the separator; choose another"
            " --data.label-separator.",
        ),
        (
            [1.5, True],
            {"task": "regression"},
            "row 2: 'True' in column 'label' is not a number; fix or remove the row, or name"
            " another column with --data.label-column.",
        ),
    ],
)
def test_json_of_another_kind_is_refused_with_row_and_column(
    labels: list[Any], settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "a.jsonl", labels)
    assert refusal(read, path, **settings) == f"{path}, {message}"


def test_more_than_twenty_numbers_of_which_one_has_a_fraction_are_a_scale(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "a.csv", "text,label\n" + "".join(f"t,{n}\n" for n in NUMBERS))
    split = read(csv)
    assert split.kind == "regression"
    assert split.targets == [float(number) for number in NUMBERS]
    json_lines = write_rows(tmp_path / "a.jsonl", split.targets)
    assert read(json_lines).targets == split.targets


@pytest.mark.parametrize(
    "labels", [["1.1", "1.2"] * 20, [*NUMBERS, "high"], [1.0, 2.0, 0.5] * 10], ids=str
)
def test_few_numbers_or_words_among_them_are_labels(labels: list[Any], tmp_path: Path) -> None:
    split = read(write_rows(tmp_path / "a.jsonl", labels))
    assert split.kind == "single_label"
    assert all(isinstance(target, str) for target in split.targets)


def test_many_whole_numbers_are_labels_with_a_hint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_rows(tmp_path / "a.jsonl", list(range(30)))
    with caplog.at_level(logging.INFO, "selfattn_lm"):
        assert read(path).kind == "single_label"
    assert caplog.messages == [
        f"{path}: 30 different whole numbers in column 'label' are labels; --data.task regression"
        " predicts them as numbers"
    ]
    asked = read(path, task="regression")
    assert (asked.kind, asked.targets[:2]) == ("regression", [0.0, 1.0])
    assert read(write_rows(tmp_path / "b.jsonl", NUMBERS), task="single_label").targets == NUMBERS


def test_a_number_that_is_not_finite_among_a_scale_is_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [*NUMBERS, "nan"])
    assert refusal(read, path) == (
        f"{path}: column 'label' holds numbers, but also 'nan'; --data.task regression names the"
        " row, single_label takes all as labels."
    )


def test_the_other_splits_hold_what_train_holds(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.jsonl", NUMBERS)
    test = write_rows(tmp_path / "test.jsonl", [1, 2])
    assert load_splits(DataConfig(str(tmp_path)))["test"].targets == [1.0, 2.0]
    write_rows(test, [1, "two"])
    assert refusal(load_splits, DataConfig(str(tmp_path))) == (
        f"{test}, row 2: 'two' in column 'label' is not a number; fix or remove the row, or name"
        " another column with --data.label-column."
    )


def test_a_run_remembers_its_label_columns(tmp_path: Path) -> None:
    trained_on = DataConfig("train.csv", label_column=("a", "b"), task="multi_label")
    path = write_csv(tmp_path / "a.csv", "text,b,a\nt,1,0\n")
    assert load_split(DataConfig(str(path)), None, trained_on).targets == [("b",)]
    path = write_csv(tmp_path / "b.csv", "text,b\nt,1\n")
    assert refusal(load_split, DataConfig(str(path)), None, trained_on) == (
        f"{path}: no column 'a', and the run was trained on 'a', 'b'; found 'text', 'b'. Name the"
        " columns with --data.label-column."
    )


@pytest.mark.parametrize(
    ("labels", "kind", "targets"),
    [
        ([["x", "y"], []], "multi_label", [("x", "y"), ()]),
        ([0.5, 1.5], "single_label", ["0.5", "1.5"]),
        ([n / 10 for n in range(30)], "regression", [n / 10 for n in range(30)]),
    ],
)
def test_targets_in_memory_are_read_like_those_of_a_file(
    labels: list[Any], kind: str, targets: list[Any]
) -> None:
    split = split_in_memory("texts", [f"text {i}" for i in range(len(labels))], labels)
    assert (split.kind, split.targets) == (kind, targets)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"task": "regression", "label_separator": ","},
            "data.label_separator is for several labels per text, but data.task is regression;"
            " leave one of them out.",
        ),
        (
            {"task": "single_label", "label_column": ("a", "b")},
            "data.label_column: several label columns mean several labels per text, but data.task"
            " is single_label; name one column.",
        ),
        (
            {"label_separator": ",", "label_column": ("a", "b")},
            "data.label_separator: several label columns hold 0 and 1, so there is nothing to"
            " separate; leave it out.",
        ),
    ],
)
def test_settings_of_different_kinds_are_refused(settings: dict[str, Any], message: str) -> None:
    assert refusal(DataConfig, "a.csv", **settings) == message
