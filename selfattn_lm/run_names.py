"""The folders of runs and studies, which are named after their data unless the user names them."""

import os
from pathlib import Path

_DATA_SUFFIXES = (
    ".csv",
    ".tsv",
    ".json",
    ".jsonl",
    ".ndjson",
    ".parquet",
    ".arrow",
    ".feather",
    ".txt",
)


def run_folder(out: Path | str | None, name: str) -> Path:
    """Return the folder that was named, else `runs/NAME`."""
    if out is not None:
        return Path(out)
    return Path("runs") / name


def study_folder(out: Path | str | None, name: str) -> Path:
    """Return the folder that was named, else `studies/NAME`."""
    if out is not None:
        return Path(out)
    return Path("studies") / name


def run_name(source: str) -> str:
    """Return the name of a run on some data.

    It is `ag_news` for `data/ag_news/train.csv.gz` and for `fancyzhx/ag_news`.
    """
    # Does not resolve symbolic links, so they keep their names.
    path = Path(os.path.abspath(source))
    name = path.name
    if not path.is_dir():
        name = _without_suffixes(path)
    if name.lower() == "train":
        name = path.parent.name or name
    return name.lstrip(".") or "run"  # a name that begins with a dot would be a hidden folder


def _without_suffixes(path: Path) -> str:
    """Return a file's name without the suffix of its format and `.gz`; other dots are kept."""
    if path.suffix.lower() == ".gz":
        path = path.with_suffix("")
    if path.suffix.lower() in _DATA_SUFFIXES:
        return path.stem
    return path.name
