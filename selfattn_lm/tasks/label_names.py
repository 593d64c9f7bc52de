"""Names of labels: those of a target, their order, how many rows have them."""

from collections import Counter
from collections.abc import Iterable, Sequence

_MAX_NAMED = 8  # labels in a summary


def labels_of(target: str | Sequence[str]) -> tuple[str, ...]:
    """Return the labels of a target, which is one label or several."""
    if isinstance(target, str):
        return (target,)
    return tuple(target)


def count_labels(targets: Iterable[str | Sequence[str]]) -> Counter[str]:
    """Count the rows of each label."""
    counts: Counter[str] = Counter()
    for target in targets:
        counts.update(labels_of(target))
    return counts


def sorted_names(names: Iterable[str]) -> list[str]:
    """Sort names by their numbers if all are whole numbers, else by name."""
    names = list(names)
    if not all(name.removeprefix("-").isdecimal() for name in names):
        return sorted(names)
    numbers = [(int(name), name) for name in names]
    return [name for _, name in sorted(numbers)]


def named_counts(counts: Counter[str]) -> str:
    """Name labels with their rows; of many, the most frequent and the rarest."""
    named = [f"{name} {count:,}" for name, count in counts.most_common()]
    if len(named) > _MAX_NAMED:
        named = [*named[:3], "…", *named[-2:]]
    return ", ".join(named)
