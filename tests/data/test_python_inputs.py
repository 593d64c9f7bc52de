"""Texts, labels and paths of any type become plain values, or a `TypeError` says what to pass."""

from array import array
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from selfattn_lm import UserError, fit
from selfattn_lm.data.python_inputs import all_integers, plain_labels, texts_to_predict
from selfattn_lm.data.sources import split_in_memory

PLAIN = ["a plum", "a lake"]


def type_name(value: Any) -> str:
    return type(value).__name__


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Code(Enum):
    GOOD = 1


class Text(str, Enum):  # noqa: UP042 - older code has such classes; their str() is "Text.GOOD"
    GOOD = "good"


class Word(StrEnum):
    GOOD = "good"


class Grade(IntEnum):
    GOOD = 1
    BAD = 2


@pytest.mark.parametrize(
    "texts",
    [
        tuple(PLAIN),
        (text for text in PLAIN),
        dict.fromkeys(PLAIN).keys(),
        np.array(PLAIN),
        np.array(PLAIN, dtype=object),
        np.array(PLAIN).reshape(2, 1),
        [np.str_(text) for text in PLAIN],
        pd.Series(PLAIN, index=[7, 3]),
        pd.Series(PLAIN, dtype="category"),
        pd.DataFrame({"text": PLAIN}),
        pa.array(PLAIN),
        pa.chunked_array([PLAIN[:1], PLAIN[1:]]),
        list(pa.array(PLAIN)),
        datasets.Dataset.from_dict({"text": PLAIN, "label": [0, 1]})["text"],
        [[text] for text in PLAIN],
    ],
    ids=type_name,
)
def test_texts_in_any_one_column_are_texts(texts: Any) -> None:
    found = texts_to_predict(texts)
    assert found == PLAIN
    assert all(type(text) is str for text in found)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("a plum", "texts: give a list of texts, not one text."),
        (b"a plum", "texts: give a list of texts, not one text."),
        (np.array("a plum"), "texts: give a list of texts, not one text."),
        (5, "texts: an int is not a list of texts."),
        (None, "texts: a NoneType is not a list of texts."),
        (Path("a.txt"), f"texts: a {type(Path()).__name__} is not a list of texts."),
        (
            {"text": PLAIN},
            "texts: a dict is not a list of texts; give a list, with one item per text.",
        ),
        (set(PLAIN), "texts: a set is not a list of texts; give a list, with one item per text."),
        (
            pd.DataFrame({"text": PLAIN, "id": [1, 2]}),
            "texts: a DataFrame with the columns 'text', 'id'; give one column, such as"
            " df['text'].",
        ),
        (
            pa.table({"a": PLAIN, "b": PLAIN}),
            "texts: a Table with the columns 'a', 'b'; give one column, such as df['text'].",
        ),
        (
            datasets.Dataset.from_dict({"text": PLAIN, "id": [0, 1]}),
            "texts: a Dataset with the columns 'text', 'id'; give one column, such as df['text'].",
        ),
        (
            np.array([PLAIN, PLAIN]),
            "texts: a ndarray of shape (2, 2); give one dimension, with one item per text.",
        ),
    ],
)
def test_what_is_not_a_list_of_texts_is_refused_with_what_to_pass(texts: Any, message: str) -> None:
    with pytest.raises(TypeError) as error:
        texts_to_predict(texts)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("texts", "wrong", "advice"),
    [
        ([("a", "b")], "texts[0] is a tuple", "join its parts into one"),
        (["a", ["b", "c"]], "texts[1] is a list", "join its parts into one"),
        ([{"text": "a"}], "texts[0] is a dict", "give the text in it, as in item['text']"),
        ([b"a"], "texts[0] is a bytes", "decode it, as in item.decode()"),
        (np.array([b"a"]), "texts[0] is a bytes", "decode it, as in item.decode()"),
        (["a", 5], "texts[1] is an int", "convert it with str()"),
        ([True], "texts[0] is a bool", "convert it with str()"),
        (torch.tensor([1, 2]), "texts[0] is an int", "convert it with str()"),
    ],
)
def test_an_item_that_is_not_a_text_is_refused_with_what_to_do(
    texts: Any, wrong: str, advice: str
) -> None:
    with pytest.raises(TypeError) as error:
        texts_to_predict(texts)
    assert str(error.value) == f"{wrong}; each text is a str; {advice}."


@pytest.mark.parametrize("texts", [["a", None], ["a", float("nan")], pd.Series(["a", pd.NA])])
def test_a_missing_text_is_not_predicted(texts: Any) -> None:
    with pytest.raises(TypeError) as error:
        texts_to_predict(texts)
    advice = "leave it out, or give '' for an empty text"
    assert str(error.value) == f"texts[1] is missing (None or NaN); {advice}."


def test_a_lone_surrogate_is_refused_by_its_position() -> None:
    assert texts_to_predict(["ok \U0001f600"]) == ["ok \U0001f600"]
    message = (
        r"^texts\[1\]: holds a lone surrogate \(half of a character\) at position 3; remove it"
    )
    with pytest.raises(UserError, match=message):
        texts_to_predict(["a", "ok \ud83d"])


def test_a_missing_text_is_a_blank_row_of_a_split() -> None:
    texts: list[Any] = ["a", None, float("nan"), pd.NA, "b"]
    split = split_in_memory("texts", texts, list("xyzxy"))
    assert (split.texts, split.targets, split.n_empty) == (["a", "b"], ["x", "y"], 3)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ((2, 1), [2, 1]),
        ((label for label in (2, 1)), [2, 1]),
        (range(2), [0, 1]),
        (array("i", [2, 1]), [2, 1]),
        (np.array([2, 1], dtype=np.uint8), [2, 1]),
        (np.array([[2], [1]]), [2, 1]),
        ([np.int64(2), np.int64(1)], [2, 1]),
        (torch.tensor([2, 1]), [2, 1]),
        (torch.tensor([[2], [1]]), [2, 1]),
        ([torch.tensor(2), torch.tensor([1])], [2, 1]),
        (pd.Series([2, 1], index=[5, 5]), [2, 1]),
        (pd.Series([2, 1], dtype="Int64"), [2, 1]),
        (pd.DataFrame({"label": [2, 1]}), [2, 1]),
        (pa.array([2, 1]), [2, 1]),
        (list(pa.array([2, 1])), [2, 1]),
        ([Grade.BAD, Grade.GOOD], [2, 1]),
        ([Mood.BAD, Mood.GOOD], ["bad", "good"]),
        ([Text.GOOD, Word.GOOD], ["good", "good"]),
        (np.array(["x", "y"]), ["x", "y"]),
        (pd.Series(["x", "y"], dtype="category"), ["x", "y"]),
        (np.array([True, False]), [True, False]),
        ([np.bool_(True), False], [True, False]),
        (torch.tensor([True, False]), [True, False]),
        (np.array([1.0, 0.0], dtype=np.float32), [1.0, 0.0]),
        ([None, float("nan"), np.float64("nan"), pd.NA, pd.NaT], [None] * 5),
    ],
    ids=type_name,
)
def test_labels_of_any_type_are_plain_values(labels: Any, expected: list[Any]) -> None:
    found = plain_labels(labels)
    assert found == expected
    for label, expected_label in zip(found, expected, strict=True):
        assert type(label) is type(expected_label)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("pos", "labels: give a list of labels, not one label."),
        ({"a": 1}, "labels: a dict is not a list of labels; give a list, with one item per text."),
        (
            np.eye(3),
            "labels: a ndarray of shape (3, 3); give one dimension, with one item per text;"
            " for one-hot rows, give rows.argmax(1).",
        ),
        (
            torch.eye(2),
            "labels: a Tensor of shape (2, 2); give one dimension, with one item per text;"
            " for one-hot rows, give rows.argmax(1).",
        ),
        (
            pd.DataFrame({"a": [1, 0], "b": [0, 1]}),
            "labels: a DataFrame with the columns 'a', 'b'; give one column, such as df['label'].",
        ),
    ],
)
def test_what_is_not_a_list_of_labels_is_refused_with_what_to_pass(
    labels: Any, message: str
) -> None:
    with pytest.raises(TypeError) as error:
        plain_labels(labels)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("labels", "wrong", "advice"),
    [
        (
            ["a", torch.zeros(2, 2)],
            "labels[1] is a Tensor",
            "give a list of labels, or one label, for each text",
        ),
        ([b"pos"], "labels[0] is a bytes", "decode it, as in item.decode()"),
        ([1, Code.GOOD], "labels[1] is a Code", "give its .name or its .value"),
        ([np.datetime64("2020-01-01")], "labels[0] is a datetime64", "convert it with str()"),
        ([1 + 2j], "labels[0] is a complex", "convert it with str()"),
    ],
)
def test_an_item_that_is_not_a_label_is_refused_with_what_to_do(
    labels: Any, wrong: str, advice: str
) -> None:
    with pytest.raises(TypeError) as error:
        plain_labels(labels)
    assert str(error.value) == f"{wrong}; each label is a str or an int; {advice}."


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([["a", "b"], [], ["a"]], [["a", "b"], [], ["a"]]),
        ([("a", 2), ()], [["a", 2], []]),
        ([{"b", "a"}, {"c"}], [["a", "b"], ["c"]]),
        ([np.array(["a", "b"]), np.array(["a"])], [["a", "b"], ["a"]]),
        (pd.Series([["a", "b"], ["a"]]), [["a", "b"], ["a"]]),
        ([["a"], ["b"]], ["a", "b"]),
    ],
)
def test_a_list_of_labels_for_each_text_stays_a_list(labels: Any, expected: list[Any]) -> None:
    assert plain_labels(labels) == expected


def test_lists_of_one_label_are_lists_if_several_labels_are_asked_for() -> None:
    assert plain_labels([["a"], ["b"]], several=True) == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            [["a", "b"], "a"],
            "labels[1] is a str, but other texts have a list of labels; give a list for each text.",
        ),
        (
            [[1, 0], [0, 1]],
            "labels[0] holds only 0 and 1, as a mark for each label; give the labels that are 1,"
            " such as [names[i] for i in row.nonzero()[0]].",
        ),
        (
            [torch.tensor([1, 0])],
            "labels[0] holds only 0 and 1, as a mark for each label; give the labels that are 1,"
            " such as [names[i] for i in row.nonzero()[0]].",
        ),
        (
            [["a", ["b"]], [["c", "d"]]],
            "labels[1][0] is a list; each label is a str or an int; give a list of labels, or one"
            " label, for each text.",
        ),
    ],
)
def test_lists_of_labels_without_one_meaning_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(TypeError) as error:
        plain_labels(labels)
    assert str(error.value) == message


def test_only_integers_that_are_not_bools_are_integers() -> None:
    assert all_integers(plain_labels(np.array([0, 1])))
    assert not all_integers(plain_labels([0, True]))
    assert not all_integers(plain_labels([0, "1"]))
    assert not all_integers(plain_labels([0, 1.0]))


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, ""])
def test_a_missing_label_is_refused_by_its_row(missing: Any) -> None:
    message = r"^texts, row 2: no label in column 'label'; fill it in or remove the row\.$"
    with pytest.raises(UserError, match=message):
        split_in_memory("texts", ["a", "b"], ["x", missing])


def test_true_and_false_are_labels_and_named_so() -> None:
    split = split_in_memory("texts", ["a", "b"], np.array([True, False]))
    assert split.targets == ["True", "False"]
    assert not split.integer_labels


def test_a_type_error_of_the_validation_texts_says_so() -> None:
    message = r"^validation texts: give a list of validation texts, not one validation text"
    with pytest.raises(TypeError, match=message):
        fit(PLAIN, [0, 1], validation=("a plum", [0]))
    with pytest.raises(TypeError, match=r"^validation: give a tuple, \(texts, labels\)\.$"):
        fit(PLAIN, [0, 1], validation=pd.DataFrame({"text": PLAIN, "label": [0, 1]}))
