"""What a run started from, recorded so that its config can repeat it."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from selfattn_lm.errors import UserError
from selfattn_lm.runs.files import digest
from selfattn_lm.runs.hf.files import locate, weight_files


@dataclass(frozen=True)
class Origin:
    """A run folder or BERT checkpoint that a run started from.

    Attributes:
        source: The folder or the name on the hub that was given as `--init`.
        path: The absolute path of the folder.
        revision: The commit on the hub; empty for a local folder.
        sha256: The digest of its weights, in hexadecimal.
    """

    source: str
    path: str
    revision: str
    sha256: str

    @property
    def folder(self) -> Path:
        """The folder: as it was given, if that names it, else its absolute path."""
        given = Path(self.source)
        if str(given.absolute()) == self.path:
            return given
        return Path(self.path)

    def __str__(self) -> str:
        if self.revision:
            return f"{self.source} at revision {self.revision}"
        return self.source


_KEYS = [field.name for field in fields(Origin)]


def find_origin(source: str | Path) -> Origin:
    """Find what `--init` names: a folder, or a model on the hub, which is downloaded."""
    folder = locate(source)
    return _describe(str(source), folder)


def origin_from(recorded: Any) -> Origin | None:
    """Make an origin from the plain values of a config file; None if they do not record one."""
    if not isinstance(recorded, dict) or set(recorded) != set(_KEYS):
        return None
    if not all(isinstance(value, str) for value in recorded.values()):
        return None
    return Origin(**recorded)


def find_recorded(recorded: Any, where: str) -> Origin:
    """Find again what the `init` of a config file records.

    Args:
        recorded: A name as `--init` takes it, or the plain values of an origin.
        where: What the messages of errors begin with.

    Raises:
        UserError: It is gone, or its weights are not those that were recorded.
    """
    if isinstance(recorded, str) and recorded:
        return find_origin(recorded)
    origin = origin_from(recorded)
    if origin is None:
        keys = ", ".join(_KEYS)
        raise UserError(f"{where}: init must be a folder, a hub name, or a mapping of {keys}.")
    advice = "name another start with --init"
    folder = _locate_again(origin)
    if folder is None:
        raise UserError(f"{where}: it starts from {origin.path}, which is gone; {advice}.")
    found = _describe(origin.source, folder)
    if found.sha256 != origin.sha256:
        reason = f"it starts from {folder}, whose weights are no longer those recorded (sha256)"
        raise UserError(f"{where}: {reason}; {advice}.")
    return found


def _locate_again(origin: Origin) -> Path | None:
    if origin.revision:
        return locate(origin.source, origin.revision)
    for place in (origin.path, origin.source):
        if weight_files(Path(place)):
            return Path(place)
    return None


def _describe(source: str, folder: Path) -> Origin:
    revision = ""
    if folder.parent.name == "snapshots":  # in the hub's cache, the folder is snapshots/COMMIT
        revision = folder.name
    sha256 = digest(*weight_files(folder))
    return Origin(source, str(folder.absolute()), revision, sha256)
