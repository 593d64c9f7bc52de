"""What is odd about labels: sentences for the log, none of which ends a run."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from selfattn_lm.data.characters import is_invisible
from selfattn_lm.data.examples import Split
from selfattn_lm.phrases import counted, listed
from selfattn_lm.tasks.label_names import count_labels, labels_of

_WHOLE_NUMBER = re.compile(r"([+-]?\d{1,18})(\.0*)?")  # 1, 01, +1, 1.0


def label_warnings(splits: Mapping[str, Split]) -> list[str]:
    """Find labels that are rare, missing in the training split, alike, or in conflict."""
    train = splits["train"]
    sentences = list(_rare_labels(train))
    for split in splits.values():
        sentences += _unseen_labels(split, train)
    sentences += _alike_labels(splits)
    sentences += _conflicting_labels(train)
    return sentences


def _rare_labels(train: Split) -> Iterator[str]:
    counts = count_labels(train.targets)
    single = [repr(name) for name, count in counts.items() if count == 1]
    if single:
        yield f"{train.source}: labels with a single training row: {listed(single)}"


def _unseen_labels(split: Split, train: Split) -> Iterator[str]:
    trained = count_labels(train.targets)
    unseen = sorted(name for name in count_labels(split.targets) if name not in trained)
    if unseen:
        names = listed([repr(name) for name in unseen])
        yield f"{split.source}: never seen in train, so never predicted: {names}"


def _alike_labels(splits: Mapping[str, Split]) -> Iterator[str]:
    """Labels, of any split, that were perhaps meant to be the same."""
    names: set[str] = set()
    for split in splits.values():
        names.update(count_labels(split.targets))
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(_simplified(name), []).append(name)
    alike = []
    for group in groups.values():
        if len(group) > 1:
            alike.append(" and ".join(_distinct(name) for name in group))
    if alike:
        source = splits["train"].source
        reason = "labels that look alike but count as different ones"
        yield f"{source}: {reason}: {listed(alike, separator='; ')}"


def _simplified(label: str) -> str:
    """The label without case, white space, invisible characters, full width, and `.0`."""
    text = unicodedata.normalize("NFKC", label).casefold()
    text = unicodedata.normalize("NFKC", text)  # folding may have taken a letter and its mark apart
    text = "".join(character for character in text if not is_invisible(character))
    number = _WHOLE_NUMBER.fullmatch(text)
    if number is None:
        return text
    return str(int(number[1]))


def _distinct(label: str) -> str:
    """The label in quotes; with escapes if it would look like another in composed letters."""
    if unicodedata.is_normalized("NFC", label):
        return repr(label)
    return ascii(label)


def _conflicting_labels(train: Split) -> Iterator[str]:
    first: dict[tuple[Any, str | None], set[str]] = {}
    conflicting: set[tuple[Any, str | None]] = set()
    for text, pair, target in train.examples:
        labels = set(labels_of(target))
        if first.setdefault((text, pair), labels) != labels:
            conflicting.add((text, pair))
    if conflicting:
        yield f"{train.source}: {counted(len(conflicting), train.noun)} with conflicting labels"
