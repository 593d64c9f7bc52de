"""Data sets by hub name, and local folders in the hub's layout, both through `datasets`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selfattn_lm.errors import UserError
from selfattn_lm.text.sources import Row


def load(source: str, subset: str) -> dict[str, tuple[str, Iterator[Row]]]:
    """A row stream for each split, by the hub's name for it, of a hub name or of a folder in the hub's layout."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        found = datasets.load_dataset(source, subset or None)
    except Exception as error:  # the loader raises of all kinds: connection, HTTP, value, parse errors
        text, kind = " ".join(str(error).split()), type(error).__name__
        if "Config name is missing" in text or "BuilderConfig" in text:
            names = re.findall(r"\[(.*?)\]", text)
            reason = f"no subset {subset!r}; name one of {names[0] if names else '?'} with --data.subset."
        elif Path(source).is_dir():
            reason = f"not readable as a folder in hub layout: {text[:200]}"
        elif kind in ("DatasetNotFoundError", "RepositoryNotFoundError"):
            reason = "no such file, folder or data set on the hub; check the spelling, or name a local file."
        else:
            reason = f"not a local file or folder, and the hub could not be reached ({kind});"
            reason += " check the connection, or download the data set and name its folder."
        raise UserError(f"{source}: {reason}") from None
    return {name: (f"{source} {name}", _rows(dataset)) for name, dataset in found.items()}


def _rows(dataset: Any) -> Iterator[Row]:
    """Rows with label numbers turned into the names that the data set gives them; -1 is a label withheld."""
    names = {key: feature.names for key, feature in dataset.features.items() if hasattr(feature, "names")}
    for number, values in enumerate(dataset, 1):
        labels = {key: values[key] for key in names if isinstance(values[key], int)}
        yield Row(number, values | {key: names[key][i] if i >= 0 else None for key, i in labels.items()})
