"""The set of labels, rows held out for validation, and what may be wrong with labelled texts."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from selfattn_lm.errors import UserError
from selfattn_lm.text.splits import Split


def label_names(splits: Mapping[str, Split]) -> list[str]:
    """All labels of all splits, whole numbers in their order, others by name; refuses a train with too few to learn."""
    train, known = splits["train"], set(splits["train"].labels)
    if len(known) == 1:
        raise UserError(f"{train.where}: every row has the label {train.labels[0]!r}; a classifier needs two or more.")
    names = known.union(*(split.labels for split in splits.values()))
    if len(train) < len(names) or len(train) == len(known):
        advice = "give several rows a label, or name the right column with --data.label-column"
        raise UserError(f"{train.where}: {len(train)} rows for {len(names)} labels; {advice}.")
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
    if not held:
        reason = "no label has two rows, so none can be held out"
        raise UserError(f"{split.where}: {reason}; name a file with --data.validation.")
    rest = np.delete(np.arange(len(split)), held)
    return split.take(rest.tolist()), split.take(sorted(held))


def few(split: Split, shots: int, seed: int) -> Split:
    """At most so many rows of each label, chosen by the seed."""
    seen, rows = Counter[str](), list[int]()
    for i in np.random.default_rng(seed).permutation(len(split)).tolist():
        seen[split.labels[i]] += 1
        rows += [i] if seen[split.labels[i]] <= shots else []
    return split.take(sorted(rows))


def warnings_about(splits: Mapping[str, Split]) -> list[str]:
    """What is odd about the data, counted, a sentence each; none of it ends a run."""
    train = splits["train"]
    counts, texts = Counter(train.labels), dict(zip(train.texts, train.labels, strict=True))
    other = {pair for pair in zip(train.texts, train.labels, strict=True) if texts[pair[0]] != pair[1]}
    once = [name for name, count in counts.items() if count == 1]
    found = [(len(once), f"{train.where}: seen once in train: {_list(once)}")]
    for split in splits.values():
        new = sorted(set(split.labels) - set(counts))
        found.append((len(new), f"{split.where}: never seen in train, so never predicted: {_list(new)}"))
    for split in splits.values():
        found.append((split.blank, f"{split.where}: {split.blank} rows without a text are left out"))
    again, disputed = len(train) - len(texts) - len(other), len(other)
    found.append((again, f"{train.where}: {again} rows say again what another row says"))
    found.append((disputed, f"{train.where}: {disputed} texts stand with more than one label"))
    for name in ("validation", "test"):
        if name in splits:
            split, shared = splits[name], sum(text in texts for text in splits[name].texts)
            found.append((shared, f"{split.where}: {shared} of {len(split)} {name} texts also stand in train"))
    return [sentence for count, sentence in found if count]


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def encode_labels(labels: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Label names to their numbers: int64 (rows,)."""
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[label] for label in labels], dtype=np.int64)
