from collections import Counter

import pytest

from selfattn_lm.data.examples import Split
from selfattn_lm.errors import UserError
from selfattn_lm.tasks import SingleLabel
from selfattn_lm.tasks.strata import few_rows, held_out_rows
from selfattn_lm.training.data import hold_out

TASK = SingleLabel(["a", "b", "c", "d"])


def split_of(labels: str) -> Split:
    return Split.from_lists("a.csv", [str(i) for i in range(len(labels))], list(labels))


def test_the_rows_held_out_and_the_few_chosen_are_those_they_have_always_been() -> None:
    # Tables of accuracy depend on them.
    labels = list("aaabcaaabaaabaaabdaabcaaabaaab")
    golden = {
        0: ([2, 6, 9, 12, 21, 28], [2, 4, 11, 16, 17, 21, 25]),
        1: ([1, 4, 14, 16, 24, 27], [1, 3, 4, 7, 16, 17, 21]),
        20: ([1, 2, 4, 19, 24, 29], [4, 14, 17, 20, 21, 22, 25]),
    }
    for seed, (held_out, chosen) in golden.items():
        assert held_out_rows(labels, 0.2, seed) == held_out
        assert few_rows(labels, 2, seed) == chosen


def test_a_label_of_two_rows_has_one_on_each_side() -> None:
    for seed in range(5):
        rest, held_out = hold_out(split_of("aabb"), 0.9, TASK, seed)
        assert sorted(rest.targets + held_out.targets) == list("aabb")
        assert "b" in held_out.targets


def test_labels_with_fewer_rows_than_wanted_keep_all_of_them() -> None:
    assert few_rows(list("abcbabc"), 3, seed=0) == list(range(7))


def test_a_fraction_of_each_label_is_held_out_and_a_label_with_one_row_stays() -> None:
    split = split_of("a" * 60 + "b" * 20 + "cc" + "d")
    rest, held_out = hold_out(split, 0.1, TASK, seed=0)
    assert Counter(held_out.targets) == {"a": 6, "b": 2, "c": 1}
    assert sorted(rest.texts + held_out.texts) == sorted(split.texts)
    assert hold_out(split, 0.1, TASK, seed=0) == (rest, held_out)
    assert hold_out(split, 0.1, TASK, seed=1)[1] != held_out


def test_nothing_can_be_held_out_where_no_label_has_two_rows() -> None:
    with pytest.raises(UserError) as caught:
        hold_out(split_of("ab"), 0.1, TASK, seed=0)
    reason = "no label has two rows, so none can be held out"
    assert str(caught.value) == f"a.csv: {reason}; name a file with --data.validation."
