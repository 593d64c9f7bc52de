"""Data sets by hub name, and local folders in the hub's layout, both through `datasets`."""

import contextlib
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
    """Whether a folder holds a card or data files where the hub's loader looks for them."""
    data = folder / "data"
    return (folder / "README.md").is_file() or any(
        format_of(f) for place in (folder, data) if place.is_dir() for f in place.iterdir() if f.is_file()
    )


def load(source: str, subset: str) -> dict[str, tuple[str, Iterator[Row]]]:
    """A row stream for each split of a hub name or of a folder in hub layout.

    Raises:
        UserError: If the hub cannot be reached, or has no such data set or subset.
    """
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        found = datasets.load_dataset(source, subset or None)
    except Exception as error:  # the loader raises of all kinds: connection, HTTP, value, parse errors
        raise UserError(_sentence(source, subset, error)) from None
    return {_split_name(name): (f"{source} {name}", _rows(found[name])) for name in found}


def _split_name(name: str) -> str:
    return {"valid": "validation", "dev": "validation", "val": "validation"}.get(name, name)


def _sentence(source: str, subset: str, error: Exception) -> str:
    """What went wrong, in one sentence."""
    text = " ".join(str(error).split())
    if "Config name is missing" in text or "Unknown config" in text or "BuilderConfig" in text:
        names = re.findall(r"\[(.*?)\]", text)
        return f"{source}: no subset {subset!r}; name one of {names[0] if names else '?'} with --data.subset."
    if Path(source).is_dir():
        return f"{source}: not readable as a folder in hub layout: {text[:200]}"
    if type(error).__name__ in ("DatasetNotFoundError", "RepositoryNotFoundError"):
        return f"{source}: no such file, folder or data set on the hub; check the spelling, or name a local file."
    return (
        f"{source}: not a local file or folder, and the hub could not be reached ({type(error).__name__});"
        " check the connection, or download the data set and name its folder."
    )


def _rows(dataset: Any) -> Iterator[Row]:
    """Rows with label numbers turned into the names that the data set gives them."""
    names = {key: feature.names for key, feature in dataset.features.items() if hasattr(feature, "names")}
    for number, values in enumerate(dataset, 1):
        for key, known in names.items():
            with contextlib.suppress(TypeError, IndexError):
                values[key] = known[values[key]] if values[key] >= 0 else None  # -1: the label is withheld
        yield Row(number, values)
