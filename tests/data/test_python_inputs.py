import json
from array import array
from collections.abc import Callable, Iterator
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from helpers import SMALL, sentences, write_csv

from selfattn_lm import TextClassifier, UserError, evaluate, export, fit, predict, pretrain, study, train
from selfattn_lm.cli import main
from selfattn_lm.config import BertConfig, ModelConfig, Settings, TokenizerConfig
from selfattn_lm.data.python_inputs import all_integers, plain_labels, texts_to_predict
from selfattn_lm.data.sources import Split
from selfattn_lm.features.tokenizer import train_tokenizer
from selfattn_lm.nn import build_bert
from selfattn_lm.runs import Run, read_run, write_run

PLAIN = ["a plum", "a lake"]


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Code(Enum):
    GOOD = 1


class Text(str, Enum):  # noqa: UP042 - the way before StrEnum, whose str() is "Text.GOOD"
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
    ids=lambda texts: type(texts).__name__,
)
def test_texts_in_any_one_column_are_texts(texts: Any) -> None:
    found = texts_to_predict(texts)
    assert found == PLAIN
    assert {type(text) for text in found} == {str}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("a plum", "texts: give a list of texts, not one text."),
        (b"a plum", "texts: give a list of texts, not one text."),
        (np.array("a plum"), "texts: give a list of texts, not one text."),
        (5, "texts: an int is not a list of texts."),
        (None, "texts: a NoneType is not a list of texts."),
        (Path("a.txt"), f"texts: a {type(Path()).__name__} is not a list of texts."),
        ({"text": PLAIN}, "texts: a dict is not a list of texts; give a list, with one item per text."),
        (set(PLAIN), "texts: a set is not a list of texts; give a list, with one item per text."),
        (
            pd.DataFrame({"text": PLAIN, "id": [1, 2]}),
            "texts: a DataFrame with the columns 'text', 'id'; give one column, such as df['text'].",
        ),
        (
            pa.table({"a": PLAIN, "b": PLAIN}),
            "texts: a Table with the columns 'a', 'b'; give one column, such as df['text'].",
        ),
        (
            datasets.Dataset.from_dict({"text": PLAIN, "label": [0, 1]}),
            "texts: a Dataset with the columns 'text', 'label'; give one column, such as df['text'].",
        ),
        (np.array([PLAIN, PLAIN]), "texts: a ndarray of shape (2, 2); give one dimension, with one item per text."),
        ([("a", "b")], "texts[0] is a tuple; each text is a str; join its parts into one."),
        (["a", ["b", "c"]], "texts[1] is a list; each text is a str; join its parts into one."),
        ([{"text": "a"}], "texts[0] is a dict; each text is a str; give the text in it, as in item['text']."),
        ([b"a"], "texts[0] is a bytes; each text is a str; decode it, as in item.decode()."),
        (np.array([b"a"]), "texts[0] is a bytes; each text is a str; decode it, as in item.decode()."),
        (["a", 5], "texts[1] is an int; each text is a str; convert it with str()."),
        ([True], "texts[0] is a bool; each text is a str; convert it with str()."),
        (torch.tensor([1, 2]), "texts[0] is an int; each text is a str; convert it with str()."),
        (["a", None], "texts[1] is missing (None or NaN); leave it out, or give '' for an empty text."),
        ([float("nan")], "texts[0] is missing (None or NaN); leave it out, or give '' for an empty text."),
        (pd.Series(["a", pd.NA]), "texts[1] is missing (None or NaN); leave it out, or give '' for an empty text."),
    ],
)
def test_what_is_no_list_of_texts_is_refused_with_what_to_pass(texts: Any, message: str) -> None:
    with pytest.raises(TypeError) as error:
        texts_to_predict(texts)
    assert str(error.value) == message


def test_half_a_character_is_refused_by_its_place() -> None:
    assert texts_to_predict(["ok \U0001f600"]) == ["ok \U0001f600"]
    with pytest.raises(UserError, match=r"^texts\[1\]: holds a lone surrogate \(half of a character\) at position 3"):
        texts_to_predict(["a", "ok \ud83d"])


def test_a_missing_text_is_a_blank_row_of_a_split() -> None:
    split = Split.in_memory("texts", ["a", None, float("nan"), pd.NA, "b"], list("xyzxy"))
    assert (split.texts, split.labels, split.blank) == (["a", "b"], ["x", "y"], 3)


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
    ids=lambda value: type(value).__name__,
)
def test_labels_of_any_type_are_plain_values(labels: Any, expected: list[Any]) -> None:
    found = plain_labels(labels)
    assert found == expected
    assert [type(label) for label in found] == [type(label) for label in expected]


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
            pd.DataFrame({"pos": [1, 0], "neg": [0, 1]}),
            "labels: a DataFrame with the columns 'pos', 'neg'; give one column, such as df['label'].",
        ),
        (
            [[1, 0], [0, 1]],
            "labels[0] is a list; each label is a str or an int; only one label per text is supported yet.",
        ),
        (
            [torch.tensor([1, 0])],
            "labels[0] is a Tensor; each label is a str or an int; only one label per text is supported yet.",
        ),
        ([b"pos"], "labels[0] is a bytes; each label is a str or an int; decode it, as in item.decode()."),
        ([1, Code.GOOD], "labels[1] is a Code; each label is a str or an int; give its .name or its .value."),
        (
            [np.datetime64("2020-01-01")],
            "labels[0] is a datetime64; each label is a str or an int; convert it with str().",
        ),
        ([1 + 2j], "labels[0] is a complex; each label is a str or an int; convert it with str()."),
    ],
)
def test_what_is_no_list_of_labels_is_refused_with_what_to_pass(labels: Any, message: str) -> None:
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
    with pytest.raises(UserError, match=r"^texts, row 2: no label in column 'label'; fill it in or remove the row\.$"):
        Split.in_memory("texts", ["a", "b"], ["x", missing])


def test_true_and_false_are_labels_and_named_so() -> None:
    split = Split.in_memory("texts", ["a", "b"], np.array([True, False]))
    assert split.labels == ["True", "False"]
    assert not split.integer_labels


def test_a_type_error_of_the_validation_texts_says_so() -> None:
    with pytest.raises(TypeError, match=r"^validation texts: give a list of validation texts, not one validation text"):
        fit(PLAIN, [0, 1], validation=("a plum", [0]))
    with pytest.raises(TypeError, match=r"^validation: give a pair, \(texts, labels\)\.$"):
        fit(PLAIN, [0, 1], validation=pd.DataFrame({"text": PLAIN, "label": [0, 1]}))


NUMBERS = {"fruit": 10, "metal": -1, "water": 2}


@pytest.fixture(scope="module")
def integers(tmp_path_factory: pytest.TempPathFactory) -> tuple[TextClassifier, Path]:
    """A classifier whose labels are integers, and the run folder that `fit` wrote."""
    folder = tmp_path_factory.mktemp("integers") / "run"
    texts, labels = zip(*sentences(60), strict=True)
    numbers = torch.tensor([NUMBERS[label] for label in labels])
    validation = (np.array(texts[:9]), np.array([NUMBERS[label] for label in labels[:9]], dtype=np.int8))
    settings = {**SMALL, "training": {**SMALL["training"], "epochs": 1, "precision": "32"}}
    return fit(iter(texts), numbers, validation=validation, out=folder, **settings), folder


def test_integers_come_back_as_integers_and_are_numbers_in_the_run_folder(
    integers: tuple[TextClassifier, Path], tmp_path: Path
) -> None:
    classifier, folder = integers
    assert json.loads((folder / "labels.json").read_text(encoding="utf-8")) == [-1, 2, 10]  # by size, not by name
    classifier.save(tmp_path / "copy")
    assert (tmp_path / "copy" / "labels.json").read_bytes() == (folder / "labels.json").read_bytes()
    for one in (classifier, TextClassifier.load(folder), TextClassifier.load(tmp_path / "copy")):
        assert one.labels == [-1, 2, 10]
        assert {type(label) for label in one.predict(PLAIN)} == {int}
        assert one.predict(PLAIN) == [one.labels[i] for i in one.predict_proba(PLAIN).argmax(1)]
    assert read_run(folder).labels == ["-1", "2", "10"]


def test_files_show_integers_as_text_and_are_matched_by_text(
    integers: tuple[TextClassifier, Path], tmp_path: Path
) -> None:
    classifier, folder = integers
    rows = [(text, str(NUMBERS[label])) for text, label in sentences(12, seed=4)]
    evaluation = evaluate(folder, write_csv(tmp_path / "test.csv", rows), out=tmp_path, precision="32")
    predicted = classifier.predict(text for text, _ in rows)
    right = [str(label) == given for label, (_, given) in zip(predicted, rows, strict=True)]
    assert evaluation.values["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert evaluation.labels == list(evaluation.values["per_class"]) == ["-1", "2", "10"]
    predict(folder, tmp_path / "test.csv", out=tmp_path / "out.jsonl", probabilities=True)
    row = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert row["prediction"] in ("-1", "2", "10")
    assert [name for name in row if name.startswith("probability") and name.endswith("10")]
    assert main(["evaluate", str(folder), str(tmp_path / "test.csv")]) == 0


def test_what_starts_from_a_run_with_integers_keeps_its_head_for_the_same_labels(
    integers: tuple[TextClassifier, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, folder = integers
    names, texts = [*NUMBERS.values()], [text for text, _ in sentences(30)]
    settings: dict[str, Any] = {"epochs": 1, "precision": "32", "learning_rate": 1e-6}
    again = fit(texts, [names[i % 3] for i in range(30)], init=folder, **settings)
    assert again.labels == [-1, 2, 10]
    rows = [(text, str(names[i % 3])) for i, text in enumerate(texts)]
    from_file = train(write_csv(tmp_path / "a.csv", rows), init=folder, out=tmp_path / "run", **settings)
    assert from_file.classifier.labels == ["-1", "2", "10"]  # what a file holds is text
    assert json.loads((tmp_path / "run" / "labels.json").read_text(encoding="utf-8")) == ["-1", "2", "10"]
    assert "the labels differ" not in caplog.text


@pytest.mark.parametrize("labels", ["[1, true]", '[1, "2"]', "[1.0, 2.0]", '{"1": 1}', "[[1], [2]]", "[null, 1]"])
def test_a_labels_file_of_anything_but_names_or_integers_is_refused(
    labels: str, integers: tuple[TextClassifier, Path], tmp_path: Path
) -> None:
    integers[0].save(tmp_path)
    (tmp_path / "labels.json").write_text(labels, encoding="utf-8")
    with pytest.raises(UserError, match=r"labels\.json: not a list of label names; train the run again\.$"):
        read_run(tmp_path)


def test_an_export_names_integers_by_text(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(PLAIN, TokenizerConfig(type="wordpiece", min_frequency=1))
    shape = BertConfig(
        "bert",
        tokenizer.get_vocab_size(),
        max_positions=8,
        type_vocab_size=2,
        intermediate_size=16,
        activation="gelu",
        norm_eps=1e-12,
    )
    model = ModelConfig(
        width=8, heads=2, layers=1, pooling="cls", max_length=8, max_ngram=1, bag_branch=False, char_ngrams=False
    )
    bert = build_bert(shape, model, 3).eval()
    run = Run(Settings(model=model), {}, ["-1", "2", "10"], tokenizer, bert, shape, integer_labels=True)
    write_run(tmp_path / "run", run)
    assert set(TextClassifier.load(tmp_path / "run").predict(PLAIN)) <= {-1, 2, 10}
    export(tmp_path / "run", out=tmp_path / "exported")
    config = json.loads((tmp_path / "exported" / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {"0": "-1", "1": "2", "2": "10"}
    assert config["label2id"] == {"-1": 0, "2": 1, "10": 2}


def test_one_text_for_predict_is_one_text(run: Path, tmp_path: Path) -> None:
    for text, rows in (("hello", 1), (["a plum", "a lake"], 2), (np.array(["a plum"]), 1)):
        assert predict(run, text=text, out=tmp_path / "out.csv").rows == rows
    with pytest.raises(TypeError, match=r"^texts\[0\] is an int"):
        predict(run, text=[5], out=tmp_path / "out.csv")


def test_data_to_train_on_and_to_use_a_run_on_may_be_named_by_a_path(data: Path, run: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {**SMALL, "epochs": 1, "precision": "32"}
    result = train(data / "train.csv", out=tmp_path / "run", validation=data / "validation.csv", **settings)
    assert set(result.evaluations) == {"validation"}
    assert evaluate(run, data / "test.csv").values["rows"] == 60
    assert predict(run, data / "test.csv", out=tmp_path / "out.csv").rows == 60


def test_data_to_pretrain_on_and_to_study_may_be_named_by_a_path(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "small.csv", sentences(30))
    settings: dict[str, Any] = {"width": 8, "heads": 1, "epochs": 1, "precision": "32"}
    assert pretrain(data, out=tmp_path / "pretrained", **settings).folder == tmp_path / "pretrained"
    test = write_csv(tmp_path / "test.csv", sentences(9))
    assert str(study(data, test=test, out=tmp_path / "study", kinds="bag", shares=100, **settings))


@pytest.mark.parametrize("verb", [train, pretrain, study, lambda given: evaluate("run", given)])
@pytest.mark.parametrize("given", [["a plum"], pd.DataFrame({"text": ["a"]}), {"text": ["a"]}, b"a.csv"])
def test_texts_where_a_path_belongs_are_refused(verb: Callable[[Any], Any], given: Any) -> None:
    with pytest.raises(TypeError, match=r"not the path of a file or folder, or a hub name; for texts in memory, use"):
        verb(given)


def test_texts_where_predict_wants_a_file_are_refused(run: Path) -> None:
    with pytest.raises(TypeError, match=r"^predict: the file is a list, not the path of a file"):
        predict(run, ["a plum"])


def test_a_run_that_began_in_python_is_not_resumed_with_files_that_lie_about(
    integers: tuple[TextClassifier, Path], tmp_path: Path
) -> None:
    integers[0].save(tmp_path / "run")
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(UserError, match=r"began with texts given in Python, which it does not keep; call `fit` again"):
        train(resume=True, out=tmp_path / "run")


def lines() -> Iterator[str]:
    yield from PLAIN


def test_every_method_takes_a_generator_and_gives_a_row_for_each_text(run: Path) -> None:
    classifier = TextClassifier.load(run, "32")
    assert classifier.predict(lines()) == classifier.predict(PLAIN)
    assert np.array_equal(classifier.predict_proba(lines()), classifier.predict_proba(pd.Series(PLAIN)))
    assert classifier.embed(lines()).shape[0] == 2
    assert classifier.predict([]) == []
    for method in (classifier.predict, classifier.predict_proba, classifier.embed):
        with pytest.raises(TypeError, match=r"^texts: a dict is not a list of texts"):
            method({"text": PLAIN})
