from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import write_csv

from selfattn_lm import evaluate, predict
from selfattn_lm.config import DataConfig
from selfattn_lm.data.characters import visible_text
from selfattn_lm.data.examples import Split
from selfattn_lm.data.sources import load_split, load_splits, split_in_memory, stream_texts
from selfattn_lm.errors import UserError

INVISIBLE: dict[str, Any] = {
    "zero-width space": "\u200b",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "control characters": "\x00\x1b\x7f",
    "white space of all kinds": " \t\u00a0\u2003\u3000\u2028",
    "directions": "\u200e\u202a\u2066",
    "a variation selector": "\ufe0f",
    "a Hangul filler": "\u3164",
    "a mixture": " \u200b\ufeff \u2060",
}


@pytest.mark.parametrize("text", INVISIBLE.values(), ids=INVISIBLE)
def test_a_text_without_visible_characters_is_blank(text: str) -> None:
    assert visible_text(text) == ""
    assert visible_text(f"{text}a") == f"{text}a".strip()
    split = split_in_memory("texts", ["a", text], ["x", "y"])
    assert split == Split.from_lists("texts", ["a"], ["x"], n_empty=1)


@pytest.mark.parametrize(
    "text", ["a", "!", "ü", "か", "🙂", "❤️", "\ud83d", "\u0301", "\ue000", "नि", "x\u200b"]
)
def test_a_text_with_a_visible_character_is_not_blank(text: str) -> None:
    assert visible_text(f" {text}\n") == text


def test_invisible_texts_are_blank_in_files_for_training_evaluation_and_prediction(
    run: Path, tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    rows = [("a plum", "fruit"), ("\u200b", "metal"), ("\ufeff\u00ad", "water"), ("tin", "metal")]
    path = write_csv(tmp_path / "a.csv", rows)
    split = load_splits(DataConfig(str(path)))["train"]
    assert (split.texts, split.n_empty) == (["a plum", "tin"], 2)
    assert list(stream_texts(DataConfig(str(path)))) == ["a plum", "tin"]
    assert np.sum(evaluate(run, str(path)).values["confusion"]) == 2
    assert predict(run, str(path), out=tmp_path / "out.csv").bad == 2
    assert f"{path}, row 2 (line 3): an empty text, so no prediction" in said.messages


def test_a_label_without_visible_characters_is_missing(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [("a plum", "\u200b")])
    with pytest.raises(UserError, match="no label in column 'label'; fill it in or remove the row"):
        load_splits(DataConfig(str(path)))


def test_labels_lose_the_white_space_around_them_everywhere(run: Path, tmp_path: Path) -> None:
    rows = [("a plum", " fruit"), ("tin", "metal\t"), ("rain", "\u3000water"), ("lead", "metal")]
    path = write_csv(tmp_path / "a.csv", rows)
    train = load_splits(DataConfig(str(path)))["train"]
    assert train.targets == ["fruit", "metal", "water", "metal"]
    assert np.sum(evaluate(run, str(path)).values["confusion"]) == len(rows)
    assert split_in_memory("texts", ["a", "b"], [" x", "x "]).targets == ["x", "x"]
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": " x "}', encoding="utf-8")
    assert load_split(DataConfig(str(tmp_path / "a.jsonl")), None).targets == ["x"]
