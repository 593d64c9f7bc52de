"""Small data that the tests write themselves, and a run trained once for those that only read it."""

import csv
import os
import random
import tempfile
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # no test reaches a network
os.environ["HF_DATASETS_OFFLINE"] = "1"
_cache = tempfile.TemporaryDirectory(prefix="selfattn-tests-")  # no test reads or writes the user's cache
os.environ["SELFATTN_CACHE"] = _cache.name
os.environ["OMP_NUM_THREADS"] = "1"  # the models are so small that a second thread only waits

WORDS = {
    "fruit": ["apple", "pear", "plum", "cherry", "grape", "melon", "lemon", "fig"],
    "metal": ["iron", "copper", "zinc", "silver", "gold", "nickel", "lead", "tin"],
    "water": ["river", "lake", "sea", "rain", "ice", "steam", "cloud", "dew"],
}


def sentences(rows: int, seed: int = 0) -> list[tuple[str, str]]:
    """(text, label) pairs that a small model learns in seconds: the label's words among words of no meaning."""
    chance = random.Random(seed)
    filler = ["the", "a", "of", "and", "with", "some", "on", "near", "under", "very"]
    pairs = []
    for i in range(rows):
        label = sorted(WORDS)[i % len(WORDS)]
        words = [chance.choice(WORDS[label]) for _ in range(2)] + [chance.choice(filler) for _ in range(4)]
        chance.shuffle(words)
        pairs.append((" ".join(words), label))
    return pairs


def write_csv(path: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = ("text", "label")) -> Path:
    """A csv file with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


SMALL = {"model": {"width": 16, "heads": 2, "layers": 1}, "training": {"epochs": 6, "batch_size": 16, "lr": 0.02}}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.csv, validation.csv and test.csv: 240, 60 and 60 rows, three labels."""
    folder = tmp_path_factory.mktemp("data")
    for i, (name, rows) in enumerate((("train", 240), ("validation", 60), ("test", 60))):
        write_csv(folder / f"{name}.csv", sentences(rows, seed=i))
    return folder


@pytest.fixture(scope="session")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on `data`; tests read it and never change it."""
    from selfattn_lm import train

    return train(str(data), out=tmp_path_factory.mktemp("runs") / "small", **SMALL).folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    if marked := [item for item in items if item.get_closest_marker("gpu")]:
        import torch

        for item in marked if not torch.cuda.is_available() else []:
            item.add_marker(pytest.mark.skip(reason="there is no CUDA device"))
