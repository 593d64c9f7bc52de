"""Data sets by hub name, and local folders in the hub's layout, both through `datasets`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selfattn_lm.errors import UserError
from selfattn_lm.text.sources import Row, format_of


def looks_like_name(source: str) -> bool:
    """Whether it has the form owner/name."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source) is not None and format_of(Path(source)) is None


def looks_like_layout(folder: Path) -> bool:
    """Whether a folder holds a card, or data files where the hub's loader looks for them."""
    files = [file for place in (folder, folder / "data") if place.is_dir() for file in place.iterdir()]
    return (folder / "README.md").is_file() or any(file.is_file() and format_of(file) for file in files)


def load(source: str, subset: str) -> dict[str, tuple[str, Iterator[Row]]]:
    """A row stream for each split of a hub name or of a folder in hub layout."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        found = datasets.load_dataset(source, subset or None)
    except Exception as error:  # the loader raises of all kinds: connection, HTTP, value, parse errors
        raise UserError(f"{source}: {_reason(source, subset, error)}") from None
    names = {name: "validation" if name in ("valid", "dev", "val") else name for name in found}
    return {names[name]: (f"{source} {name}", _rows(found[name])) for name in found}


def _reason(source: str, subset: str, error: Exception) -> str:
    """What went wrong, and what to do."""
    text, kind = " ".join(str(error).split()), type(error).__name__
    if "Config name is missing" in text or "BuilderConfig" in text:
        names = re.findall(r"\[(.*?)\]", text)
        return f"no subset {subset!r}; name one of {names[0] if names else '?'} with --data.subset."
    if Path(source).is_dir():
        return f"not readable as a folder in hub layout: {text[:200]}"
    if kind in ("DatasetNotFoundError", "RepositoryNotFoundError"):
        return "no such file, folder or data set on the hub; check the spelling, or name a local file."
    return (
        f"not a local file or folder, and the hub could not be reached ({kind});"
        " check the connection, or download the data set and name its folder."
    )


def _rows(dataset: Any) -> Iterator[Row]:
    """Rows with label numbers turned into the names that the data set gives them; -1 is a label withheld."""
    names = {key: feature.names for key, feature in dataset.features.items() if hasattr(feature, "names")}
    for number, values in enumerate(dataset, 1):
        labels = {key: values[key] for key in names if isinstance(values[key], int)}
        yield Row(number, values | {key: names[key][i] if i >= 0 else None for key, i in labels.items()})
