"""Labelled examples as they are read, before a task gives their targets a meaning."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from selfattn_lm.config import TaskKind
from selfattn_lm.data.columns import AUTO
from selfattn_lm.data.targets import Target
from selfattn_lm.data.vectors import Vectors
from selfattn_lm.phrases import listed


class Example(NamedTuple):
    """One example.

    Attributes:
        text: The text, without white space around it; or a sequence of vectors in its place.
        pair: The second text, where an example consists of two.
        target: The label, the labels or the number that was read.
    """

    text: str | Vectors
    pair: str | None
    target: Target


@dataclass(frozen=True)
class Split:
    """Examples of one split; none of their texts is empty.

    Attributes:
        source: Where they were read, for messages.
        examples: The examples.
        n_empty: How many rows were left out because they have no text.
        text_columns: The columns of the text; `AUTO` for texts in memory, which have no columns.
        pair_column: The column of the second text; `none` where an example has one text.
        label_columns: The column of the target; or one for each label.
        kind: What the targets are: `single_label`, `multi_label` or `regression`.
        integer_labels: Whether the targets were given in Python, all as integers.
    """

    source: str
    examples: list[Example]
    n_empty: int = 0
    text_columns: tuple[str, ...] = AUTO
    pair_column: str = "none"
    label_columns: tuple[str, ...] = AUTO
    kind: TaskKind = "single_label"
    integer_labels: bool = False

    @classmethod
    def from_lists(
        cls, source: str, texts: Iterable[str], targets: Iterable[Target], **more: Any
    ) -> "Split":
        """Build a split from texts and their targets; `more` are other attributes."""
        pairs = zip(texts, targets, strict=True)
        examples = [Example(text, None, target) for text, target in pairs]
        return cls(source, examples, **more)

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def texts(self) -> list[Any]:
        """The texts, or the sequences of vectors in their place."""
        return [example.text for example in self.examples]

    @property
    def has_vectors(self) -> bool:
        """Whether the examples are sequences of vectors, and not texts."""
        return isinstance(self.examples[0].text, Vectors)

    @property
    def noun(self) -> str:
        """What an example is called in messages: text, pair or sequence."""
        if self.has_vectors:
            return "sequence"
        if self.pairs is not None:
            return "pair"
        return "text"

    @cached_property
    def pairs(self) -> list[str] | None:
        """The second texts; None where an example has one text."""
        if self.pair_column == "none":
            return None
        return [example.pair or "" for example in self.examples]

    @cached_property
    def targets(self) -> list[Target]:
        """The targets as they were read."""
        return [example.target for example in self.examples]

    def select(self, rows: Iterable[int]) -> "Split":
        """Return the split with some of its rows, in the order given."""
        return replace(self, examples=[self.examples[row] for row in rows], n_empty=0)

    @property
    def columns(self) -> str:
        """Which columns were read, as a phrase; empty where there are none."""
        if self.text_columns == AUTO:
            return ""
        names = ", ".join(repr(name) for name in self.text_columns)
        labels = listed([repr(name) for name in self.label_columns])
        if self.pairs is not None:
            names = f"{names}, pair from {self.pair_column!r}"
        what = "text"
        if self.has_vectors:
            what = "sequence"
        return f"{what} from {names}; label from {labels}"

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all texts, pairs and targets."""
        digest = hashlib.sha256()
        for text, pair, target in self.examples:
            line = f"{len(text)} {text} {target}\n"
            if pair is not None:
                line = f"{len(text)} {text} {len(pair)} {pair} {target}\n"
            digest.update(line.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return plain facts for `data.json`: rows, empty rows, a fingerprint."""
        return {"rows": len(self), "blank": self.n_empty, "sha256": self.fingerprint}
