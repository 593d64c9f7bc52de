"""Functions that take texts take them in any type, and those that take a path take only a path."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import SMALL, sentences, write_csv

from selfattn_lm import TextClassifier, evaluate, predict, pretrain, study, train

PLAIN = ["a plum", "a lake"]


def test_one_text_for_predict_is_one_text(run: Path, tmp_path: Path) -> None:
    given: list[tuple[Any, int]] = [
        ("hello", 1),
        (["a plum", "a lake"], 2),
        (np.array(["a plum"]), 1),
    ]
    for text, rows in given:
        assert predict(run, text=text, out=tmp_path / "out.csv").rows == rows
    with pytest.raises(TypeError, match=r"^texts\[0\] is an int"):
        predict(run, text=[5], out=tmp_path / "out.csv")  # type: ignore[list-item]


def test_data_to_train_on_and_to_use_a_run_on_may_be_named_by_a_path(
    data: Path, run: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {**SMALL, "epochs": 1, "precision": "32"}
    validation = data / "validation.csv"
    result = train(data / "train.csv", out=tmp_path / "run", validation=validation, **settings)
    assert set(result.evaluations) == {"validation"}
    assert evaluate(run, data / "test.csv").values["rows"] == 60
    assert predict(run, data / "test.csv", out=tmp_path / "out.csv").rows == 60


def test_data_to_pretrain_on_and_to_study_may_be_named_by_a_path(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "small.csv", sentences(30))
    settings: dict[str, Any] = {"width": 8, "heads": 1, "epochs": 1, "precision": "32"}
    assert pretrain(data, out=tmp_path / "pretrained", **settings).folder == tmp_path / "pretrained"
    test = write_csv(tmp_path / "test.csv", sentences(9))
    assert str(study(data, test=test, out=tmp_path / "study", kinds="bag", shares=100, **settings))


@pytest.mark.parametrize("verb", [train, pretrain, study, partial(evaluate, "run")])
@pytest.mark.parametrize(
    "given", [["a plum"], pd.DataFrame({"text": ["a"]}), {"text": ["a"]}, b"a.csv"]
)
def test_texts_where_a_path_belongs_are_refused(verb: Callable[[Any], Any], given: Any) -> None:
    message = r"not the path of a file or folder, or a hub name; for texts in memory, use"
    with pytest.raises(TypeError, match=message):
        verb(given)


def test_texts_where_predict_wants_a_file_are_refused(run: Path) -> None:
    with pytest.raises(TypeError, match=r"^predict: the file is a list, not the path of a file"):
        predict(run, ["a plum"])  # type: ignore[arg-type]


def generated() -> Iterator[str]:
    yield from PLAIN


def test_every_method_takes_a_generator_and_gives_a_row_for_each_text(run: Path) -> None:
    classifier = TextClassifier.load(run, "32")
    assert classifier.predict(generated()) == classifier.predict(PLAIN)
    probabilities = classifier.predict_proba(generated())
    assert np.array_equal(probabilities, classifier.predict_proba(pd.Series(PLAIN)))
    assert classifier.embed(generated()).shape[0] == 2
    assert classifier.predict([]) == []
    for method in (classifier.predict, classifier.predict_proba, classifier.embed):
        with pytest.raises(TypeError, match=r"^texts: a dict is not a list of texts"):
            method({"text": PLAIN})
