"""Settings of all tests, and the small data and runs that they share."""

import gc
import logging
import os
import shutil
import tempfile
from multiprocessing import forkserver
from pathlib import Path

import pytest
from helpers import EXACT, SMALL, sentences, write_csv, write_run_with_set_weights

__all__ = ["SMALL", "sentences", "write_csv"]

os.environ["HF_HUB_OFFLINE"] = "1"  # no test reaches a network
os.environ["HF_DATASETS_OFFLINE"] = "1"
# No test reads or writes the user's cache.
_cache = tempfile.TemporaryDirectory(prefix="selfattn-tests-")
os.environ["SELFATTN_CACHE"] = _cache.name
# The models are so small that a second thread only waits.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_sessionstart() -> None:
    """Let the process that others are forked from import the package while the first tests run: it takes seconds."""
    forkserver.set_forkserver_preload(["selfattn_lm.cli", "selfattn_lm.training"])
    forkserver.ensure_running()


def pytest_collection_finish() -> None:
    """Spare the garbage collector what the imports have made, which it would look through again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.csv, validation.csv and test.csv: 240, 60 and 60 rows, three labels."""
    folder = tmp_path_factory.mktemp("data")
    for i, (name, rows) in enumerate((("train", 240), ("validation", 60), ("test", 60))):
        write_csv(folder / f"{name}.csv", sentences(rows, seed=i))
    return folder


@pytest.fixture(scope="session")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on `data` with set weights, for all that needs one that predicts right; tests never change it."""
    return write_run_with_set_weights(tmp_path_factory.mktemp("runs") / "set", data)


@pytest.fixture(scope="session")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained on `data`, with all that a training writes; tests never change it."""
    from selfattn_lm import train

    return train(str(data), out=tmp_path_factory.mktemp("runs") / "trained", **EXACT).folder


@pytest.fixture
def broken(run: Path, tmp_path: Path) -> Path:
    """A copy of the run for a test to break."""
    return shutil.copytree(run, tmp_path / "broken")


@pytest.fixture
def in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let relative paths be those of the test's own folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> pytest.LogCaptureFixture:
    """What the package logs, also after a test that ran the command line, which keeps it to itself."""
    monkeypatch.setattr(logging.getLogger("selfattn_lm"), "propagate", True)
    return caplog


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return

    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="there is no CUDA device"))
