"""Settings in YAML files: those of `--config`, and the `config.yaml` of run folders."""

from pathlib import Path
from typing import Any, NamedTuple

from selfattn_lm.config.settings import Settings, settings_from
from selfattn_lm.errors import UserError

# Format 1 hashed n-grams in another way, so the rows of its tables would be read wrongly.
FORMAT = 2


class ConfigFile(NamedTuple):
    """A YAML file of settings.

    Attributes:
        settings: All settings; those that the file does not name have their defaults.
        resolved: What `auto` became, nested, in the file of a run.
        asked: The settings that the file names, nested.
        init: What to start from, a name or an `Origin` in plain values; None: from scratch.
        task: What a run predicts, as `Task.to_plain` gives it; empty in other files.
        files: The digests of the files that belong to a finished run, by name.
    """

    settings: Settings
    resolved: dict[str, Any]
    asked: dict[str, Any]
    init: Any
    task: dict[str, Any]
    files: dict[str, str]

    @property
    def recorded_precision(self) -> str:
        """The precision that a run measured to be best and recorded; empty if there is none."""
        return str(self.resolved.get("training", {}).get("precision", ""))


def read_config(path: Path) -> ConfigFile:
    """Read a YAML file of settings.

    Raises:
        UserError: The file cannot be read, has another format, or holds a wrong setting.
    """
    asked = _read_mapping(path)
    form = asked.pop("format", FORMAT)
    resolved = asked.pop("resolved", {})
    init = asked.pop("init", None)
    files = asked.pop("files", {})
    task = asked.pop("task", {})
    if form != FORMAT:
        advice = "update selfattn_lm"
        if form == 1:
            advice = "train the run again"
        raise UserError(
            f"{path}: format {form!r}, and this version reads format {FORMAT}; {advice}."
        )
    settings_from(resolved, f"{path}: resolved")
    if not isinstance(task, dict):
        raise UserError(f"{path}: task holds {task!r}, not settings of the form key: value.")
    return ConfigFile(settings_from(asked, str(path)), resolved, asked, init, task, files)


def _read_mapping(path: Path) -> dict[str, Any]:
    import yaml  # only where it is needed, as it slows down `selfattn --help`

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UserError(f"{path}: the config file cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not a YAML file: {reason}.") from None
    if not isinstance(values, dict):
        shown = str(values)[:40]
        raise UserError(f"{path}: holds {shown!r}, not settings of the form key: value.")
    return values
