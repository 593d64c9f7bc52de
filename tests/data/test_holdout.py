from collections import Counter

import pytest

from selfattn_lm.data.holdout import few, hold_out
from selfattn_lm.data.sources import Split
from selfattn_lm.errors import UserError


def split_of(labels: str) -> Split:
    return Split("a.csv", [str(i) for i in range(len(labels))], list(labels))


def test_the_rows_held_out_and_the_few_kept_are_those_they_have_always_been() -> None:
    # Tables of accuracy rest on them.
    split = split_of("aaabcaaabaaabaaabdaabcaaabaaab")
    golden = {
        0: (["2", "6", "9", "12", "21", "28"], ["2", "4", "11", "16", "17", "21", "25"]),
        1: (["1", "4", "14", "16", "24", "27"], ["1", "3", "4", "7", "16", "17", "21"]),
        20: (["1", "2", "4", "19", "24", "29"], ["4", "14", "17", "20", "21", "22", "25"]),
    }
    for seed, (held_out, chosen) in golden.items():
        assert hold_out(split, 0.2, seed)[1].texts == held_out
        assert few(split, 2, seed).texts == chosen


def test_a_label_of_two_rows_has_one_on_each_side() -> None:
    for seed in range(5):
        rest, held_out = hold_out(split_of("aabb"), 0.9, seed)
        assert sorted(rest.labels + held_out.labels) == list("aabb")
        assert "b" in held_out.labels


def test_labels_with_fewer_rows_than_asked_keep_all_of_them() -> None:
    assert few(split_of("abcbabc"), 3, seed=0) == split_of("abcbabc").take(range(7))


def test_rows_held_out_are_a_share_of_each_label_and_a_label_seen_once_stays() -> None:
    rows = [
        (f"{label} {i}", label) for label, count in (("a", 60), ("b", 20), ("c", 2), ("d", 1)) for i in range(count)
    ]
    split = Split("a", *map(list, zip(*rows, strict=True)))
    rest, held = hold_out(split, 0.1, seed=0)
    assert Counter(held.labels) == {"a": 6, "b": 2, "c": 1}
    assert sorted(rest.texts + held.texts) == sorted(split.texts)
    assert hold_out(split, 0.1, seed=0) == (rest, held)
    assert hold_out(split, 0.1, seed=1)[1] != held


def test_nothing_can_be_held_out_where_no_label_has_two_rows() -> None:
    with pytest.raises(UserError) as caught:
        hold_out(Split("a.csv", ["a", "b"], ["x", "y"]), 0.1, seed=0)
    message = "a.csv: no label has two rows, so none can be held out; name a file with --data.validation."
    assert str(caught.value) == message
