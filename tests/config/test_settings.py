"""Settings: their bounds and types, their names, and which of them are architecture."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from selfattn_lm.config import (
    ModelConfig,
    Settings,
    TrainingConfig,
    architecture_fields,
    flatten,
    merge,
    nest,
    read_config,
    settings_from,
)
from selfattn_lm.config.settings import SECTIONS
from selfattn_lm.errors import UserError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"training": {"epochs": 0}}, "training.epochs must be at least 1, got 0."),
        (
            {"training": {"epochs": 2 * 10**9}},
            "training.epochs must be at most 1,000,000,000, got 2e+09.",
        ),
        ({"model": {"dropout": 1}}, "model.dropout must be from 0 to 0.95, got 1."),
        ({"seed": -1}, "seed must be at least 0, got -1."),
        ({"training": {"max_minutes": float("nan")}}, "training.max_minutes must be at least 0"),
        ({"model": {"kind": "lstm", "width": 5}}, "model.width must be even for lstm"),
        (
            {"model": {"positions": "rotary", "width": 6, "heads": 2}},
            "model.positions: rotary needs an even model.width / model.heads, got 6 / 2.",
        ),
        ({"data": {"text_column": []}}, "data.text_column: an empty name; leave it out"),
    ],
)
def test_a_value_out_of_bounds_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        settings_from(values, "settings")
    assert str(caught.value).startswith(f"settings: {message}")


def test_a_section_that_is_created_directly_is_checked_too() -> None:
    with pytest.raises(UserError, match=r"^training\.epochs must be at least 1, got 0\.$"):
        TrainingConfig(epochs=0)


@pytest.mark.parametrize(
    ("section", "name", "given", "expected"),
    [
        ("training", "learning_rate", "3e-3", 3e-3),  # YAML 1.1 reads 3e-3 as a text
        ("training", "learning_rate", 1, 1.0),
        ("training", "precision", 32, "32"),
        ("training", "epochs", "auto", "auto"),
        ("training", "freeze", 2, 2),
        ("data", "text_column", "title", ("title",)),
        ("data", "text_column", ["title", "body"], ("title", "body")),
    ],
)
def test_a_value_is_converted_to_the_type_of_its_setting(
    section: str, name: str, given: Any, expected: Any
) -> None:
    settings = settings_from({section: {name: given}}, "settings")
    found = getattr(getattr(settings, section), name)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("section", "name", "given", "wanted"),
    [
        ("training", "epochs", True, "a whole number or 'auto'"),
        ("training", "epochs", 1.5, "a whole number or 'auto'"),
        ("training", "learning_rate", True, "a number or 'auto'"),
        ("model", "bag_branch", 1, "true or false"),
        ("data", "label_column", 3, "a text or a list of texts (quote them)"),
        ("data", "text_column", [1], "a text or a list of texts (quote them)"),
        ("training", "precision", "16", "'auto' or '32' or 'bf16'"),
    ],
)
def test_a_value_of_another_type_is_refused(
    section: str, name: str, given: Any, wanted: str
) -> None:
    with pytest.raises(UserError) as caught:
        settings_from({section: {name: given}}, "settings")
    assert str(caught.value) == f"settings: {section}.{name}: {given!r} is not {wanted}."


def test_settings_are_nested_by_name_by_dotted_name_and_by_section() -> None:
    expected = {"model": {"width": 64}, "seed": 3}
    assert nest({"width": 64, "seed": 3}) == expected
    assert nest({"model.width": 64, "seed": 3}) == expected
    assert nest({"model": {"width": 64}, "seed": 3}) == expected
    assert nest({"model": {"width": 64}, "heads": 2}) == {"model": {"width": 64, "heads": 2}}
    assert nest({"widht": 64}) == {"widht": 64}  # reported by `settings_from`


def test_the_second_of_two_merged_settings_counts() -> None:
    base = {"model": {"width": 64, "heads": 2}, "seed": 1}
    merged = merge(base, {"model": {"width": 32}, "training": {"epochs": 3}})
    expected = {"model": {"width": 32, "heads": 2}, "seed": 1, "training": {"epochs": 3}}
    assert merged == expected
    assert base == {"model": {"width": 64, "heads": 2}, "seed": 1}
    assert flatten(merged)["training.epochs"] == 3


def test_every_setting_has_a_help_text_in_its_sections_docstring() -> None:
    for cls in SECTIONS.values():
        for setting in fields(cls):
            assert f"    {setting.name}: {setting.metadata['help']}\n" in str(cls.__doc__)


def test_architecture_is_all_that_the_weights_depend_on() -> None:
    names = {setting.name for setting in fields(ModelConfig)}
    dropouts = {"dropout", "embedding_dropout", "token_dropout"}
    free = {*dropouts, "char_ngrams", "long_texts", "ngram_branch"}
    assert set(architecture_fields(ModelConfig)) == names - free


def test_a_config_file_gives_the_settings_it_names_and_the_defaults(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("init: some/where\nmodel: {width: 64}\n", encoding="utf-8")
    file = read_config(config)
    assert file.asked == {"model": {"width": 64}}
    assert file.settings.model == ModelConfig(width=64)
    assert file.settings.training == Settings().training
    assert file.init == "some/where"
