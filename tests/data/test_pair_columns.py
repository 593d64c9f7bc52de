from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers import write_csv

from selfattn_lm.config import DataConfig
from selfattn_lm.data.checks import leaked_texts, text_warnings
from selfattn_lm.data.examples import Split
from selfattn_lm.data.pairs import find_texts
from selfattn_lm.data.sources import load_split, load_splits, split_in_memory, stream_texts
from selfattn_lm.errors import UserError
from selfattn_lm.tasks.label_checks import label_warnings

HEADER = ("premise", "hypothesis", "label")
ROWS = (("a dog runs", "a cat runs", "x"), ("a dog", "a pet", "y"))


def pairs_file(
    folder: Path, rows: Sequence[tuple[str, ...]] = ROWS, header: tuple[str, ...] = HEADER
) -> str:
    return str(write_csv(folder / "pairs.csv", rows, header))


def split_of(*rows: tuple[str, str, str]) -> Split:
    texts, pairs, labels = zip(*rows, strict=True)
    return split_in_memory("texts", texts, labels, pairs)


@pytest.mark.parametrize(
    "names",
    [
        ("sentence1", "sentence2"),
        ("premise", "hypothesis"),
        ("question", "answer"),
        ("question1", "question2"),
        ("text_a", "text_b"),
        ("Premise", " Hypothesis"),
    ],
)
def test_the_columns_of_pairs_are_found_by_their_usual_names(names: tuple[str, str]) -> None:
    first, second = names
    columns = ["id", first, "label", second]
    assert find_texts(columns, DataConfig(), DataConfig(), "f") == ((first,), second)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (DataConfig(), (("premise",), "hypothesis")),
        (DataConfig(pair_column="hypothesis"), (("premise",), "hypothesis")),
        (DataConfig(pair_column="text"), (("sentence",), "text")),
        (DataConfig(pair_column="none"), (("text",), "none")),
        (DataConfig(text_column=("premise",)), (("premise",), "none")),
        (
            DataConfig(text_column=("text", "id"), pair_column="premise"),
            (("text", "id"), "premise"),
        ),
    ],
)
def test_the_settings_choose_the_columns_of_pairs(
    asked: DataConfig, expected: tuple[tuple[str, ...], str]
) -> None:
    columns = ["id", "text", "sentence", "premise", "hypothesis"]
    assert find_texts(columns, asked, DataConfig(), "f") == expected


def test_a_run_remembers_its_columns() -> None:
    known = DataConfig(text_column=("a",), pair_column="b")
    columns = ["a", "b", "premise", "hypothesis"]
    assert find_texts(columns, DataConfig(), known, "f") == (("a",), "b")
    assert find_texts(columns[2:], DataConfig(), known, "f") == (("premise",), "hypothesis")
    single = DataConfig(text_column=("a",), pair_column="none")
    assert find_texts(columns, DataConfig(), single, "f") == (("a",), "none")


def test_a_missing_pair_column_is_named_with_those_found() -> None:
    with pytest.raises(UserError) as error:
        find_texts(["text", "label"], DataConfig(pair_column="b"), DataConfig(), "f")
    assert str(error.value) == (
        "f: no column 'b' with the second text of a pair; found 'text', 'label'."
        " Use --data.pair-column."
    )


def test_one_column_cannot_be_both_texts() -> None:
    asked = DataConfig(text_column=("a",), pair_column="a")
    with pytest.raises(UserError) as error:
        find_texts(["a", "label"], asked, DataConfig(), "f")
    assert str(error.value) == (
        "f: column 'a' would be both texts of a pair; name two different columns with"
        " --data.text-column and --data.pair-column."
    )


def test_pairs_are_read_from_a_file(tmp_path: Path) -> None:
    split = load_splits(DataConfig(pairs_file(tmp_path)))["train"]
    assert split.texts == ["a dog runs", "a dog"]
    assert split.pairs == ["a cat runs", "a pet"]
    assert split.columns == "text from 'premise', pair from 'hypothesis'; label from 'label'"
    assert split.select([1]).pairs == ["a pet"]


def test_pairs_can_be_switched_off(tmp_path: Path) -> None:
    rows = [("a dog runs", "why", "x")]
    path = pairs_file(tmp_path, rows, ("question", "answer", "label"))
    assert load_split(DataConfig(path), None).pairs == ["why"]
    assert load_split(DataConfig(path, pair_column="none"), None).pairs is None


def test_an_empty_second_text_is_refused_by_row_and_column(tmp_path: Path) -> None:
    path = pairs_file(tmp_path, [*ROWS, ("a dog", " ", "x")])
    with pytest.raises(UserError) as error:
        load_splits(DataConfig(path))
    assert str(error.value) == (
        f"{path}, row 3 (line 4): no text in column 'hypothesis', the second of a pair; fill it in"
        " or remove the row."
    )


def test_a_row_without_a_first_text_is_left_out(tmp_path: Path) -> None:
    split = load_split(DataConfig(pairs_file(tmp_path, [*ROWS, ("", "a cat", "x")])), None)
    assert (len(split), split.n_empty) == (2, 1)


def test_pretraining_reads_both_texts_of_a_pair(tmp_path: Path) -> None:
    texts = list(stream_texts(DataConfig(pairs_file(tmp_path))))
    assert texts == ["a dog runs", "a cat runs", "a dog", "a pet"]


def test_pairs_in_python_must_be_as_many_as_texts() -> None:
    with pytest.raises(UserError) as error:
        split_in_memory("texts", ["a", "b"], ["x", "y"], ["c"])
    assert str(error.value) == ("texts: 2 texts but 1 pair; give one second text per text.")


def test_the_fingerprint_covers_the_second_text() -> None:
    one = split_of(("a", "b", "x"))
    assert one.fingerprint == split_of(("a", "b", "x")).fingerprint
    others = [split_of(("a", "c", "x")), split_of(("b", "a", "x"))]
    single = split_in_memory("texts", ["a"], ["x"])
    for other in (*others, single):
        assert other.fingerprint != one.fingerprint


def test_duplicates_leaks_and_conflicts_are_those_of_whole_pairs() -> None:
    train = split_of(("a", "b", "x"), ("a", "c", "y"), ("a", "b", "x"), ("d", "e", "x"))
    test = split_of(("a", "d", "x"), ("a", "b", "x"))
    assert text_warnings({"train": train}) == ["texts: 1 duplicate row"]
    assert list(leaked_texts(train, test, "test")) == [
        "texts: 1 of 2 test pairs also occur in train"
    ]
    assert not any("conflicting" in sentence for sentence in label_warnings({"train": train}))
    conflicting = split_of(("a", "b", "x"), ("a", "b", "y"))
    assert "texts: 1 pair with conflicting labels" in label_warnings({"train": conflicting})
