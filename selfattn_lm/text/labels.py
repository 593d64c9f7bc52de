"""The set of labels, rows held out for validation, and what may be wrong with labelled texts."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from selfattn_lm.errors import UserError
from selfattn_lm.text.splits import Split


def label_names(splits: Mapping[str, Split]) -> list[str]:
    """All labels of all splits, whole numbers in their order, others by name.

    Raises:
        UserError: If train has one label alone, or as many labels as rows.
    """
    train = splits["train"]
    known = set(train.labels)
    if len(known) == 1:
        raise UserError(f"{train.where}: every row has the label {train.labels[0]!r}; a classifier needs two or more.")
    names = known.union(*(split.labels for split in splits.values()))
    if len(train) < len(names) or len(train) == len(known):
        raise UserError(
            f"{train.where}: {len(train)} rows for {len(names)} labels; give several rows a label, or name the right"
            " column with --data.label-column."
        )
    numbers = all(name.removeprefix("-").isdecimal() for name in names)
    return sorted(names, key=lambda name: (int(name), name)) if numbers else sorted(names)


def hold_out(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Take a share of each label's rows out, at least one; a label with one row keeps it: (rest, held out)."""
    random = np.random.default_rng(seed)
    labels = np.array(split.labels)
    held: list[int] = []
    for name in dict.fromkeys(split.labels):
        rows = random.permutation(np.flatnonzero(labels == name))
        held += rows[: max(1, round(share * len(rows))) if len(rows) > 1 else 0].tolist()
    rest = sorted(set(range(len(split))) - set(held))
    if not held:
        raise UserError(
            f"{split.where}: no label has two rows, so none can be held out; name a file with --data.validation."
        )
    return split.take(rest), split.take(sorted(held))


def warnings_about(splits: Mapping[str, Split]) -> list[str]:
    """What is odd about the data, counted, a sentence each; none of it ends a run."""
    train = splits["train"]
    counts = Counter(train.labels)
    found = [
        _list(f"{train.where}: seen once in train:", [name for name, count in counts.items() if count == 1]),
        *(
            _list(f"{split.where}: never seen in train, so never predicted:", sorted(set(split.labels) - set(counts)))
            for split in splits.values()
        ),
        *(f"{split.where}: {split.blank} rows without a text are left out" for split in splits.values() if split.blank),
    ]
    pairs = set(zip(train.texts, train.labels, strict=True))
    distinct = len(set(train.texts))
    if len(pairs) < len(train):
        found.append(f"{train.where}: {len(train) - len(pairs)} rows say again what another row says")
    if distinct < len(pairs):
        found.append(f"{train.where}: {len(pairs) - distinct} texts stand with more than one label")
    seen = set(train.texts)
    for name in ("validation", "test"):
        if name in splits and (shared := sum(text in seen for text in splits[name].texts)):
            found.append(f"{splits[name].where}: {shared} of {len(splits[name])} {name} texts also stand in train")
    return [sentence for sentence in found if sentence]


def encode_labels(labels: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Label names to their numbers: int64 (rows,)."""
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[label] for label in labels], dtype=np.int64)


def _list(begin: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"{begin} {', '.join(map(repr, names[:10]))}{more}"
