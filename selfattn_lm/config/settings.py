"""Every setting: its type, its default and one sentence, which is the help text of its flag."""

from collections.abc import Mapping
from typing import Any, Literal

from selfattn_lm.config.schema import Checked, build, opt, section
from selfattn_lm.errors import UserError

Auto = Literal["auto"]
Precision = Literal["auto", "32", "bf16", "int8"]  # of a model that predicts
Quoting = Literal["auto", "standard", "none"]  # of csv and tsv files
TaskKind = Literal["auto", "single_label", "multi_label", "regression"]
Monitor = Literal["auto", "macro_f1", "micro_f1", "accuracy", "r2", "pearson", "spearman"]
Pooling = Literal["auto", "mean", "cls", "max"]
LongTexts = Literal["head", "head-tail", "windows"]


@section
class DataConfig(Checked):
    """What is read, and how."""

    prefix = "data."

    source: str = opt("", "a file, a folder, a hub name such as fancyzhx/ag_news, or stdlib-docs")
    validation: str = opt(
        "", "a file or folder for validation; else one beside train, else a part of train"
    )
    test: str = opt("", "a file or folder for the test split; else one beside train")
    text_column: tuple[str, ...] = opt(
        ("auto",), "column of the text; several are joined: title,description"
    )
    pair_column: str = opt(
        "auto",
        "column of the second text of a pair; none: single texts; auto: by the usual names, such as"
        " premise and hypothesis, if text_column is auto too",
    )
    label_column: tuple[str, ...] = opt(
        ("auto",), "column of the label; several, one per label, hold 0 and 1: give it repeatedly"
    )
    task: TaskKind = opt(
        "auto",
        "what is predicted; auto: several labels if cells hold lists, a number if the labels are"
        " more than 20 numbers and some have a fraction, else one label",
    )
    label_separator: str = opt("", "what separates the labels of a cell, such as a comma")
    empty_means_none: bool = opt(False, "an empty label cell means no labels instead of a bad row")
    quoting: Quoting = opt(
        "auto",
        "quotes in csv and tsv: standard, or none where they are ordinary characters;"
        " auto: whichever gives whole rows",
    )
    subset: str = opt(
        "", "configuration of a hub dataset that has several, such as sst2 of nyu-mll/glue"
    )
    shots: int = opt(
        0, "few-shot: keep at most this many rows per label in train and validation; 0: all", 0
    )
    validation_fraction: float = opt(
        0.1,
        "fraction of train used for validation (stratified) if there is no validation split",
        0.001,
        0.9,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("text_column", "label_column"):
            names = getattr(self, setting)
            if isinstance(names, str):  # one column, named from Python
                names = (names,)
            if not names or "" in names:
                raise UserError(f"data.{setting}: an empty name; leave it out, or name a column.")
            object.__setattr__(self, setting, tuple(names))
        many = "several labels per text"
        if self.task in ("single_label", "regression") and self.label_separator:
            reason = f"data.label_separator is for {many}, but data.task is {self.task}"
            raise UserError(f"{reason}; leave one of them out.")
        if self.task in ("single_label", "regression") and len(self.label_column) > 1:
            reason = f"several label columns mean {many}, but data.task is {self.task}"
            raise UserError(f"data.label_column: {reason}; name one column.")
        if self.label_separator and len(self.label_column) > 1:
            reason = "several label columns hold 0 and 1, so there is nothing to separate"
            raise UserError(f"data.label_separator: {reason}; leave it out.")


@section
class TokenizerConfig(Checked):
    """How texts become tokens; learned from the training split."""

    prefix = "tokenizer."

    type: Literal["auto", "word", "wordpiece", "bpe", "character"] = opt(
        "auto", "tokenizer model; auto: character for scripts without spaces, else wordpiece"
    )
    vocab_size: int | Auto = opt(
        "auto", "maximum number of tokens; auto: 30,000, but for bpe a quarter of the rows", 10
    )
    min_frequency: int = opt(2, "minimum number of occurrences of a token in train", 1)
    lowercase: bool = opt(True, "lower-case all letters; accents are kept")
    strip_accents: bool = opt(
        False,
        "remove accents, as uncased BERTs do; this also removes marks that are letters in Thai,"
        " Hindi or Japanese",
    )


@section
class ModelConfig(Checked):
    """The classifier: embedding, encoder, pooling, head."""

    prefix = "model."

    kind: Literal["attention", "bag", "cnn", "lstm"] = opt(
        "attention", "encoder; all but attention are baselines", architecture=True
    )
    width: int = opt(
        128, "width of a token's vector (C); a multiple of heads", 1, architecture=True
    )
    heads: int = opt(4, "attention heads (H)", 1, architecture=True)
    layers: int = opt(2, "encoder layers", 1, architecture=True)
    positions: Literal["learned", "sinusoidal", "rotary", "none"] = opt(
        "learned", "position encoding of the attention encoder", architecture=True
    )
    pooling: Pooling = opt(
        "auto", "pooling of tokens into a text; auto: max for cnn, else mean", architecture=True
    )
    dropout: float = opt(0.5, "dropout inside the encoder", 0, 0.95)
    bag_branch: bool = opt(
        True, "add a branch that classifies by the mean of the embeddings", architecture=True
    )
    ngram_branch: bool = opt(
        True,
        "add a branch with a linear model of the n-grams of whole texts, solved before training",
    )
    embedding_dropout: float = opt(0.5, "dropout on embedded tokens and on pooled texts", 0, 0.95)
    token_dropout: float = opt(
        0.2, "fraction of input tokens replaced by [MASK] in training", 0, 0.95
    )
    max_ngram: int | Auto = opt(
        "auto",
        "longest n-gram of tokens, with a vector of its own and in the n-gram branch; auto: 2, or 3"
        " for characters",
        1,
        8,
        architecture=True,
    )
    ngram_buckets: int | Auto = opt(
        "auto",
        "number of vectors that all n-grams share; auto: one per training token, at most 131,072",
        1,
        architecture=True,
    )
    char_ngrams: bool = opt(True, "add vectors of character n-grams to tokens in training")
    max_length: int | Auto = opt(
        "auto",
        "maximum number of tokens in a text, see long_texts; auto: enough for 99 % of the training"
        " texts, at most 256 with ngram_branch, else 512",
        2,
        architecture=True,
    )
    long_texts: LongTexts = opt(
        "head",
        "longer texts: head reads the first max_length tokens, head-tail a quarter of them and the"
        " rest at the end, windows all tokens in windows whose logits are averaged",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == "attention" and self.width % self.heads:
            raise UserError(
                f"model.heads: {self.heads} heads do not divide model.width {self.width}."
            )
        if self.positions == "rotary" and self.width // self.heads % 2:
            given = f"{self.width} / {self.heads}"
            raise UserError(
                f"model.positions: rotary needs an even model.width / model.heads, got {given}."
            )
        if self.kind == "lstm" and self.width % 2:
            raise UserError(
                f"model.width must be even for lstm, which has two directions, got {self.width}."
            )


@section
class TrainingConfig(Checked):
    """How Lightning trains."""

    prefix = "training."

    epochs: int | Auto = opt(
        "auto", "passes over the training split; auto: by the size of the split", 1
    )
    learning_rate: float | Auto = opt(
        "auto",
        "peak learning rate; auto: 3e-3, 2e-2 with several labels, or 0.1 / width for a BERT",
        1e-9,
        10,
    )
    layer_decay: float = opt(
        1.0, "learning-rate factor from each layer to the one below it; 1: the same rate", 0.01, 1
    )
    freeze: int | Literal["none", "embeddings", "all"] = opt(
        "none",
        "frozen parameters: none, embeddings, N (embeddings and the first N layers) or all (all"
        " but the head)",
        0,
    )
    warmup_fraction: float = opt(
        0.1, "fraction of steps of linear warm-up; then linear decay to zero", 0, 1
    )
    weight_decay: float = opt(
        0.05, "AdamW's weight decay of matrices; embeddings, biases and norms have none", 0
    )
    batch_size: int = opt(64, "maximum number of texts in a batch", 1)
    batch_tokens: int = opt(8192, "maximum number of tokens in a batch, including padding", 2)
    accumulate_batches: int = opt(1, "batches per optimizer step", 1)
    max_grad_norm: float = opt(1.0, "maximum norm of the gradient, which is clipped to it", 1e-9)
    label_smoothing: float = opt(
        0.1,
        "fraction of the target probability spread over all labels; unused with several per text",
        0,
        0.99,
    )
    class_weights: Literal["none", "balanced"] = opt(
        "none", "weights of labels in the loss; balanced: each label counts the same"
    )
    ema_decay: float | Auto = opt(
        "auto",
        "decay of the moving average of the weights; 0: no average; auto: by the number of steps",
        0,
        0.99999,
    )
    monitor: Monitor = opt(
        "auto",
        "validation score by which the best weights are chosen; auto: macro_f1 for one label,"
        " micro_f1 for several, r2 for a number",
    )
    patience: int | Auto = opt(
        "auto",
        "epochs without a better score before training stops; auto: a third of epochs, at least 5",
        1,
    )
    validations_per_epoch: int | Auto = opt(
        "auto", "validations per epoch; auto: one per 1,000 steps, at least one", 1
    )
    max_minutes: float = opt(
        0.0, "stop after this many minutes; 0: no limit; such a run cannot be repeated exactly", 0
    )
    precision: Literal["auto", "32", "bf16"] = opt(
        "auto", "precision of training; auto: bf16 where it is measured to be faster, else 32"
    )
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = opt(
        "auto", "device to train on; auto: cuda if available, else cpu"
    )
    devices: int | Auto = opt("auto", "number of devices per node; auto: 1", 1)
    strategy: str = opt("auto", "Lightning's strategy, such as ddp")
    num_nodes: int = opt(1, "number of machines, under torchrun or SLURM", 1)
    logger: Literal["none", "tensorboard", "wandb", "mlflow"] = opt(
        "none", "logger beside log.csv, which must be installed"
    )


SECTIONS: dict[str, type[Any]] = {
    "data": DataConfig,
    "tokenizer": TokenizerConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
}


@section
class Settings(Checked):
    """All settings of a run; the `config.yaml` of its folder records them."""

    seed: int = opt(0, "seed of all random numbers", 0, 2**31)
    data: DataConfig = DataConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()


def settings_from(values: Mapping[str, Any], where: str) -> Settings:
    """Build settings from nested plain values, strictly checked; `where` begins error messages."""
    return build(Settings, values, where)
