"""The commands: each passes its arguments to the function of the same name in `selfattn_lm.api`.

The help texts come from the docstrings there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from selfattn_lm import api
from selfattn_lm.api.prediction import InputFormat, OutputFormat
from selfattn_lm.cli.options import (
    FileArgument,
    Given,
    LabelColumn,
    QuotingFlag,
    SettingsFlags,
    Subset,
    TextColumn,
    TextFlag,
)
from selfattn_lm.config import STUDIED, STUDIED_PERCENTAGES, Precision, Preset
from selfattn_lm.errors import UserError

_KINDS = ",".join(STUDIED)
_SHARES = ",".join(str(percentage) for percentage in STUDIED_PERCENTAGES)


def train(
    data: str | None = None,
    /,
    *,
    config: Path | None = None,
    out: Path | None = None,
    init: Path | None = None,
    preset: Preset = "accurate",
    pretrain: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    settings: SettingsFlags = None,
    given: Given,
) -> Any:
    return api.train(
        data,
        config=config,
        out=out,
        init=init,
        preset=preset,
        pretrain=pretrain,
        resume=resume,
        overwrite=overwrite,
        **given.settings(settings),
    )


def pretrain(
    texts: str | None = None,
    /,
    *,
    config: Path | None = None,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    settings: SettingsFlags = None,
    given: Given,
) -> Any:
    return api.pretrain(
        texts,
        config=config,
        out=out,
        resume=resume,
        overwrite=overwrite,
        **given.settings(settings),
    )


def study(
    data: str | None = None,
    /,
    *,
    config: Path | None = None,
    out: Path | None = None,
    kinds: str = _KINDS,
    shares: str = _SHARES,
    seeds: int = 1,
    settings: SettingsFlags = None,
    given: Given,
) -> Any:
    try:
        percentages = [float(share) for share in shares.split(",")]
    except ValueError:
        raise UserError(
            f"--shares: {shares!r} is not a list of numbers such as 1,10,100."
        ) from None
    return api.study(
        data,
        config=config,
        out=out,
        kinds=[kind.strip() for kind in kinds.split(",")],
        shares=percentages,
        seeds=seeds,
        **given.settings(settings),
    )


def evaluate(
    run: Path,
    data: str,
    /,
    *,
    split: str | None = None,
    out: Path | None = None,
    skip_unknown: bool = False,
    precision: Precision = "auto",
    text_column: TextColumn = ("auto",),
    label_column: LabelColumn = ("auto",),
    quoting: QuotingFlag = "auto",
    subset: Subset = "",
) -> Any:
    return api.evaluate(
        run,
        data,
        split=split,
        out=out,
        skip_unknown=skip_unknown,
        precision=precision,
        text_column=text_column,
        label_column=label_column,
        quoting=quoting,
        subset=subset,
    )


def predict(
    run: Path,
    source: FileArgument = None,
    /,
    *,
    text: TextFlag = (),
    out: Path | None = None,
    top_k: int | None = None,
    probabilities: bool = False,
    min_probability: float = 0.0,
    precision: Precision = "auto",
    text_column: TextColumn = ("auto",),
    quoting: QuotingFlag = "auto",
    input_format: InputFormat | None = None,
    output_format: OutputFormat = "csv",
) -> Any:
    return api.predict(
        run,
        source,
        text=text,
        out=out,
        top_k=top_k,
        probabilities=probabilities,
        min_probability=min_probability,
        precision=precision,
        text_column=text_column,
        quoting=quoting,
        input_format=input_format,
        output_format=output_format,
    )


def export(run: Path, /, *, out: Path, format: Literal["bert"] = "bert") -> Any:
    return api.export(run, out=out, format=format)


COMMANDS: tuple[Callable[..., Any], ...] = (train, pretrain, study, evaluate, predict, export)
for _command in COMMANDS:
    _command.__doc__ = getattr(api, _command.__name__).__doc__
