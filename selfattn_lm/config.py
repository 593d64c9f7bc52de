"""Every setting: its default, its type and its sentence (the sentence is the help text of its flag)."""

import difflib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from selfattn_lm.errors import UserError

Auto = Literal["auto"]


@dataclass(frozen=True)
class DataConfig:
    """What is read, and how."""

    source: str = ""
    """a file, a folder, a hub name such as fancyzhx/ag_news, or stdlib-docs"""
    validation: str = ""
    """a file for the validation split; else one found beside train, else rows held out of train"""
    test: str = ""
    """a file for the test split; else one found beside train"""
    text_column: str = "auto"
    """column of the text; several are joined: title,description"""
    label_column: str = "auto"
    """column of the label"""
    subset: str = ""
    """which configuration of a hub dataset that has several, such as sst2 of nyu-mll/glue"""
    held_out: float = 0.1
    """share of train held out for validation, label by label, where no validation split is given"""

    def __post_init__(self) -> None:
        _within("data.held_out", self.held_out, 0.0, 0.9, open_low=True)


@dataclass(frozen=True)
class TokenizerConfig:
    """How texts become tokens; trained on the training split."""

    unit: Literal["auto", "word", "wordpiece", "bpe", "character"] = "auto"
    """what a token is; auto: character where most letters are of a script without spaces, else word"""
    vocab_size: int = 30_000
    """most tokens in the vocabulary"""
    min_frequency: int = 2
    """a token must occur this often in train"""
    lowercase: bool = True
    """fold case and strip accents"""

    def __post_init__(self) -> None:
        _within("tokenizer.vocab_size", self.vocab_size, 10, 10_000_000)
        _within("tokenizer.min_frequency", self.min_frequency, 1, 1_000_000)


@dataclass(frozen=True)
class ModelConfig:
    """The classifier: embedding, encoder, pooling, head."""

    kind: Literal["attention", "bag", "cnn", "lstm"] = "attention"
    """the encoder; bag, cnn and lstm are baselines behind the same interface"""
    width: int = 128
    """width of a token's vector (C); heads must divide it"""
    heads: int = 4
    """attention heads (H)"""
    layers: int = 2
    """encoder layers"""
    positions: Literal["learned", "sinusoidal", "rotary", "none"] = "learned"
    """how the attention encoder knows the order of tokens"""
    pooling: Literal["auto", "mean", "cls", "max"] = "auto"
    """how a text's vector comes from its tokens' vectors; auto: max for cnn, else mean"""
    dropout: float = 0.1
    """dropout inside the encoder"""
    embedding_dropout: float = 0.4
    """dropout on the embedded tokens and on the pooled vector: what keeps a model from learning few texts by heart"""
    max_tokens: int | Auto = "auto"
    """longer texts are cut, which is said; auto: the longest training text but one in a hundred, 512 at most"""

    def __post_init__(self) -> None:
        for name in ("width", "heads", "layers"):
            _within(f"model.{name}", getattr(self, name), 1, 100_000)
        for name in ("dropout", "embedding_dropout"):
            _within(f"model.{name}", getattr(self, name), 0.0, 0.95)
        if self.max_tokens != "auto":
            _within("model.max_tokens", self.max_tokens, 2, 1_000_000)
        if self.kind == "attention" and self.width % self.heads:
            raise UserError(f"model.heads: {self.heads} heads do not divide model.width {self.width}.")
        if self.positions == "rotary" and self.width // self.heads % 2:
            raise UserError(f"model.positions: rotary needs an even width / heads, not {self.width} / {self.heads}.")


@dataclass(frozen=True)
class TrainingConfig:
    """How Lightning trains."""

    epochs: int | Auto = "auto"
    """times through the training split; auto: by its size"""
    lr: float = 1e-3
    """highest learning rate"""
    warmup: float = 0.1
    """share of the steps over which the rate rises; it falls linearly to zero over the rest"""
    weight_decay: float = 0.05
    """AdamW's decay of matrices; embeddings, biases and norms have none"""
    batch_size: int = 64
    """most texts in a batch"""
    batch_tokens: int = 8192
    """most tokens in a batch, padding included"""
    accumulate: int = 1
    """batches a step"""
    clip: float = 1.0
    """largest gradient norm"""
    label_smoothing: float = 0.1
    """share of the target spread over all labels"""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: a row weighs the less, the more rows its label has"""
    ema: float | Auto = "auto"
    """decay of the exponential moving average of the weights, 0 for none; auto: by the number of steps"""
    monitor: Literal["macro_f1", "accuracy"] = "macro_f1"
    """validation score by which the best weights are kept"""
    patience: int = 5
    """stop after so many validations without a better score"""
    validations: int | Auto = "auto"
    """validations an epoch; auto: one in 1,000 steps, at least one"""
    max_minutes: float = 0.0
    """stop training after so long, 0 for no limit; recorded, and not repeatable to the byte"""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """auto: bf16 where the processor has it in hardware"""
    accelerator: str = "auto"
    """Lightning's accelerator: auto, cpu, gpu, mps"""
    devices: int | Auto = "auto"
    """how many devices of each node"""
    strategy: str = "auto"
    """Lightning's strategy, such as ddp"""
    num_nodes: int = 1
    """machines, under torchrun or SLURM"""
    logger: Literal["none", "tensorboard", "wandb", "mlflow"] = "none"
    """a logger beside log.csv; its package must be installed"""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "batch_tokens", "accumulate", "patience", "validations", "num_nodes"):
            if getattr(self, name) != "auto":
                _within(f"training.{name}", getattr(self, name), 1, 1_000_000_000)
        for name in ("warmup", "label_smoothing") + (("ema",) if self.ema != "auto" else ()):
            _within(f"training.{name}", getattr(self, name), 0.0, 0.99999)
        for name in ("weight_decay", "max_minutes"):
            _within(f"training.{name}", getattr(self, name), 0.0, 1e9)
        for name in ("lr", "clip"):
            _within(f"training.{name}", getattr(self, name), 0.0, 1e9, open_low=True)


@dataclass(frozen=True)
class Settings:
    """All that a run is made from; the run folder's `config.yaml` is written from it."""

    seed: int = 0
    """seed of everything random"""
    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        _within("seed", self.seed, 0, 2**31)


def _within(name: str, value: float, low: float, high: float, *, open_low: bool = False) -> None:
    if not low <= value <= high or (open_low and value == low):
        raise UserError(f"{name}: {value:g} is not {'above' if open_low else 'from'} {low:g} and up to {high:g}.")


def settings_from(values: Mapping[str, Any], where: str) -> Settings:
    """Settings from nested plain values, such as a YAML file's; `where` begins each message.

    Raises:
        UserError: For an unknown key, a wrong type or a value out of its choices or bounds.
    """
    try:
        return _build(Settings, values, "")
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _build(cls: type[Any], values: Any, prefix: str) -> Any:
    if not isinstance(values, Mapping):
        raise UserError(f"{prefix.rstrip('.') or 'the top level'} holds {values!r}, not settings of the form key: value.")
    known = {f.name: f for f in fields(cls)}
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {prefix}{close[0]}?" if close else f"there are {', '.join(known)}."
            raise UserError(f"no setting {prefix}{key}; {hint}")
    hints = get_type_hints(cls)
    return cls(**{key: _convert(hints[key], value, prefix + key) for key, value in values.items()})


def _convert(hint: Any, value: Any, name: str) -> Any:
    """The value as its type wants it; YAML 1.1 reads 3e-5 as a string and `no` as False, which is mended or refused."""
    if is_dataclass(hint):
        return _build(hint, value, name + ".")  # type: ignore[arg-type]
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    choices = [c for option in options if get_origin(option) is Literal for c in get_args(option)]
    if value in choices and not isinstance(value, bool):
        return value
    if choices and str(value) in choices and not isinstance(value, bool):
        return str(value)  # precision: 32
    plain = [option for option in options if get_origin(option) is not Literal]
    for kind in plain:
        if kind is float and isinstance(value, str | int | float) and not isinstance(value, bool):
            try:
                return float(value)
            except ValueError:
                continue
        if type(value) is kind:
            return value
    wanted = [{int: "a whole number", float: "a number", bool: "true or false", str: "a text (quote it)"}[k] for k in plain]
    raise UserError(f"{name}: {value!r} is not {' or '.join(wanted + [repr(c) for c in choices])}.")


def to_plain(settings: Any) -> dict[str, Any]:
    """A dataclass as nested plain values, ready for YAML."""
    return {
        f.name: to_plain(value) if is_dataclass(value := getattr(settings, f.name)) else value for f in fields(settings)
    }


def difference(settings: Any, base: Any) -> dict[str, Any]:
    """The settings, nested, in which `settings` differs from `base`."""
    found: dict[str, Any] = {}
    for f in fields(settings):
        mine, other = getattr(settings, f.name), getattr(base, f.name)
        if is_dataclass(mine) and (inner := difference(mine, other)):
            found[f.name] = inner
        elif not is_dataclass(mine) and mine != other:
            found[f.name] = mine
    return found


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"model": {"width": 64}}` -> `{"model.width": 64}`."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def with_changes(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """A copy with nested changes, such as `{"model": {"width": 64}}`."""
    parts = {k: replace(getattr(settings, k), **v) if isinstance(v, Mapping) else v for k, v in changes.items()}
    return replace(settings, **parts)


SECTIONS = {"data": DataConfig, "tokenizer": TokenizerConfig, "model": ModelConfig, "training": TrainingConfig}


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Sort settings given by bare name into their sections: `{"width": 64}` -> `{"model": {"width": 64}}`."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        homes = [section for section, cls in SECTIONS.items() if key in {f.name for f in fields(cls)}]
        found = merge(found, {homes[0]: {key: value}} if homes else {key: value})
    return found


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings, those of `over` first."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged
