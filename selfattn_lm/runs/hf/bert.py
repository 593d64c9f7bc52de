"""BERT checkpoints in Hugging Face's format, read as runs to start from, and written."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from selfattn_lm.build import build_model
from selfattn_lm.config import BertConfig, ModelConfig, Pooling, Settings, TokenizerConfig, resolved_from
from selfattn_lm.errors import UserError
from selfattn_lm.runs.files import atomic, write_json
from selfattn_lm.runs.hf.added_tokens import SPECIAL
from selfattn_lm.runs.hf.files import read_json, read_weights
from selfattn_lm.runs.hf.names import ACTIVATIONS, KEYS, POOLER, TASKS, foreign_names, modern
from selfattn_lm.runs.hf.tokenizer import longest_text, lowercases, read_tokenizer, strips_accents, write_tokenizer
from selfattn_lm.runs.run import Run

_OWN_POOLER = "branches.encoder.pool.dense.weight"


def is_checkpoint(folder: Path) -> bool:
    """Whether the folder holds a model in Hugging Face's format, and is no run folder."""
    return (folder / "config.json").is_file() and not (folder / "config.yaml").is_file()


def read_bert(folder: Path, pooling: Pooling = "auto") -> Run:
    """A checkpoint as a run to start from, or to predict with if it was trained to choose one label of several.

    Otherwise the run has no labels, and `head_problem` says why if the checkpoint has a head. `pooling` is by default
    what it was made for: what a sentence-transformers folder says, else its own pooler, else the mean.
    Raises UserError for another architecture, or a file that is missing, broken or does not fit the others.
    """
    file = folder / "config.json"
    config = read_json(file)
    shape = _shape(file, config)
    keys = KEYS[shape.model_type]
    weights = {modern(name, shape.model_type): tensor for name, tensor in read_weights(folder).items()}
    classifies = any(name.endswith("ForSequenceClassification") for name in _architectures(config))
    pooled = f"{POOLER[shape.model_type]}.weight" in weights
    sentence_pooling = _sentence_pooling(folder)
    if pooling == "auto" and classifies:
        pooling = "cls"
    elif pooling == "auto":
        pooling = sentence_pooling or ("cls" if pooled else "mean")
    shape = replace(shape, pooler=sentence_pooling != "cls")  # there it is the first token's own vector
    labels: list[str] = []
    head_problem = ""
    if classifies:
        try:
            labels = _labels(file, config, weights.get("classifier.weight"))
        except UserError as error:  # what is read to be trained further gets a new head, and needs no labels
            head_problem = str(error)
    tokenizer = read_tokenizer(folder)
    rows_needed = 1 + max(tokenizer.get_vocab().values())
    if rows_needed > shape.vocab_size:
        sizes = f"{rows_needed:,} tokens, but the model {shape.vocab_size:,}"
        raise UserError(f"{folder}: the tokenizer has {sizes}; they do not belong together.")
    dropout = config.get(keys["dropout"], 0.1)
    model = ModelConfig(
        width=config[keys["width"]], heads=config[keys["heads"]], layers=config[keys["layers"]], pooling=pooling,
        max_length=min(shape.max_positions, longest_text(folder), 512), max_ngram=1, ngram_buckets=1, bag_branch=False,
        char_ngrams=False, token_dropout=0.0, dropout=dropout, embedding_dropout=dropout,
    )  # fmt: skip
    unit = TokenizerConfig(
        type="wordpiece", vocab_size=tokenizer.get_vocab_size(), min_frequency=1,
        lowercase=lowercases(tokenizer), strip_accents=strips_accents(tokenizer),
    )  # fmt: skip
    settings = replace(Settings(), model=model, tokenizer=unit)
    resolved = resolved_from(settings, {}, str(file))
    with torch.random.fork_rng(devices=[]):  # its first weights are random
        built = build_model(resolved, tokenizer, max(1, len(labels)), in_training=False, bert=shape)
    run = Run(settings, resolved, labels, tokenizer, built, shape, head_problem=head_problem)
    run.model.load_state_dict(_ours(folder, run, weights, pooled), strict=False)
    run.model.eval()
    return run


def _ours(folder: Path, run: Run, weights: Mapping[str, Tensor], pooled: bool) -> dict[str, Tensor]:
    """The tensors by our names; refuses a set that lacks one, or has one of another shape."""
    assert run.bert is not None
    found, expected = dict[str, Tensor](), run.model.state_dict()
    own, labelled = pooled and _OWN_POOLER in expected, bool(run.labels)
    names = foreign_names(run.bert, run.settings.model.layers, pooler=own, classifier=labelled)
    for ours, theirs in names.items():
        if missing := [name for name in theirs if name not in weights]:
            raise UserError(f"{folder}: the weights lack {missing[0]}, which its config.json asks for.")
        found[ours] = torch.cat([weights[name].float() for name in theirs])
        if found[ours].shape != expected[ours].shape:
            shapes = f"{tuple(found[ours].shape)} where config.json asks for {tuple(expected[ours].shape)}"
            raise UserError(f"{folder}: {' + '.join(theirs)} is {shapes}.")
    return found


def _shape(file: Path, config: Mapping[str, Any]) -> BertConfig:
    """The shape that `config.json` says, which must be one that our parts can take."""

    def require(fulfilled: bool, otherwise: str) -> None:
        if not fulfilled:
            raise UserError(f"{file}: {otherwise}.")

    family = _family(file, config)
    keys = KEYS[family]
    positions = config.get("position_embedding_type") or "absolute"
    activation = str(config.get(keys["activation"], "gelu"))
    norm_eps = config.get("layer_norm_eps", 1e-12)
    dropout = config.get(keys["dropout"], 0.1)
    types = config.get("type_vocab_size", 2) if family == "bert" else 0
    sizes = ["vocab_size", "max_position_embeddings", keys["width"], keys["heads"], keys["layers"], keys["inner"]]
    require(positions == "absolute", f"position_embedding_type {positions!r} is not supported (supported: 'absolute')")
    require(not config.get("is_decoder"), "a decoder is not supported (supported: encoders)")
    require(
        activation in ACTIVATIONS,
        f"{keys['activation']} {activation!r} is not supported (supported: {', '.join(ACTIVATIONS)})",
    )
    require(isinstance(norm_eps, int | float), f"layer_norm_eps {norm_eps!r} is not a number")
    require(isinstance(dropout, int | float), f"{keys['dropout']} {dropout!r} is not a number")
    require(_is_whole(types, 0), f"type_vocab_size {types!r} is not a whole number")
    for key in sizes:
        require(_is_whole(config.get(key), 1), f"{key} is missing or not a whole number above 0")
    width, heads = config[keys["width"]], config[keys["heads"]]
    require(width % heads == 0, f"{keys['heads']} {heads} does not divide {keys['width']} {width}")
    return BertConfig(
        model_type=family,
        vocab_size=config["vocab_size"],
        max_positions=config["max_position_embeddings"],
        type_vocab_size=types,
        intermediate_size=config[keys["inner"]],
        activation=ACTIVATIONS[activation],
        norm_eps=norm_eps,
    )


def _family(file: Path, config: Mapping[str, Any]) -> str:
    """Which of the supported families the model is of; the first BERTs do not say."""
    classes = {"bert": "Bert", "distilbert": "DistilBert"}
    family = config.get("model_type") or ("bert" if "type_vocab_size" in config else "no model_type")
    problem = "" if family in ("bert", "distilbert") else str(family)
    for name in _architectures(config):
        if problem or name not in [f"{classes[family]}{task}" for task in TASKS]:
            problem = name
    if problem:
        models = ", ".join(f"{name}{task}" for name in classes.values() for task in TASKS[:3])
        raise UserError(f"{file}: {problem} is not supported (supported: {models}).")
    return str(family)


def _architectures(config: Mapping[str, Any]) -> list[str]:
    named = config.get("architectures") or []
    return [named] if isinstance(named, str) else [str(name) for name in named]


def _labels(file: Path, config: Mapping[str, Any], head: Tensor | None) -> list[str]:
    """The names of the labels that the `head` (L, C) chooses from; refuses a head that does something else."""
    if head is None:
        raise UserError(f"{file.parent}: the weights lack classifier.weight, so it cannot predict labels.")
    problem_type = config.get("problem_type") or "single_label_classification"
    if problem_type != "single_label_classification":
        supported = "(supported: 'single_label_classification')"
        raise UserError(f"{file}: problem_type {problem_type!r} is not supported {supported}.")
    names = config.get("id2label")
    if names is None:
        count = config.get("num_labels", len(head))
        if not _is_whole(count, 1):
            raise UserError(f"{file}: num_labels {count!r} is not a whole number above 0.")
        names = {i: f"LABEL_{i}" for i in range(count)}
    if not isinstance(names, dict) or not all(str(i).isdecimal() for i in names):
        raise UserError(f"{file}: id2label holds no labels by their number, such as {{'0': 'no', '1': 'yes'}}.")
    numbers = sorted(int(i) for i in names)
    if numbers != list(range(len(numbers))):
        found = ", ".join(map(str, numbers))
        raise UserError(
            f"{file}: id2label numbers its labels {found}; they must be 0 to {len(numbers) - 1}, each once."
        )
    labels = [str(name) for _, name in sorted(names.items(), key=lambda item: int(item[0]))]
    if len(labels) != len(head):
        raise UserError(f"{file}: it tells of {len(labels)} labels, but classifier.weight has {len(head)} rows.")
    if len(labels) == 1:
        raise UserError(f"{file}: the model has one output, so it predicts a number and no labels.")
    for label in labels:
        if labels.count(label) > 1:
            raise UserError(f"{file}: id2label has the label {label!r} twice; give each number its own label.")
    return labels


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _sentence_pooling(folder: Path) -> Pooling | None:
    """How a sentence-transformers folder pools; nothing if it is none, or pools in a way that we have not."""
    file = next(iter(sorted(folder.glob("*_Pooling/config.json"))), None)
    if file is None:
        return None
    config = read_json(file)
    old: dict[Pooling, str] = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}
    told = config.get("pooling_mode")
    return next((ours for ours, key in old.items() if config.get(f"pooling_mode_{key}") or told == ours), None)


def write_bert(run: Run, folder: Path) -> None:
    """Write a folder that `transformers.AutoModelForSequenceClassification` loads; refuses what BERT cannot be."""
    if run.bert is None:
        reason = "our own encoder, with norms before its blocks and vectors for n-grams, which BERT has not"
        raise UserError(f"export: the run is of {reason}; only runs that began with --init BERT can be written as one.")
    if not run.labels:
        raise UserError("export: the run classifies nothing; `selfattn train` makes a classifier of it.")
    if _OWN_POOLER not in run.model.state_dict():
        pooling = f"pools by {run.resolved.model.pooling}" if run.bert.pooler else "pools without a pooler"
        advice = "train it with --model.pooling cls" if run.bert.pooler else "start from a checkpoint with a pooler"
        raise UserError(f"export: the run {pooling}, which BertForSequenceClassification cannot; {advice}.")
    write_json(folder / "config.json", _config(run, run.bert))
    max_length = run.resolved.model.max_length
    write_tokenizer(run.tokenizer, max_length, folder, has_token_types=run.bert.model_type == "bert")
    tensors, weights = run.model.state_dict(), dict[str, Tensor]()
    for name, theirs in foreign_names(run.bert, run.resolved.model.layers, pooler=True, classifier=True).items():
        weights |= zip(theirs, (part.contiguous() for part in tensors[name].float().chunk(len(theirs))), strict=True)
    with atomic(folder / "model.safetensors") as temporary:
        temporary.write_bytes(safetensors.torch.save(weights, {"format": "pt"}))


def _config(run: Run, shape: BertConfig) -> dict[str, Any]:
    """The `config.json` of a run."""
    model, keys, bert = run.resolved.model, KEYS[shape.model_type], shape.model_type == "bert"
    activation = next(theirs for theirs, ours in reversed(ACTIVATIONS.items()) if ours == shape.activation)
    values = {**vars(model), "inner": shape.intermediate_size, "activation": activation}
    rest: dict[str, Any] = {"sinusoidal_pos_embds": False, "attention_dropout": 0.0}
    if bert:
        rest = {
            "type_vocab_size": shape.type_vocab_size,
            "layer_norm_eps": shape.norm_eps,
            "attention_probs_dropout_prob": 0.0,
        }
    rest["classifier_dropout" if bert else "seq_classif_dropout"] = model.embedding_dropout
    return {
        "architectures": ["BertForSequenceClassification" if bert else "DistilBertForSequenceClassification"],
        "model_type": shape.model_type,
        **{theirs: values[ours] for ours, theirs in keys.items()},
        "vocab_size": shape.vocab_size,
        "max_position_embeddings": shape.max_positions,
        "pad_token_id": run.tokenizer.token_to_id(SPECIAL["pad_token"]),
        **rest,
        "problem_type": "single_label_classification",
        "id2label": dict(enumerate(run.labels)),
        "label2id": {label: i for i, label in enumerate(run.labels)},
    }
