"""What is odd about target numbers: sentences for the log, none of which ends a run."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from selfattn_lm.data.examples import Split
from selfattn_lm.phrases import counted

_FAR = 10  # standard deviations from the mean


def number_warnings(splits: Mapping[str, Split]) -> list[str]:
    """Find numbers that are far from the others, out of the training range, or in conflict."""
    train = splits["train"]
    sentences = list(_outliers(train))
    for name, split in splits.items():
        if name != "train":
            sentences += _out_of_range(split, train, name)
    sentences += _conflicting_numbers(train)
    return sentences


def _outliers(train: Split) -> Iterator[str]:
    numbers = np.array(train.targets)
    distances = np.abs(numbers - numbers.mean())
    is_far = distances > _FAR * numbers.std()
    if is_far.any():
        found = counted(int(is_far.sum()), "target")
        farthest = numbers[distances.argmax()]
        reason = f"more than {_FAR} standard deviations from the mean, as far as {farthest:g}"
        yield f"{train.source}: {found} {reason}"


def _out_of_range(split: Split, train: Split, name: str) -> Iterator[str]:
    """Numbers beyond the training range by more than its width, perhaps in another unit."""
    trained = np.array(train.targets)
    low, high = trained.min(), trained.max()
    width = high - low
    numbers = np.array(split.targets)
    is_far = (numbers < low - width) | (numbers > high + width)
    if is_far.any():
        found = f"{int(is_far.sum()):,} of {len(split):,} {name} targets"
        example = numbers[is_far][0]
        reason = f"far outside the training range, {low:g} to {high:g}, such as {example:g}"
        yield f"{split.source}: {found} are {reason}"


def _conflicting_numbers(train: Split) -> Iterator[str]:
    first: dict[tuple[Any, str | None], float] = {}
    conflicting: set[tuple[Any, str | None]] = set()
    for text, pair, number in train.examples:
        key = (text, pair)
        if first.setdefault(key, number) != number:
            conflicting.add(key)
    if conflicting:
        yield f"{train.source}: {counted(len(conflicting), train.noun)} with conflicting numbers"
