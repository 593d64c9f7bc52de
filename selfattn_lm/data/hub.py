"""Reads datasets of the Hugging Face hub, and class names that the `datasets` library stored."""

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from selfattn_lm.config import Quoting
from selfattn_lm.data.listing import entries_of, is_hidden, layout_of, names_of
from selfattn_lm.data.readers import format_of, read_rows, schema_of
from selfattn_lm.data.rows import Row
from selfattn_lm.errors import UserError

log = logging.getLogger(__name__)
Sources = dict[str, tuple[str, Iterator[Row]]]  # by split: its place, for messages, and its rows
FileReader = Callable[[Path], Iterator[Row]]
ClassNames = Mapping[str, Sequence[str]]  # by column: the name of each class number


def load_from_hub(source: str, subset: str) -> Sources:
    """Stream the rows of a dataset of the hub, or of a local folder in the hub's layout.

    Args:
        source: The dataset's name on the hub, or the folder.
        subset: Which of the dataset's subsets to load; "" for the default one.

    Returns:
        The rows of each split, by the hub's name of the split. Splits whose labels are withheld
        are left out with a warning.

    Raises:
        UserError: If the dataset cannot be loaded.
    """
    found: Sources = {}
    for split, data in _load_dataset(source, subset).items():
        names: dict[str, list[str]] = {}
        for column, feature in data.features.items():
            if hasattr(feature, "names"):
                names[column] = feature.names
        if len(data) > 0 and _is_withheld(data[0], names):
            log.warning("%s %s: its labels are withheld, so it is left out", source, split)
            continue
        found[split] = (f"{source} {split}", name_classes(_rows_of(data), names))
    return found


def _load_dataset(source: str, subset: str) -> Mapping[str, Any]:
    """Return the `datasets.Dataset` of each split."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it warns on every retry
    try:
        loaded: Mapping[str, Any] = datasets.load_dataset(source, subset or None)
    except Exception as error:  # connection, HTTP, value and parse errors have no common class
        raise UserError(f"{source}: {_explain(error, source, subset)}") from None
    return loaded


def _explain(error: Exception, source: str, subset: str) -> str:
    """Say why `datasets.load_dataset` failed, and what to do."""
    text = " ".join(str(error).split())
    kind = type(error).__name__
    if "Config name is missing" in text or "BuilderConfig" in text:
        listed = re.search(r"\[(.*?)\]", text)
        known = listed.group(1) if listed else "?"
        return f"no subset {subset!r}; name one of {known} with --data.subset."
    if Path(source).is_dir():
        return f"not readable as a folder in hub layout: {text[:200]}"
    if kind in ("DatasetNotFoundError", "RepositoryNotFoundError"):
        return (
            "no such file, folder or dataset on the hub; check the spelling, or name a local file."
        )
    return (
        f"not a local file or folder, and the hub could not be reached ({kind}); check the"
        " connection, or download the dataset and name its folder."
    )


def _rows_of(data: Iterable[dict[str, Any]]) -> Iterator[Row]:
    for number, values in enumerate(data, 1):
        yield Row(number, values)


def read_named_rows(path: Path, quoting: Quoting = "auto") -> Iterator[Row]:
    """Stream the rows of a file, with class names for class numbers where the file stores them."""
    names = stored_class_names(path)
    rows = read_rows(path, quoting=quoting)
    if names:
        return name_classes(rows, names)
    return rows


def stored_class_names(path: Path) -> dict[str, list[str]]:
    """Return the class names that the `datasets` library stored in a parquet or arrow file.

    Returns:
        The names of the classes, in the order of their numbers, for each column that has them. It
        is empty for other formats and for files that other programs wrote.
    """
    schema = schema_of(path)
    if schema is None or schema.metadata is None:
        return {}
    try:
        stored = json.loads(schema.metadata[b"huggingface"])
        features = stored["info"]["features"].items()
    except (KeyError, TypeError, AttributeError, ValueError):  # absent, or in an unknown form
        return {}
    names: dict[str, list[str]] = {}
    for column, feature in features:
        if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
            continue
        if feature.get("names"):
            names[column] = [str(name) for name in feature["names"]]
    return names


def labels_are_withheld(path: Path) -> bool:
    """Return whether a file names classes but hides them, as public test splits often do."""
    names = stored_class_names(path)
    if not names:
        return False
    first = next(read_rows(path))
    return first.values is not None and _is_withheld(first.values, names)


def _is_withheld(first: Mapping[str, Any], names: ClassNames) -> bool:
    """Return whether the first row has no class; the hub's datasets then hold -1."""
    return any(first.get(column) == -1 for column in names)


def name_classes(rows: Iterable[Row], names: ClassNames) -> Iterator[Row]:
    """Replace class numbers in rows by class names; -1 becomes None, a missing label.

    A row with a number that has no name is given as a bad row.
    """
    for row in rows:
        if row.values is None:
            yield row
        else:
            yield _with_class_names(row, row.values, names)


def _with_class_names(row: Row, values: Mapping[str, Any], names: ClassNames) -> Row:
    named = dict(values)
    problem = ""
    for column, class_names in names.items():
        number = named.get(column)
        if not isinstance(number, int):
            continue
        if number < 0:
            named[column] = None
        elif number < len(class_names):
            named[column] = class_names[number]
        else:
            classes = f"only {len(class_names)} classes have one"
            problem = f"class {number} of column {column!r} has no name; {classes}"
    if problem:
        return replace(row, values=None, problem=problem)
    return replace(row, values=named)


def refuse_without_data(folder: Path) -> None:
    """Raise a `UserError` if the hub's loader would find neither a data file nor a dataset card."""
    entries = [entry for entry in entries_of(folder) if not is_hidden(entry)]
    candidates = list(entries)
    if (folder / "data").is_dir():
        candidates.extend(entries_of(folder / "data"))
    has_data = any(entry.is_file() and format_of(entry) for entry in candidates)
    if has_data or (folder / "README.md").is_file():
        return
    found = ", ".join(names_of(entries[:10])) or "nothing"
    raise UserError(
        f"{folder}: no train file (such as train.csv) and no label folders of .txt files; found"
        f" {found}.{_suggest_inner_folder(entries)}"
    )


def _suggest_inner_folder(entries: Sequence[Path]) -> str:
    """Ask whether the only sub-folder with data is meant; "" if there are none or several."""
    with_data: list[Path] = []
    for entry in entries:
        if entry.is_dir() and layout_of(entry).holds_data:
            with_data.append(entry)
    if len(with_data) != 1:
        return ""
    return f" Did you mean {with_data[0]}?"
