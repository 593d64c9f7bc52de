"""Writing a run folder."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import yaml
from torch import Tensor

from selfattn_lm.config import BertConfig, PredictionSettings, Settings, differences
from selfattn_lm.config.io import FORMAT
from selfattn_lm.features.vectors import Featurizer, Standardization
from selfattn_lm.nn import Classifier
from selfattn_lm.runs.files import atomic, digest, write_json, write_text
from selfattn_lm.runs.layout import CHECKED, CONFIG, FEATURES, TOKENIZER, WEIGHTS
from selfattn_lm.runs.origin import Origin
from selfattn_lm.runs.run import Run
from selfattn_lm.tasks import Task


def write_metadata(
    folder: Path,
    settings: Settings,
    resolved: PredictionSettings,
    task: Task | None,
    featurizer: Featurizer,
    bert: BertConfig | None = None,
    origin: Origin | None = None,
) -> None:
    """Write all but the weights.

    These are the settings, what `auto` became, the task and its labels, the tokenizer or the
    standardisation, the shape of a BERT and the origin.
    """
    _write_config(folder, settings, resolved, task, origin, {})
    labels = []
    if task is not None:
        labels = task.labels
    write_json(folder / "labels.json", labels)
    if isinstance(featurizer, Standardization):
        write_json(folder / FEATURES, featurizer.to_plain())
    else:
        write_text(folder / TOKENIZER, featurizer.to_str(pretty=True) + "\n")
    if bert is not None:
        write_json(folder / "bert.json", asdict(bert))


def _write_config(
    folder: Path,
    settings: Settings,
    resolved: PredictionSettings,
    task: Task | None,
    origin: Origin | None,
    files: Mapping[str, str],
) -> None:
    plain: dict[str, Any] = {
        "format": FORMAT,
        **asdict(settings),
        "resolved": differences(settings, resolved),
    }
    if task is not None:
        plain["task"] = task.to_plain()
    if origin is not None:
        plain["init"] = asdict(origin)
    if files:
        plain["files"] = dict(files)
    write_text(folder / CONFIG, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def write_run(folder: Path, run: Run) -> None:
    """Write everything that prediction needs.

    Last come the digests in config.yaml, by which `read_run` sees that the files belong together.
    """
    write_metadata(
        folder, run.settings, run.resolved, run.task, run.featurizer, run.bert, run.origin
    )
    weights: dict[str, Tensor] = {}
    for name, tensor in run.model.state_dict().items():
        weights[name] = tensor.detach().cpu().contiguous()
    weights.update(_tables_in_half_precision(run.model))
    with atomic(folder / WEIGHTS) as temporary:
        temporary.write_bytes(safetensors.torch.save(weights))
    rewrite_config(folder, run)


def rewrite_config(folder: Path, run: Run) -> None:
    """Write config.yaml alone, for a run whose other files are written.

    It records the task of the run, and the digests of those files.
    """
    _write_config(folder, run.settings, run.resolved, run.task, run.origin, _digests(folder))


def _digests(folder: Path) -> dict[str, str]:
    """Compute the digests of the files of a run that belong together."""
    digests = {}
    for name in CHECKED:
        if (folder / name).is_file():
            digests[name] = digest(folder / name)
    return digests


def _tables_in_half_precision(model: Classifier) -> dict[str, Tensor]:
    """Convert the embedding tables to half precision, whose rounding of 1 in 2,000 changes nothing.

    A table with numbers beyond 65,504, the largest in half precision, is left out.
    """
    tables: dict[str, Tensor] = {}
    for name, table in model.tables().items():
        half = table.detach().cpu().half().contiguous()
        if bool(half.isfinite().all()):
            tables[name] = half
    return tables
