"""Every setting: its type, its default and its sentence, which is the help text of its flag."""

import difflib
import types
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints

from selfattn_lm.errors import UserError

Auto = Literal["auto"]
Precision = Literal["auto", "32", "bf16", "int8"]  # of a model that predicts
Quoting = Literal["auto", "standard", "none"]  # of csv and tsv files
Pooling = Literal["auto", "mean", "cls", "max"]
T = TypeVar("T")


def opt(default: Any, help: str, low: float | None = None, high: float = 1e9) -> Any:
    """A setting: its default, its sentence, and the bounds of its value."""
    return field(default=default, metadata={"help": help, "bounds": (low, high)})


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def section(cls: type[T]) -> type[T]:
    """A frozen dataclass whose settings are checked when it is made, and documented by their sentences."""
    made: Any = dataclass(frozen=True)(cls)
    sentences = [f"    {f.name}: {f.metadata['help']}\n" for f in fields(made) if f.metadata]
    made.__doc__ = f"{cls.__doc__}\n\nAttributes:\n{''.join(sentences)}"
    return made  # type: ignore[no-any-return]


class _Checked:
    def __post_init__(self) -> None:
        for f in fields(self):  # type: ignore[arg-type]
            low, high = f.metadata.get("bounds", (None, 0))
            value = getattr(self, f.name)
            if low is not None and not isinstance(value, str) and not low <= value <= high:
                prefix = next((name for name, cls in SECTIONS.items() if cls is type(self)), "")
                raise UserError(f"{prefix}{'.' if prefix else ''}{f.name}: {value:g} is not from {low:g} to {high:g}.")


@section
class DataConfig(_Checked):
    """What is read, and how."""

    source: str = opt("", "a file, a folder, a hub name such as fancyzhx/ag_news, or stdlib-docs")
    validation: str = opt("", "a file or folder for validation; else one found beside train, else rows held out")
    test: str = opt("", "a file or folder for the test split; else one found beside train")
    text_column: tuple[str, ...] = opt(("auto",), "column of the text; several are joined: title,description")
    label_column: str = opt("auto", "column of the label")
    quoting: Quoting = opt("auto", "of csv and tsv: none where a quote is a letter; auto: by what gives whole rows")
    subset: str = opt("", "which configuration of a hub data set that has several, such as sst2 of nyu-mll/glue")
    shots: int = opt(0, "so many rows of each label are kept in train and validation, to try few labels; 0: all", 0)
    validation_fraction: float = opt(
        0.1, "share of train held out, label by label, if no validation split is given", 0.001, 0.9
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        names = self.text_column
        if isinstance(names, str):  # as Python code may have it, for one column
            names = (names,)
        if not names or "" in names:
            raise UserError("data.text_column: an empty name; leave it out, or name a column.")
        object.__setattr__(self, "text_column", tuple(names))


@section
class TokenizerConfig(_Checked):
    """How texts become tokens; learned from the training split."""

    type: Literal["auto", "word", "wordpiece", "bpe", "character"] = opt("auto", "a token; auto: by the texts' script")
    vocab_size: int | Auto = opt("auto", "most tokens; auto: 30,000, but for bpe a quarter of the rows", 10)
    min_frequency: int = opt(2, "a token must occur so often in train", 1)
    lowercase: bool = opt(True, "lower-case all letters; their accents stay")
    strip_accents: bool = opt(
        False, "drop accents, as uncased BERTs do, and with them the marks that are letters in Thai, Hindi or Japanese"
    )


@section
class ModelConfig(_Checked):
    """The classifier: embedding, encoder, pooling, head."""

    kind: Literal["attention", "bag", "cnn", "lstm"] = opt("attention", "the encoder; the others are baselines")
    width: int = opt(128, "width of a token's vector (C); heads must divide it", 1)
    heads: int = opt(4, "attention heads (H)", 1)
    layers: int = opt(2, "encoder layers", 1)
    positions: Literal["learned", "sinusoidal", "rotary", "none"] = opt("learned", "how attention knows the order")
    pooling: Pooling = opt("auto", "of tokens into a text; auto: max for cnn, else mean")
    dropout: float = opt(0.5, "dropout inside the encoder", 0, 0.95)
    bag_branch: bool = opt(True, "classify by the words alone too, and average with the words in context")
    embedding_dropout: float = opt(0.5, "dropout on embedded tokens and pooled texts, against rote learning", 0, 0.95)
    token_dropout: float = opt(0.2, "share of the tokens hidden from a text each time it is trained on", 0, 0.95)
    max_ngram: int | Auto = opt("auto", "longest n-gram of tokens with its own vector; auto: 2, of characters 3", 1, 8)
    ngram_buckets: int | Auto = opt(
        "auto", "vectors that all n-grams share; auto: one a training token, at most 131,072", 1
    )
    char_ngrams: bool = opt(True, "give tokens spelled alike like vectors while training")
    max_length: int | Auto = opt("auto", "longer texts are cut; auto: 99 in 100 training texts fit, at most 512", 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == "attention" and self.width % self.heads:
            raise UserError(f"model.heads: {self.heads} heads do not divide model.width {self.width}.")
        if self.positions == "rotary" and self.width // self.heads % 2:
            raise UserError(f"model.positions: rotary needs an even width / heads, not {self.width} / {self.heads}.")
        if self.kind == "lstm" and self.width % 2:
            raise UserError(f"model.width: the lstm's two directions share it, so it must be even, not {self.width}.")


@section
class TrainingConfig(_Checked):
    """How Lightning trains."""

    epochs: int | Auto = opt("auto", "times through the training split; auto: by its size", 1)
    learning_rate: float | Auto = opt("auto", "highest learning rate; auto: 3e-3, from a BERT 0.1 / width", 1e-9, 10)
    layer_decay: float = opt(1.0, "each encoder layer learns at so much of the rate of the one above it", 0.01, 1)
    freeze: int | Literal["none", "embeddings", "all"] = opt(
        "none", "what does not learn: embeddings, they and the first so many layers, all but the head", 0
    )
    warmup_fraction: float = opt(
        0.1, "share of the steps over which the rate rises; over the rest it falls to zero", 0, 1
    )
    weight_decay: float = opt(0.05, "AdamW's decay of matrices; embeddings, biases and norms have none", 0)
    batch_size: int = opt(64, "most texts in a batch", 1)
    batch_tokens: int = opt(8192, "most tokens in a batch, padding included", 2)
    accumulate_batches: int = opt(1, "batches a step", 1)
    max_grad_norm: float = opt(1.0, "largest gradient norm", 1e-9)
    label_smoothing: float = opt(0.1, "share of the target spread over all labels", 0, 0.99)
    class_weights: Literal["none", "balanced"] = opt("none", "balanced: each label counts the same in the loss")
    ema_decay: float | Auto = opt(
        "auto", "decay of the moving average of the weights, 0: none; auto: by steps", 0, 0.99999
    )
    monitor: Literal["macro_f1", "accuracy"] = opt("macro_f1", "validation score by which the best weights are kept")
    patience: int | Auto = opt(
        "auto", "epochs without a better score before training stops; auto: a third, at least 5", 1
    )
    validations_per_epoch: int | Auto = opt("auto", "validations an epoch; auto: one in 1,000 steps, at least one", 1)
    max_minutes: float = opt(0.0, "stop after so long, 0: no limit; recorded, and not repeatable to the byte", 0)
    precision: Literal["auto", "32", "bf16"] = opt("auto", "auto: bf16 where it is measured to be faster, else 32")
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = opt("auto", "auto: cuda if it is there, else cpu")
    devices: int | Auto = opt("auto", "how many devices of each node; auto: 1", 1)
    strategy: str = opt("auto", "Lightning's strategy, such as ddp")
    num_nodes: int = opt(1, "machines, under torchrun or SLURM", 1)
    logger: Literal["none", "tensorboard", "wandb", "mlflow"] = opt("none", "a logger beside log.csv, if installed")


SECTIONS: dict[str, Any] = dict(data=DataConfig, tokenizer=TokenizerConfig, model=ModelConfig, training=TrainingConfig)


@section
class Settings(_Checked):
    """All that a run is made from; the run folder's `config.yaml` is written from it."""

    seed: int = opt(0, "seed of everything random", 0, 2**31)
    data: DataConfig = DataConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()


@dataclass(frozen=True)
class BertConfig:
    """The architecture of a BERT checkpoint, beyond width, heads and layers; a run keeps it in `bert.json`.

    Attributes:
        model_type: bert, or distilbert (Sanh et al. 2019, 1910.01108), which has no token types and pools with ReLU.
        vocab_size: How many tokens the model has a vector for.
        max_positions: The length of the longest text, in tokens.
        type_vocab_size: How many token types there are; 0 for DistilBERT.
        intermediate_size: The width of the feed-forward network.
        activation: Its activation, a name of `nn.ACTIVATIONS`.
        norm_eps: The epsilon of the layer norms.
        pooler: Whether the first token's vector goes through a layer of its own before it represents the text.
    """

    model_type: str
    vocab_size: int
    max_positions: int
    type_vocab_size: int
    intermediate_size: int
    activation: str
    norm_eps: float
    pooler: bool = True


STUDIED = ("attention", "cnn", "lstm", "bag", "tfidf")  # what `study` compares
# What `train --preset` begins with: words alone are quick to learn, and most of the way.
PRESETS: dict[str, dict[str, Any]] = {
    "accurate": {},
    "quick": {"model": {"kind": "bag"}, "training": {"batch_size": 256, "learning_rate": 1e-2}},
}
# What a pretrained BERT begins with: it knows the language already, and shall not forget it.
FINETUNING: dict[str, Any] = {
    "training": {"layer_decay": 0.8, "batch_size": 32, "weight_decay": 0.01, "label_smoothing": 0.0}
}
# What `pretrain` does otherwise: hidden words are guessed from their context alone, which must be there.
PRETRAINING: dict[str, Any] = {
    "data": {"validation_fraction": 0.05},
    "model": {"dropout": 0.1, "embedding_dropout": 0.1, "token_dropout": 0.0},
    "training": {"monitor": "accuracy", "learning_rate": 2e-3, "weight_decay": 0.01},
}


def settings_from(values: Mapping[str, Any], where: str) -> Settings:
    """Settings from nested plain values, such as a YAML file's, strictly checked; `where` begins each message."""
    try:
        settings: Settings = _build(Settings, values, "")
        return settings
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def build(cls: type[Any], values: Mapping[str, Any], where: str) -> Any:
    """Settings of a class from nested plain values, strictly checked; `where` begins each message."""
    try:
        return _build(cls, values, "")
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _build(cls: type[Any], values: Any, prefix: str) -> Any:
    if not isinstance(values, Mapping):
        where = prefix.rstrip(".") or "the top level"
        raise UserError(f"{where} holds {values!r}, not settings of the form key: value.")
    hints = get_type_hints(cls)
    for key in values:
        if key not in hints:
            close = difflib.get_close_matches(str(key), hints, n=1)
            hint = f"did you mean {prefix}{close[0]}?" if close else f"there are {', '.join(hints)}."
            raise UserError(f"no setting {prefix}{key}; {hint}")
    return cls(**{key: _convert(hints[key], value, prefix + key) for key, value in values.items()})


def _convert(hint: Any, value: Any, name: str) -> Any:
    """The value in its setting's type; YAML 1.1 reads 3e-5 as a string, converted, and `no` as False, refused."""
    if is_dataclass(hint):
        return _build(hint, value, name + ".")  # type: ignore[arg-type]
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    choices = [c for option in options if get_origin(option) is Literal for c in get_args(option)]
    plain = [option for option in options if get_origin(option) is not Literal]
    if str(value) in choices and not isinstance(value, bool):
        return str(value)  # also precision: 32
    if type(value) in plain:
        return value
    if tuple[str, ...] in plain:
        names = (value,) if isinstance(value, str) else value
        if isinstance(names, list | tuple) and all(isinstance(one, str) for one in names):
            return tuple(names)
        raise UserError(f"{name}: {value!r} is not a text or a list of texts (quote them).")
    if float in plain and isinstance(value, str | int) and not isinstance(value, bool):
        with suppress(ValueError):
            return float(value)
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text (quote it)"}
    wanted = [names[kind] for kind in plain] + [repr(choice) for choice in choices]
    raise UserError(f"{name}: {value!r} is not {' or '.join(wanted)}.")


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"model": {"width": 64}}` -> `{"model.width": 64}`."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def nest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted or bare name, or by section, nested: `{"width": 64}` -> `{"model": {"width": 64}}`."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        homes = [name for name, cls in SECTIONS.items() if key in cls.__dataclass_fields__]
        home, _, rest = key.rpartition(".")
        found = merge(found, {home or homes[0]: {rest: value}} if home or homes else {key: value})
    return found


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings, those of `over` first."""
    both = [key for key in base if isinstance(base[key], Mapping) and isinstance(over.get(key), Mapping)]
    return {**base, **over, **{key: merge(base[key], over[key]) for key in both}}


def with_changes(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """A copy with nested changes, such as `{"model": {"width": 64}}`."""
    return replace(settings, **{name: replace(getattr(settings, name), **part) for name, part in changes.items()})
