"""What is odd about texts, whatever their targets: sentences for the log."""

from collections.abc import Iterator, Mapping
from typing import Any

from selfattn_lm.data.examples import Split
from selfattn_lm.phrases import counted


def text_warnings(splits: Mapping[str, Split]) -> list[str]:
    """Find rows without a text, duplicate rows, and texts that are in several splits."""
    train = splits["train"]
    sentences = []
    for split in splits.values():
        if split.n_empty > 0:
            rows = counted(split.n_empty, "row")
            sentences.append(f"{split.source}: left out {rows} without a text")
    duplicates = len(train) - len(set(train.examples))
    if duplicates > 0:
        sentences.append(f"{train.source}: {counted(duplicates, 'duplicate row')}")
    for name in ("validation", "test"):
        if name in splits:
            sentences += leaked_texts(train, splits[name], name)
    return sentences


def read_texts(split: Split) -> list[tuple[Any, str | None]]:
    """What a model reads of each example: its text, and the second text of a pair."""
    return [(example.text, example.pair) for example in split.examples]


def leaked_texts(train: Split, split: Split, name: str) -> Iterator[str]:
    """Find texts that are also trained on: their score is better than that on new texts will be.

    Args:
        train: The training split.
        split: The split that is scored.
        name: What its texts are called: validation, test, held-out.
    """
    trained_on = set(read_texts(train))
    shared = sum(text in trained_on for text in read_texts(split))
    if shared > 0:
        examples = f"{len(split):,} {name} {split.noun}s"
        yield f"{split.source}: {shared:,} of {examples} also occur in train"
