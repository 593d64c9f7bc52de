"""What the tests of the command line share."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def broken(run: Path, tmp_path: Path) -> Path:
    """A copy of the run for a test to break."""
    return shutil.copytree(run, tmp_path / "broken")
