"""Data sets of the hub, or of a folder in its layout, and the names that the `datasets` library gives to classes."""

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from selfattn_lm.config import Quoting
from selfattn_lm.data.readers import read_rows, schema_of
from selfattn_lm.data.rows import Row
from selfattn_lm.errors import UserError

log = logging.getLogger(__name__)
Sources = dict[str, tuple[str, Iterator[Row]]]  # by split: where it is, for messages, and its rows
Reader = Callable[[Path], Iterator[Row]]
ClassNames = Mapping[str, Sequence[str]]  # by column: the name of each class, at its number


def load_from_hub(source: str, subset: str) -> Sources:
    """A row stream for each split, by the hub's name for it, of a hub name or of a folder in the hub's layout."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of each time that it tries again
    try:
        loaded = datasets.load_dataset(source, subset or None)
    except Exception as error:  # the loader raises of all kinds: connection, HTTP, value, parse errors
        raise UserError(f"{source}: {_reason(error, source, subset)}") from None
    found: Sources = {}
    for split, data in loaded.items():
        names = {column: feature.names for column, feature in data.features.items() if hasattr(feature, "names")}
        first = data[0] if len(data) else {}
        if _is_withheld(first, names):
            log.warning("%s %s: its labels are withheld, so it is left out", source, split)
            continue
        rows = (Row(number, values) for number, values in enumerate(data, 1))
        found[split] = (f"{source} {split}", name_classes(rows, names))
    return found


def _reason(error: Exception, source: str, subset: str) -> str:
    """Why the hub's loader failed, and what to do."""
    text = " ".join(str(error).split())
    kind = type(error).__name__
    if "Config name is missing" in text or "BuilderConfig" in text:
        lists = re.findall(r"\[(.*?)\]", text)
        known = lists[0] if lists else "?"
        return f"no subset {subset!r}; name one of {known} with --data.subset."
    if Path(source).is_dir():
        return f"not readable as a folder in hub layout: {text[:200]}"
    if kind in ("DatasetNotFoundError", "RepositoryNotFoundError"):
        return "no such file, folder or data set on the hub; check the spelling, or name a local file."
    reason = f"not a local file or folder, and the hub could not be reached ({kind})"
    return f"{reason}; check the connection, or download the data set and name its folder."


def read_named_rows(path: Path, quoting: Quoting = "auto") -> Iterator[Row]:
    """The rows of a file; classes have the names that the file stores for them, if it does."""
    names = stored_class_names(path)
    rows = read_rows(path, quoting=quoting)
    return name_classes(rows, names) if names else rows


def stored_class_names(path: Path) -> dict[str, list[str]]:
    """The class names in a parquet or arrow file that the `datasets` library wrote, by column; of others, none."""
    schema = schema_of(path)
    stored = schema.metadata if schema is not None else None
    try:
        features = json.loads((stored or {})[b"huggingface"])["info"]["features"].items()
    except (KeyError, TypeError, AttributeError, ValueError):  # nothing stored, or of a form that is not known
        return {}
    names: dict[str, list[str]] = {}
    for column, feature in features:
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names"):
            names[column] = [str(name) for name in feature["names"]]
    return names


def labels_are_withheld(path: Path) -> bool:
    """Whether a file names classes but its first row has none, as in test splits whose labels are kept back."""
    names = stored_class_names(path)
    if not names:
        return False
    return _is_withheld(next(read_rows(path)).values or {}, names)


def _is_withheld(first: Mapping[str, Any], names: ClassNames) -> bool:
    return any(first.get(column) == -1 for column in names)


def name_classes(rows: Iterable[Row], names: ClassNames) -> Iterator[Row]:
    """Rows with class numbers turned into the names that the data set gives them; -1 is a label withheld."""
    for row in rows:
        if row.values is None:
            yield row
            continue
        values = dict(row.values)
        problem = ""
        for column, known in names.items():
            number = values.get(column)
            if not isinstance(number, int):
                continue
            if number >= len(known):
                problem = f"class {number} of column {column!r} has no name; only {len(known)} have"
            else:
                values[column] = known[number] if number >= 0 else None
        yield replace(row, values=None, problem=problem) if problem else replace(row, values=values)
