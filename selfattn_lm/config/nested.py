"""Nested and flat names of settings: `{"model": {"width": 64}}` and `{"model.width": 64}`."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from selfattn_lm.config.settings import SECTIONS


def _section_of_each_setting() -> dict[str, str]:
    """Return the section of each setting; names are unique over all sections."""
    section_of: dict[str, str] = {}
    for section, cls in SECTIONS.items():
        for setting in fields(cls):
            assert setting.name not in section_of, setting.name
            section_of[setting.name] = section
    return section_of


SECTION_OF = _section_of_each_setting()


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return settings by dotted name: `{"model": {"width": 64}}` -> `{"model.width": 64}`."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested settings; where both have a value, that of `over` counts."""
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def nest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nest settings that are named in any of three ways.

    Args:
        settings: Settings by name (`{"width": 64}`), by dotted name (`{"model.width": 64}`) or by
            section (`{"model": {"width": 64}}`). An unknown name is kept as it is: `build` reports
            it.
    """
    nested: dict[str, Any] = {}
    for key, value in settings.items():
        if "." in key:
            section, name = key.rsplit(".", 1)
            nested = merge(nested, {section: {name: value}})
        elif key in SECTION_OF:
            nested = merge(nested, {SECTION_OF[key]: {key: value}})
        else:
            nested = merge(nested, {key: value})
    return nested
