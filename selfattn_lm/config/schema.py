"""How settings are declared, checked and built from the plain values of YAML files."""

import difflib
import types
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from typing import (
    Any,
    Literal,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from selfattn_lm.errors import UserError

T = TypeVar("T")

_LARGEST = 1e9  # the bound of settings that have no upper bound of their own
_TYPES_IN_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text (quote it)",
}


def opt(
    default: Any,
    help: str,
    low: float | None = None,
    high: float = _LARGEST,
    *,
    architecture: bool = False,
) -> Any:
    """Declare a setting.

    Args:
        default: The default.
        help: One sentence, which is the help text of the flag.
        low: The least value allowed; None if the setting has no bounds.
        high: The greatest value allowed.
        architecture: Whether a run to start from decides the setting.
    """
    metadata = {"help": help, "bounds": (low, high), "architecture": architecture}
    return field(default=default, metadata=metadata)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def section(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass whose docstring lists its settings with their help texts."""
    made: Any = dataclass(frozen=True)(cls)
    lines = [f"{cls.__doc__}\n\nAttributes:\n"]
    for setting in fields(made):
        if "help" in setting.metadata:
            lines.append(f"    {setting.name}: {setting.metadata['help']}\n")
    made.__doc__ = "".join(lines)
    return made  # type: ignore[no-any-return]


class Checked:
    """The base of all sections: checks the bounds of its settings when it is created."""

    prefix = ""  # of the settings' names in messages

    def __post_init__(self) -> None:
        for setting in fields(self):  # type: ignore[arg-type]
            low, high = setting.metadata.get("bounds", (None, _LARGEST))
            value = getattr(self, setting.name)
            if low is None or isinstance(value, str):
                continue
            if not low <= value <= high:
                name = self.prefix + setting.name
                bounds = _bounds_in_words(low, high, value)
                raise UserError(f"{name} must be {bounds}, got {value:g}.")


def _bounds_in_words(low: float, high: float, value: float) -> str:
    """Return "at least 1" for a setting without an upper bound of its own, else "from 0 to 1"."""
    if high < _LARGEST:
        return f"from {low:g} to {high:g}"
    if value > high:
        return f"at most {high:,.0f}"
    return f"at least {low:g}"


def architecture_fields(cls: Any) -> tuple[str, ...]:
    """Return the names of the settings that a run to start from decides."""
    return tuple(
        setting.name for setting in fields(cls) if setting.metadata.get("architecture", False)
    )


def build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build a dataclass of settings from nested plain values.

    Args:
        cls: The dataclass; its fields may be dataclasses.
        values: The values by name; a setting without one has its default.
        where: The beginning of error messages.

    Raises:
        UserError: A name is unknown, or a value has the wrong type or is out of bounds.
    """
    try:
        return _build(cls, values, "")
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _build(cls: type[T], values: Any, prefix: str) -> T:
    if not isinstance(values, Mapping):
        name = prefix.rstrip(".") or "the top level"
        raise UserError(f"{name} holds {values!r}, not settings of the form key: value.")
    hints = get_type_hints(cls)
    converted: dict[str, Any] = {}
    for key, value in values.items():
        if key not in hints:
            raise _unknown_setting(str(key), hints, prefix)
        converted[key] = _convert(hints[key], value, prefix + key)
    return cls(**converted)


def _unknown_setting(key: str, hints: Mapping[str, Any], prefix: str) -> UserError:
    """Return the error for an unknown name, with the nearest known one if one is near.

    Names of settings in the sections below are known too.
    """
    known = {name: prefix + name for name in hints}
    for name, kind in hints.items():
        if is_dataclass(kind):
            for setting in fields(kind):
                known.setdefault(setting.name, f"{prefix}{name}.{setting.name}")
    hint = f"there are {', '.join(hints)}."
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        hint = f"did you mean {known[close[0]]}?"
    return UserError(f"no setting {prefix}{key}; {hint}")


def _convert(hint: Any, value: Any, name: str) -> Any:
    """Return a value from YAML in the type of its setting.

    YAML 1.1 reads `3e-5` as a string, which is converted, and `no` as False, which is refused.
    """
    if is_dataclass(hint):
        return _build(hint, value, name + ".")  # type: ignore[arg-type]
    kinds, choices = _accepted(hint)
    if str(value) in choices and not isinstance(value, bool):
        return str(value)  # a choice such as "32" may be written as a number
    if type(value) in kinds:
        return value
    if tuple[str, ...] in kinds:
        return _names(value, name)
    if float in kinds and isinstance(value, str | int) and not isinstance(value, bool):
        with suppress(ValueError):
            return float(value)
    wanted = [_TYPES_IN_WORDS[kind] for kind in kinds]
    wanted += [repr(choice) for choice in choices]
    raise UserError(f"{name}: {value!r} is not {' or '.join(wanted)}.")


def _accepted(hint: Any) -> tuple[list[Any], list[str]]:
    """Split a type hint into its types and the choices of its literals."""
    options = (hint,)
    if get_origin(hint) in (Union, types.UnionType):
        options = get_args(hint)
    kinds: list[Any] = []
    choices: list[str] = []
    for option in options:
        if get_origin(option) is Literal:
            choices.extend(get_args(option))
        else:
            kinds.append(option)
    return kinds, choices


def _names(value: Any, name: str) -> tuple[str, ...]:
    """Return one text, or a list of texts, as a tuple."""
    names = value
    if isinstance(value, str):
        names = (value,)
    is_list = isinstance(names, list | tuple)
    if not is_list or not all(isinstance(one, str) for one in names):
        raise UserError(f"{name}: {value!r} is not a text or a list of texts (quote them).")
    return tuple(names)
