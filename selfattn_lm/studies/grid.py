"""A grid of cells: each is computed once and saved, so that a stopped study can continue."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfattn_lm.errors import Interrupted, UserError
from selfattn_lm.runs import write_json

log = logging.getLogger(__name__)
Cell = Mapping[str, Any]  # what identifies a cell, such as {"kind": "cnn", "share": 10, "seed": 0}


class Grid:
    """The cells of one study.

    `study.json` in the folder records the study's `facts`, its data and settings. Only a study with
    the same facts may continue there.

    Args:
        folder: The folder of the study; it may hold an unfinished study.
        facts: Values that JSON can express.

    Raises:
        UserError: The folder holds a study with other facts, or something that is not a study.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.folder = folder
        file = folder / "study.json"
        plain_facts = json.loads(json.dumps(facts))  # as they are read back: lists for tuples
        if file.is_file():
            _check_same_study(folder, _read_json(file), plain_facts)
        elif folder.exists() and not _is_empty_folder(folder):
            raise UserError(f"{folder}: exists and is not a study; name another folder with --out.")
        else:
            write_json(file, plain_facts)

    def fill(
        self, cells: Sequence[Cell], compute: Callable[[Cell], dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Compute the cells that are missing, and save each as soon as it is finished.

        Args:
            cells: What identifies each cell.
            compute: Returns the values of a cell, among them `accuracy` and `seconds`.

        Returns:
            For each cell, its identifying fields together with its values.
        """
        missing = [cell for cell in cells if not self._file(cell).is_file()]
        if len(missing) < len(cells):
            log.info("%d of %d cells are already finished", len(cells) - len(missing), len(cells))
        started = time.monotonic()
        for done, cell in enumerate(missing, start=1):
            with _quiet(), _explain_interruption(self.folder):
                values = compute(cell)
            write_json(self._file(cell), values)
            seconds_per_cell = (time.monotonic() - started) / done
            minutes_left = seconds_per_cell * (len(missing) - done) / 60
            log.info(
                "%d/%d  %s: accuracy %.2f, %.0f s, about %.0f min left",
                done,
                len(missing),
                _describe(cell),
                100 * values["accuracy"]["value"],
                values["seconds"],
                minutes_left,
            )
        return self.finished(cells)

    def finished(self, cells: Sequence[Cell]) -> list[dict[str, Any]]:
        """Those of the cells that are finished, each with its identifying fields and its values."""
        found = []
        for cell in cells:
            file = self._file(cell)
            if file.is_file():
                found.append({**cell, **_read_json(file)})
        return found

    def _file(self, cell: Cell) -> Path:
        name = "-".join(_file_name_part(value) for value in cell.values())
        return self.folder / "cells" / f"{name}.json"


def _check_same_study(folder: Path, recorded: dict[str, Any], facts: dict[str, Any]) -> None:
    for name in {**recorded, **facts}:
        if recorded.get(name) != facts.get(name):
            reason = f"holds a study with different {name}"
            raise UserError(f"{folder}: {reason}; name another folder with --out.")


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _read_json(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _file_name_part(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _describe(cell: Cell) -> str:
    return ", ".join(f"{name} {value}" for name, value in cell.items())


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the log of a single training: a study has many."""
    package_log = logging.getLogger("selfattn_lm")
    level = package_log.level
    package_log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        package_log.setLevel(level)


@contextmanager
def _explain_interruption(folder: Path) -> Iterator[None]:
    """Give an interruption a message that says how to continue."""
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        reason = "stopped; finished cells are saved"
        raise Interrupted(f"{folder}: {reason}; repeat the command to continue.") from None
