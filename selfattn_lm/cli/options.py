"""Flags: their annotations, how their values are converted, and which of them were given."""

import io
import sys
from codecs import register_error
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, get_args

from cyclopts import App, ArgumentCollection, Parameter, convert

from selfattn_lm.config import Quoting, Settings, flatten

# Other values may be paths.
_TEXT_FLAGS = (
    "--text",
    "--pair",
    "--data.text-column",
    "--data.pair-column",
    "--data.label-column",
    "--data.label-separator",
)


class GivenFlags:
    """The names of the flags of one call, such as `model.width`.

    A flag may be given with the value of its default, which then overrides a preset or a config
    file; so the values alone do not show which flags were given.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Remember the given flags; cyclopts calls this between parsing and conversion."""
        for argument in arguments:
            if argument.tokens:
                self.names.add(argument.name.removeprefix("--").replace("-", "_"))

    def settings(self, parsed: Settings | None) -> dict[str, Any]:
        """Return those of the parsed settings that were given, by dotted name."""
        if parsed is None:
            return {}
        settings = flatten(asdict(parsed))
        return {name: value for name, value in settings.items() if name in self.names}


SettingsFlags = Annotated[Settings | None, Parameter(name="*")]
Given = Annotated[GivenFlags, Parameter(parse=False)]
FileArgument = Annotated[str | None, Parameter(name="FILE", allow_leading_hyphen=True)]
TextFlag = Annotated[Sequence[str], Parameter(allow_leading_hyphen=True)]
TextColumn = Annotated[Sequence[str], Parameter(name="--data.text-column")]
PairColumn = Annotated[str, Parameter(name="--data.pair-column")]
LabelColumn = Annotated[Sequence[str], Parameter(name="--data.label-column")]
QuotingFlag = Annotated[Quoting, Parameter(name="--data.quoting")]
Subset = Annotated[str, Parameter(name="--data.subset")]


def convert_strictly(kind: Any, tokens: Sequence[Any]) -> Any:
    """Convert a value as cyclopts does, but refuse a fraction for a whole number.

    Texts are read as UTF-8.
    """
    read = []
    for token in tokens:
        if token.keyword in _TEXT_FLAGS:
            token = token.evolve(value=as_utf8(token.value))
        read.append(token)
    value = read[0].value.strip()
    if _must_be_whole(kind, value) and not value.lstrip("+-").isdecimal():
        raise ValueError
    return convert(kind, read)


def _must_be_whole(kind: Any, value: str) -> bool:
    """Return whether a type allows only a whole number for a value that is none of its words."""
    if kind is int:
        return True
    options = get_args(kind)
    words: list[Any] = []
    for option in options:
        words.extend(get_args(option))
    return int in options and float not in options and value not in words


def as_utf8(argument: str) -> str:
    """Return an argument as UTF-8 if Python, by the locale, could not read some of its bytes."""
    try:
        return argument.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        return argument


def write_utf8() -> None:
    """Print UTF-8 whatever the locale is, and never fail to encode a character."""
    register_error("selfattn_lm", _printable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="selfattn_lm")


def _printable(error: UnicodeError) -> tuple[bytes, int]:
    """Return UTF-8 for bytes that Python, by the locale, could not read; else an escape."""
    assert isinstance(error, UnicodeEncodeError)
    unprintable = as_utf8(error.object[error.start : error.end])
    return unprintable.encode("utf-8", "backslashreplace"), error.end
