"""What a run started from, recorded so that its config can repeat it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfattn_lm.errors import UserError
from selfattn_lm.runs.hf.files import locate, weight_files


@dataclass(frozen=True)
class Origin:
    """A run folder or BERT checkpoint that a run started from.

    Attributes:
        source: What was given as `--init`.
        path: Its absolute path.
        revision: The commit on the hub; empty for a local folder.
        sha256: The digest of its weights, in hexadecimal.
    """

    source: str
    path: str
    revision: str
    sha256: str

    @property
    def folder(self) -> Path:
        """Where it lies: as it was given, if that names it, else its absolute path."""
        given = Path(self.source)
        return given if str(given.absolute()) == self.path else Path(self.path)

    def __str__(self) -> str:
        revision = f" at revision {self.revision}" if self.revision else ""
        return f"{self.source}{revision}"


def find_origin(source: str | Path) -> Origin:
    """Find what `--init` names, a folder or a model on the hub, which is fetched."""
    folder = locate(source)
    return _describe(str(source), folder)


def origin_from(recorded: Any) -> Origin | None:
    """The origin that plain values of a config file record, or None if they record none."""
    if not isinstance(recorded, dict) or set(recorded) != set(Origin.__dataclass_fields__):
        return None
    if not all(isinstance(value, str) for value in recorded.values()):
        return None
    return Origin(**recorded)


def find_recorded(recorded: Any, where: str) -> Origin:
    """Find again what the `init` of a config file records: a name as `--init` takes it, or an origin in plain values.

    Raises UserError, beginning with `where`, if it is gone or its weights are not those that were recorded.
    """
    if isinstance(recorded, str) and recorded:
        return find_origin(recorded)
    origin = origin_from(recorded)
    if origin is None:
        keys = ", ".join(Origin.__dataclass_fields__)
        raise UserError(f"{where}: init must be a folder, a hub name, or a mapping of {keys}.")
    folder = _locate_again(origin)
    if folder is None:
        raise UserError(f"{where}: it starts from {origin.path}, which is gone; name another start with --init.")
    found = _describe(origin.source, folder)
    if found.sha256 != origin.sha256:
        reason = f"it starts from {folder}, whose weights are no longer those recorded (sha256)"
        raise UserError(f"{where}: {reason}; name another start with --init.")
    return found


def _locate_again(origin: Origin) -> Path | None:
    if origin.revision:
        return locate(origin.source, origin.revision)
    for place in (origin.path, origin.source):
        if weight_files(Path(place)):
            return Path(place)
    return None


def _describe(source: str, folder: Path) -> Origin:
    digest = hashlib.sha256()
    for file in weight_files(folder):
        with file.open("rb") as weights:
            while piece := weights.read(1 << 20):
                digest.update(piece)
    revision = folder.name if folder.parent.name == "snapshots" else ""  # the hub's cache: snapshots/COMMIT
    return Origin(source, str(folder.absolute()), revision, digest.hexdigest())
