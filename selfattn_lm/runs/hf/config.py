"""The `config.json` of a checkpoint in Hugging Face's format: checked when read, and written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from selfattn_lm.config import BertConfig, ResolvedModel
from selfattn_lm.errors import UserError
from selfattn_lm.runs.hf.files import read_json
from selfattn_lm.runs.hf.names import (
    ACTIVATION_NAMES,
    ACTIVATIONS,
    CLASS_PREFIXES,
    CLASS_SUFFIXES,
    CONFIG_KEYS,
    ConfigKeys,
)


@dataclass(frozen=True)
class CheckpointConfig:
    """What the `config.json` of a checkpoint says about the model.

    Attributes:
        file: The file.
        values: All its values.
        bert: The architecture.
        width: The width of the hidden states (C).
        heads: How many attention heads there are (H); they divide the width.
        layers: How many encoder layers there are.
        dropout: The dropout of the hidden states.
        is_classifier: Whether the model was saved with a classification head.
    """

    file: Path
    values: Mapping[str, Any]
    bert: BertConfig
    width: int
    heads: int
    layers: int
    dropout: float
    is_classifier: bool


def read_checkpoint_config(folder: Path) -> CheckpointConfig:
    """Read the `config.json` of a checkpoint.

    Raises:
        UserError: The file is missing or broken, or the model is not one that we can build.
    """
    file = folder / "config.json"
    values = read_json(file)
    model_type = _model_type(file, values)
    keys = CONFIG_KEYS[model_type]
    defaults = {
        keys.activation: "gelu",
        keys.dropout: 0.1,
        "layer_norm_eps": 1e-12,
        "type_vocab_size": 2,
    }
    values = {**defaults, **values}
    if model_type == "distilbert":
        values["type_vocab_size"] = 0
    _require_supported(file, values, keys)
    bert = BertConfig(
        model_type=model_type,
        vocab_size=values["vocab_size"],
        max_positions=values["max_position_embeddings"],
        type_vocab_size=values["type_vocab_size"],
        intermediate_size=values[keys.intermediate_size],
        activation=ACTIVATIONS[values[keys.activation]],
        norm_eps=values["layer_norm_eps"],
    )
    classes = _classes(values)
    return CheckpointConfig(
        file=file,
        values=values,
        bert=bert,
        width=values[keys.width],
        heads=values[keys.heads],
        layers=values[keys.layers],
        dropout=values[keys.dropout],
        is_classifier=any(name.endswith("ForSequenceClassification") for name in classes),
    )


def _require_supported(file: Path, values: Mapping[str, Any], keys: ConfigKeys) -> None:
    """Refuse an architecture that we cannot build."""

    def require(condition: bool, problem: str) -> None:
        if not condition:
            raise UserError(f"{file}: {problem}.")

    positions = values.get("position_embedding_type") or "absolute"
    activation = str(values[keys.activation])
    activations = ", ".join(ACTIVATIONS)
    norm_eps = values["layer_norm_eps"]
    dropout = values[keys.dropout]
    types = values["type_vocab_size"]
    sizes = (
        "vocab_size",
        "max_position_embeddings",
        keys.width,
        keys.heads,
        keys.layers,
        keys.intermediate_size,
    )
    require(
        positions == "absolute",
        f"position_embedding_type {positions!r} is not supported (supported: 'absolute')",
    )
    require(not values.get("is_decoder"), "a decoder is not supported (supported: encoders)")
    require(
        activation in ACTIVATIONS,
        f"{keys.activation} {activation!r} is not supported (supported: {activations})",
    )
    require(_is_number(norm_eps), f"layer_norm_eps {norm_eps!r} is not a number")
    require(_is_number(dropout), f"{keys.dropout} {dropout!r} is not a number")
    require(is_integer(types, 0), f"type_vocab_size {types!r} is not a whole number")
    for key in sizes:
        require(is_integer(values.get(key), 1), f"{key} is missing or not a whole number above 0")
    width, heads = values[keys.width], values[keys.heads]
    require(width % heads == 0, f"{keys.heads} {heads} does not divide {keys.width} {width}")


def _model_type(file: Path, values: Mapping[str, Any]) -> str:
    """The type of a model that we can build, "bert" or "distilbert"."""
    classes = _classes(values)
    model_type = str(values.get("model_type") or "")
    if not model_type and "type_vocab_size" in values:
        model_type = "bert"  # the first BERTs were saved without a type
    if model_type not in CLASS_PREFIXES:
        unsupported = model_type or "no model_type"
        if classes:
            unsupported = classes[-1]
        _refuse_model(file, unsupported)
    supported = [f"{CLASS_PREFIXES[model_type]}{suffix}" for suffix in CLASS_SUFFIXES]
    for name in classes:
        if name not in supported:
            _refuse_model(file, name)
    return model_type


def _refuse_model(file: Path, unsupported: str) -> NoReturn:
    supported = []
    for prefix in CLASS_PREFIXES.values():
        for suffix in CLASS_SUFFIXES[:3]:
            supported.append(f"{prefix}{suffix}")
    names = ", ".join(supported)
    raise UserError(f"{file}: {unsupported} is not supported (supported: {names}).")


def _classes(values: Mapping[str, Any]) -> list[str]:
    """The names of the classes that the model was saved from."""
    names = values.get("architectures") or []
    if isinstance(names, str):
        return [names]
    return [str(name) for name in names]


def is_integer(value: Any, least: int) -> bool:
    """Return whether a value is a whole number, of at least `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def config_json(
    model: ResolvedModel, bert: BertConfig, head: Mapping[str, Any], padding_id: int | None
) -> dict[str, Any]:
    """The `config.json` of a BERT with a head.

    Args:
        model: The settings of the model.
        bert: Its architecture.
        head: What it says about the head.
        padding_id: The id of the token for padding.
    """
    keys = CONFIG_KEYS[bert.model_type]
    values = {
        "architectures": [f"{CLASS_PREFIXES[bert.model_type]}ForSequenceClassification"],
        "model_type": bert.model_type,
        keys.width: model.width,
        keys.heads: model.heads,
        keys.layers: model.layers,
        keys.intermediate_size: bert.intermediate_size,
        keys.activation: ACTIVATION_NAMES[bert.activation],
        keys.dropout: model.dropout,
        "vocab_size": bert.vocab_size,
        "max_position_embeddings": bert.max_positions,
        "pad_token_id": padding_id,
    }
    if bert.model_type == "bert":
        values["type_vocab_size"] = bert.type_vocab_size
        values["layer_norm_eps"] = bert.norm_eps
        values["attention_probs_dropout_prob"] = 0.0
    else:
        values["sinusoidal_pos_embds"] = False
        values["attention_dropout"] = 0.0
    values[keys.classifier_dropout] = model.embedding_dropout
    values.update(head)
    return values
