"""Opening a run: all that is checked before its data is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfattn_lm.config import BertConfig, Settings, read_config
from selfattn_lm.features.vectors import Featurizer
from selfattn_lm.runs import (
    Origin,
    Run,
    RunFolder,
    read_bert_config,
    read_featurizer,
    read_origin,
    read_run,
)
from selfattn_lm.training.inheritance import inherit
from selfattn_lm.training.processes import is_first_process, join


@dataclass(frozen=True)
class OpenRun:
    """A run that is about to be trained.

    Attributes:
        settings: The settings as they were asked for, and what the run inherits.
        folder: Where the run is made and where it belongs.
        initial: The run whose weights it starts from, if it does not start from scratch.
        origin: What the run started from, as it is recorded.
        bert: The architecture, if it is a BERT.
        checkpoints: The folder of the interrupted run that is resumed; None for a new run.
        recorded_precision: The precision of the run that is repeated or resumed, or nothing.
    """

    settings: Settings
    folder: RunFolder
    initial: Run | None = None
    origin: Origin | None = None
    bert: BertConfig | None = None
    checkpoints: Path | None = None
    recorded_precision: str = ""

    def featurizer(self) -> Featurizer | None:
        """Return that of the resumed or the initial run; None if it must be made."""
        if self.checkpoints is not None:
            return read_featurizer(self.checkpoints)
        if self.initial is not None:
            return self.initial.featurizer
        return None


def open_run(
    settings: Settings,
    folder: Path,
    *,
    asked: Mapping[str, Any] | None = None,
    origin: Origin | None = None,
    overwrite: bool = False,
    recorded_precision: str = "",
) -> OpenRun:
    """Open a new run.

    Args:
        settings: The settings as they were asked for.
        folder: The run folder.
        asked: Those of the settings that were named, nested; `origin` may not contradict them.
        origin: A run folder or a BERT checkpoint to start from.
        overwrite: Whether a run in the folder may be replaced.
        recorded_precision: The precision of the run that is repeated, or nothing.

    Raises:
        UserError: The folder exists and may not be replaced, or `origin` contradicts the settings.
    """
    run_folder = RunFolder(folder)
    join(settings)
    run_folder.refuse_to_replace(overwrite)
    if origin is None:
        return OpenRun(settings, run_folder, recorded_precision=recorded_precision)
    initial = read_run(origin.folder, settings.model.pooling)
    return OpenRun(
        inherit(settings, initial, asked or {}, origin.source),
        run_folder,
        initial=initial,
        origin=origin,
        bert=initial.bert,
        recorded_precision=recorded_precision,
    )


def reopen_run(settings: Settings, folder: Path) -> OpenRun:
    """Open an interrupted run, to resume it with its own settings.

    Raises UserError if there is no checkpoint of an interrupted run.
    """
    run_folder = RunFolder(folder)
    join(settings)
    checkpoints = run_folder.unfinished(is_first_process())
    return OpenRun(
        settings,
        run_folder,
        origin=read_origin(checkpoints),
        bert=read_bert_config(checkpoints),
        checkpoints=checkpoints,
        recorded_precision=read_config(checkpoints / "config.yaml").recorded_precision,
    )
