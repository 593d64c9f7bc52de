"""A grid of cells, each computed once and kept in a file, so that a study goes on where it was stopped."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfattn_lm.errors import UserError
from selfattn_lm.runs import write_json

log = logging.getLogger(__name__)
Cell = Mapping[str, Any]


class Grid:
    """The cells of the study in `folder`, which must have been begun with the same `facts`: data and settings."""

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.folder, file = folder, folder / "study.json"
        plain = json.loads(json.dumps(facts))
        if file.is_file():
            begun = json.loads(file.read_text(encoding="utf-8"))
            if differ := [name for name in {**begun, **plain} if begun.get(name) != plain.get(name)]:
                reason = f"a study with another {differ[0]} was begun there"
                raise UserError(f"{folder}: {reason}; name another folder with --out.")
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder}: exists and is not a study; name another folder with --out.")
        else:
            write_json(file, plain)

    def fill(self, cells: Sequence[Cell], compute: Callable[[Cell], dict[str, Any]]) -> list[dict[str, Any]]:
        """Compute the cells that are not there yet; returns all, what names a cell and what it came to together."""
        files = [self._file(cell) for cell in cells]
        missing = [i for i, file in enumerate(files) if not file.is_file()]
        if len(missing) < len(cells):
            log.info("%d of %d cells are there already", len(cells) - len(missing), len(cells))
        started = time.monotonic()
        for done, i in enumerate(missing, 1):
            name = ", ".join(f"{key} {value}" for key, value in cells[i].items())
            with _quiet(), _kept(self.folder):
                found = compute(cells[i])
            write_json(files[i], found)
            left = (time.monotonic() - started) / done * (len(missing) - done) / 60
            told = f"accuracy {100 * found['accuracy']['value']:.2f}, {found['seconds']:.0f} s"
            log.info("%d/%d  %s: %s, about %.0f min left", done, len(missing), name, told, left)
        return self.kept(cells)

    def kept(self, cells: Sequence[Cell]) -> list[dict[str, Any]]:
        """Those of the cells that are there."""
        pairs = [(cell, file) for cell in cells if (file := self._file(cell)).is_file()]
        return [{**cell, **json.loads(file.read_text(encoding="utf-8"))} for cell, file in pairs]

    def _file(self, cell: Cell) -> Path:
        parts = [f"{value:g}" if isinstance(value, float) else str(value) for value in cell.values()]
        return self.folder / "cells" / f"{'-'.join(parts)}.json"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what each of many trainings would say to itself."""
    ours = logging.getLogger("selfattn_lm")
    level = ours.level
    ours.setLevel(logging.ERROR)
    try:
        yield
    finally:
        ours.setLevel(level)


@contextmanager
def _kept(folder: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{folder}: stopped; its finished cells are kept, the same command goes on.") from None
