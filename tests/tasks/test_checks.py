import pytest
from helpers import SMALL

from selfattn_lm.config import settings_from
from selfattn_lm.data.checks import leaked_texts, text_warnings
from selfattn_lm.data.examples import Split
from selfattn_lm.tasks.label_checks import label_warnings
from selfattn_lm.training.data import prepare


def warnings_of(splits: dict[str, Split]) -> list[str]:
    """What is said of splits with one label per text."""
    return [*label_warnings(splits), *text_warnings(splits)]


def alike(*labels: str) -> list[str]:
    rows = [f"text {i}" for i in range(2 * len(labels))]
    return warnings_of({"train": Split.from_lists("a.csv", rows, [*labels, *labels])})


def test_what_is_odd_about_the_data_is_said_a_sentence_each() -> None:
    train = Split.from_lists(
        "a.csv", ["a", "b", "b", "c", "c", "d"], ["x", "y", "y", "x", "y", "z"], n_empty=3
    )
    validation = Split.from_lists("b.csv", ["a", "e"], ["x", "y"])
    test = Split.from_lists("c.csv", ["f", "c", "a"], ["w", "x", "v"])
    assert warnings_of({"train": train, "validation": validation, "test": test}) == [
        "a.csv: labels with a single training row: 'z'",
        "c.csv: never seen in train, so never predicted: 'v', 'w'",
        "a.csv: 1 text with conflicting labels",
        "a.csv: left out 3 rows without a text",
        "a.csv: 1 duplicate row",
        "b.csv: 1 of 2 validation texts also occur in train",
        "c.csv: 2 of 3 test texts also occur in train",
    ]
    assert warnings_of({"train": Split.from_lists("a.csv", list("abcd"), ["x", "y"] * 2)}) == []


def test_of_many_labels_ten_are_named() -> None:
    train = Split.from_lists("a.csv", [str(i) for i in range(12)], [f"l{i:02}" for i in range(12)])
    names = ", ".join(f"'l{i:02}'" for i in range(10))
    assert warnings_of({"train": train}) == [
        f"a.csv: labels with a single training row: {names} and 2 more"
    ]


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (["pos", "Pos", "neg"], "'Pos' and 'pos'"),
        (["sci fi", "sci  fi", "scifi"], "'sci  fi' and 'sci fi' and 'scifi'"),
        (["a b", "a\u00a0b"], r"'a b' and 'a\xa0b'"),
        (["caf\u00e9", "cafe\u0301"], r"'cafe\u0301' and 'café'"),
        (["CAF\u00c9", "cafe\u0301"], r"'CAFÉ' and 'cafe\u0301'"),
        (["ABC", "\uff21\uff22\uff23"], "'ABC' and 'ＡＢＣ'"),
        (["pos", "pos\u200b"], r"'pos' and 'pos\u200b'"),
        (["1", "1.0", "2"], "'1' and '1.0'"),
        (["01", "1"], "'01' and '1'"),
        (["-1", "-1.00", "1"], "'-1' and '-1.00'"),
        (["Straße", "STRASSE"], "'STRASSE' and 'Straße'"),
        (["A", "B", "a", "b"], "'A' and 'a'; 'B' and 'b'"),
    ],
)
def test_labels_that_look_alike_are_named(labels: list[str], named: str) -> None:
    assert alike(*labels) == [f"a.csv: labels that look alike but count as different ones: {named}"]


@pytest.mark.parametrize(
    "labels", [["1", "10"], ["a", "á"], ["か", "が"], ["c", "c++"], ["1.5", "15"], ["-1", "1"]]
)
def test_labels_that_differ_are_not_said_to_look_alike(labels: list[str]) -> None:
    assert alike(*labels) == []


def test_labels_of_different_splits_may_look_alike() -> None:
    train = Split.from_lists("a.csv", ["a", "b", "c", "d"], ["x", "y", "x", "y"])
    assert warnings_of({"train": train, "test": Split.from_lists("b.csv", ["e"], ["X"])}) == [
        "b.csv: never seen in train, so never predicted: 'X'",
        "a.csv: labels that look alike but count as different ones: 'X' and 'x'",
    ]


def test_a_text_of_three_labels_is_one_text_and_no_duplicate() -> None:
    train = Split.from_lists(
        "a.csv", ["a", "a", "a", "a", "b", "c"], ["x", "y", "z", "z", "x", "y"]
    )
    sentences = ["a.csv: 1 text with conflicting labels", "a.csv: 1 duplicate row"]
    assert warnings_of({"train": train}) == sentences


def test_held_out_texts_that_are_also_trained_on_are_counted(
    said: pytest.LogCaptureFixture,
) -> None:
    rows = [f"text {i % 20}" for i in range(80)]
    splits = {"train": Split.from_lists("a.csv", rows, ["x", "y"] * 40)}
    prepared = prepare(splits, settings_from(SMALL, "settings"), None)
    assert said.messages == [
        "a.csv: 60 duplicate rows",
        "a.csv: 8 of 8 held-out texts also occur in train",
    ]
    assert (
        list(leaked_texts(prepared.splits["train"], prepared.splits["validation"], "held-out"))
        == said.messages[1:]
    )


def test_a_validation_split_that_is_given_is_counted_once(said: pytest.LogCaptureFixture) -> None:
    train = Split.from_lists("a.csv", ["a b", "c b", "e f", "g h"], ["x", "y"] * 2)
    validation = Split.from_lists("b.csv", ["a b"], ["x"])
    splits = {"train": train, "validation": validation}
    prepare(splits, settings_from(SMALL, "settings"), None)
    assert said.messages == ["b.csv: 1 of 1 validation texts also occur in train"]
