"""What is odd about labelled texts, a sentence each; none of it ends a run."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from selfattn_lm.data.characters import is_invisible
from selfattn_lm.data.sources import Split

_SHOWN = 10  # so many labels, or groups of them, are named; the rest is counted
_WHOLE_NUMBER = re.compile(r"([+-]?\d{1,18})(\.0*)?")  # 1, 01, +1, 1.0


def warnings_about(splits: Mapping[str, Split]) -> list[str]:
    """What is odd about the splits as they were read."""
    train = splits["train"]
    sentences = list(_rare_labels(train))
    for split in splits.values():
        sentences += _unseen_labels(split, train)
    sentences += _alike_labels(splits)
    for split in splits.values():
        if split.blank:
            sentences.append(f"{split.where}: left out {_counted(split.blank, 'row')} without a text")
    sentences += _repeated_texts(train)
    for name in ("validation", "test"):
        if name in splits:
            sentences += leaked_texts(train, splits[name], name)
    return sentences


def leaked_texts(train: Split, split: Split, name: str) -> Iterator[str]:
    """Texts of another split that are also trained on: its score is better than that on new texts will be.

    Args:
        train: What is trained on.
        split: What is scored.
        name: What its texts are called: validation, test, held-out.
    """
    trained_on = set(train.texts)
    shared = sum(text in trained_on for text in split.texts)
    if shared:
        yield f"{split.where}: {shared:,} of {len(split):,} {name} texts also occur in train"


def _rare_labels(train: Split) -> Iterator[str]:
    single = [name for name, count in Counter(train.labels).items() if count == 1]
    if single:
        yield f"{train.where}: labels with a single training row: {_some([repr(name) for name in single])}"


def _unseen_labels(split: Split, train: Split) -> Iterator[str]:
    unseen = sorted(set(split.labels) - set(train.labels))
    if unseen:
        yield f"{split.where}: never seen in train, so never predicted: {_some([repr(name) for name in unseen])}"


def _alike_labels(splits: Mapping[str, Split]) -> Iterator[str]:
    """Labels, of any split, that were perhaps meant to be the same."""
    names = {name for split in splits.values() for name in split.labels}
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(_simplified(name), []).append(name)
    alike = [" and ".join(map(_distinct, group)) for group in groups.values() if len(group) > 1]
    if alike:
        yield f"{splits['train'].where}: labels that look alike but count as different ones: {_some(alike, '; ')}"


def _simplified(label: str) -> str:
    """The label without case, white space, invisible characters, and other ways to write the same: full width, 1.0."""
    text = unicodedata.normalize("NFKC", label).casefold()
    text = unicodedata.normalize("NFKC", text)  # folding may have taken a letter and its mark apart
    text = "".join(character for character in text if not is_invisible(character))
    number = _WHOLE_NUMBER.fullmatch(text)
    return str(int(number[1])) if number else text


def _distinct(label: str) -> str:
    """The label in quotes; one that is not written in composed letters with escapes, or it would look like another."""
    return repr(label) if unicodedata.is_normalized("NFC", label) else ascii(label)


def _repeated_texts(train: Split) -> Iterator[str]:
    labels_of: dict[str, set[str]] = {}
    for text, label in zip(train.texts, train.labels, strict=True):
        labels_of.setdefault(text, set()).add(label)
    duplicates = len(train) - sum(len(labels) for labels in labels_of.values())
    if duplicates:
        yield f"{train.where}: {_counted(duplicates, 'duplicate row')}"
    conflicting = sum(len(labels) > 1 for labels in labels_of.values())
    if conflicting:
        yield f"{train.where}: {_counted(conflicting, 'text')} with conflicting labels"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _some(names: Sequence[str], separator: str = ", ") -> str:
    shown = separator.join(names[:_SHOWN])
    rest = len(names) - _SHOWN
    return f"{shown} and {rest:,} more" if rest > 0 else shown
