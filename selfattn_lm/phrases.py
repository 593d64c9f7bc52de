"""Numbers and names in messages."""

from collections.abc import Sequence


def counted(count: int, noun: str) -> str:
    """Write a number with its noun: 1 row, 2,000 rows."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}s"


def listed(names: Sequence[str], most: int = 10, separator: str = ", ") -> str:
    """Write the first names, and the number of the others: a, b and 3 more."""
    shown = separator.join(names[:most])
    others = len(names) - most
    if others > 0:
        return f"{shown} and {others:,} more"
    return shown
