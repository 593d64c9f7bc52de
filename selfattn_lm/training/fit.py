"""`train` and `fit`: read, decide, train, write the run folder, score it."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfattn_lm.config import Settings, flatten, merge, nested, settings_from, to_plain
from selfattn_lm.errors import UserError
from selfattn_lm.inference import TextClassifier
from selfattn_lm.runs import read_settings
from selfattn_lm.runs.folder import read_yaml
from selfattn_lm.text.splits import Split, load_splits
from selfattn_lm.training.session import Session, TrainResult

log = logging.getLogger(__name__)


def train(
    data: str | Path | None = None,
    /,
    *,
    out: str | Path | None = None,
    config: str | Path | None = None,
    init: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> TrainResult:
    """Train a classifier on labelled texts and write a run folder.

    Args:
        data: A file, a folder, a hub name or `stdlib-docs`; may stand in `config` as `data.source`.
        out: The run folder; `runs/<name of the data>` by default.
        config: A YAML file of settings, which `settings` overrule.
        init: A run folder whose shape, tokenizer and weights to start from.
        resume: Go on with the interrupted run in `out`, with its own settings.
        overwrite: Replace a run folder that exists.
        **settings: By name (`epochs=3`, `width=64`) or by section (`model={"width": 64}`).

    Raises:
        UserError: For data or settings that cannot be used.
    """
    asked = nested(settings)
    if data is not None:
        asked = merge(asked, {"data": {"source": str(data)}})
    if config is not None:
        asked = merge(_from_file(Path(config)), asked)
    final = settings_from(asked, "settings")
    folder = Path(out) if out is not None else Path("runs") / _name(final.data.source)
    if resume:
        final = _resumed(folder, asked)
    session = Session(final, asked, folder, init=init, resume=resume, overwrite=overwrite)
    found = load_splits(final.data)
    for note in found.notes:
        log.warning("%s", note)
    return session.run(found.by_name)


def fit(
    texts: Sequence[str],
    labels: Sequence[str | int],
    *,
    validation: tuple[Sequence[str], Sequence[str | int]] | None = None,
    out: str | Path | None = None,
    init: str | Path | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> TextClassifier:
    """Train a classifier on texts in memory; what the command does, from Python.

    Args:
        texts: The training texts.
        labels: The label of each.
        validation: Texts and labels to choose the best weights by; a share of `texts` is held out if not given.
        out: The run folder to write; none by default (`TextClassifier.save` writes one later).
        init: A run folder whose shape, tokenizer and weights to start from.
        overwrite: Replace a run folder that exists.
        **settings: By name (`epochs=3`, `width=64`) or by section (`model={"width": 64}`).

    Raises:
        UserError: For data or settings that cannot be used.
    """
    splits = {"train": Split.in_memory("texts", texts, labels)}
    if validation is not None:
        splits["validation"] = Split.in_memory("validation", *validation)
    asked = nested(settings)
    final = settings_from(asked, "settings")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(out) if out is not None else Path(temporary) / "run"
        return Session(final, asked, folder, init=init, overwrite=overwrite).run(splits).classifier


def _name(source: str) -> str:
    """What a run on this data is called: `ag_news` of `data/ag_news/train.csv.gz`, of `fancyzhx/ag_news`."""
    path = Path(source)
    stem = path.name.split(".")[0]
    return path.resolve().parent.name if stem == "train" else stem or "run"


def _from_file(path: Path) -> dict[str, Any]:
    """The settings that a YAML file names, checked."""
    read_settings(path)
    return {key: value for key, value in read_yaml(path).items() if key not in ("format", "resolved")}


def _resumed(folder: Path, asked: Mapping[str, Any]) -> Settings:
    """The interrupted run's own settings.

    Raises:
        UserError: If there is nothing to go on with, or if other settings are asked for than it began with.
    """
    if not (folder / "checkpoints" / "last.ckpt").is_file():
        finished = (folder / "model.safetensors").is_file()
        reason = "the run is finished" if finished else "no checkpoint of an interrupted run"
        raise UserError(f"{folder}: {reason}, so there is nothing to resume; train without --resume.")
    settings, _ = read_settings(folder / "config.yaml")
    began = flatten(to_plain(settings))
    for name, value in flatten(to_plain(settings_from(asked, "settings"))).items():
        if name in flatten(asked) and value != began[name]:
            raise UserError(f"{name}: {value!r} is asked, but {folder} began with {began[name]!r}; leave it out to resume.")
    return settings
