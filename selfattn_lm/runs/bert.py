"""BERT checkpoints in Hugging Face's format, read as runs to start from, and written."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from selfattn_lm.config import BertShape, ModelConfig, Pooling, Settings, TokenizerConfig
from selfattn_lm.errors import UserError
from selfattn_lm.runs.bert_added_tokens import SPECIAL
from selfattn_lm.runs.bert_files import read_json, read_weights
from selfattn_lm.runs.bert_names import ACTIVATIONS, KEYS, POOLER, TASKS, foreign_names, modern
from selfattn_lm.runs.bert_tokenizer import longest_text, lowercases, read_tokenizer, strips_accents, write_tokenizer
from selfattn_lm.runs.files import atomic, write_json
from selfattn_lm.runs.run import Run, new_model

_OWN_POOLER = "views.context.pool.dense.weight"


def is_checkpoint(folder: Path) -> bool:
    """Whether the folder holds a model in Hugging Face's format, and is no run folder."""
    return (folder / "config.json").is_file() and not (folder / "config.yaml").is_file()


def read_bert(folder: Path, pooling: Pooling = "auto") -> Run:
    """A checkpoint as a run to start from, or to predict with if it was trained to classify (else without labels).

    `pooling` is by default what it was made for: what a sentence-transformers folder says, else its own pooler, else
    the mean.
    Raises UserError for another architecture, or a file that is missing, broken or does not fit the others.
    """
    config = read_json(folder / "config.json")
    shape = _shape(folder, config)
    keys = KEYS[shape.family]
    weights = {modern(name, shape.family): tensor for name, tensor in read_weights(folder).items()}
    classifies = any(name.endswith("ForSequenceClassification") for name in config.get("architectures") or ())
    pooled, sentence = f"{POOLER[shape.family]}.weight" in weights, _sentence_pooling(folder)
    if pooling == "auto":
        pooling = "cls" if classifies else sentence or ("cls" if pooled else "mean")
    shape = replace(shape, pooler=sentence != "cls")  # there it is the first token's own vector
    labels = _labels(config) if classifies and "classifier.weight" in weights else []
    tokenizer = read_tokenizer(folder)
    rows_needed = 1 + max(tokenizer.get_vocab().values())
    if rows_needed > shape.vocab_size:
        sizes = f"{rows_needed:,} tokens, but the model {shape.vocab_size:,}"
        raise UserError(f"{folder}: the tokenizer has {sizes}; they do not belong together.")
    max_tokens = min(shape.places, longest_text(folder), 512)
    model = ModelConfig(
        width=config[keys["width"]], heads=config[keys["heads"]], layers=config[keys["layers"]], pooling=pooling,
        max_tokens=max_tokens, ngrams=1, ngram_rows=1, words=False, spelling=False, token_dropout=0.0,
        dropout=config.get(keys["dropout"], 0.1), embedding_dropout=config.get(keys["dropout"], 0.1),
    )  # fmt: skip
    unit = TokenizerConfig(
        unit="wordpiece", vocab_size=tokenizer.get_vocab_size(), min_frequency=1,
        lowercase=lowercases(tokenizer), strip_accents=strips_accents(tokenizer),
    )  # fmt: skip
    settings = replace(Settings(), model=model, tokenizer=unit)
    with torch.random.fork_rng(devices=[]):  # its first weights are random
        built = new_model(settings, tokenizer, max(1, len(labels)), spelled=False, bert=shape)
    run = Run(settings, {}, labels, tokenizer, built, shape)
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


def _shape(folder: Path, config: Mapping[str, Any]) -> BertShape:
    """The shape that `config.json` says, which must be one that our parts can take."""
    where = folder / "config.json"
    names = config.get("architectures") or []
    family = config.get("model_type") or ("bert" if "type_vocab_size" in config else "?")
    known = {"bert": "Bert", "distilbert": "DistilBert"}
    if family not in known or any(name not in [known[family] + task for task in TASKS] for name in names):
        supported = ", ".join(f"{name}{task}" for name in known.values() for task in TASKS[:3])
        raise UserError(f"{where}: {', '.join(names) or family} is not supported; {supported} are.")
    if (position := config.get("position_embedding_type", "absolute")) != "absolute" or config.get("is_decoder"):
        reason = "a decoder" if config.get("is_decoder") else f"positions of type {position}"
        raise UserError(f"{where}: {reason} cannot be read; encoders with absolute positions are.")
    keys, needed = KEYS[family], ("vocab_size", "max_position_embeddings")
    if missing := [key for key in (*needed, *list(keys.values())[:4]) if not isinstance(config.get(key), int)]:
        raise UserError(f"{where}: {missing[0]} is missing or not a whole number.")
    if (activation := config.get(keys["activation"], "gelu")) not in ACTIVATIONS:
        raise UserError(f"{where}: activation {activation!r} is not supported; {', '.join(ACTIVATIONS)} are.")
    types = config.get("type_vocab_size", 2) if family == "bert" else 0
    return BertShape(
        family, config["vocab_size"], config["max_position_embeddings"], types, config[keys["inner"]],
        ACTIVATIONS[activation], config.get("layer_norm_eps", 1e-12),
    )  # fmt: skip


def _labels(config: Mapping[str, Any]) -> list[str]:
    names = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    return [str(names[key]) for key in sorted(names, key=int)]


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
        pooling = f"pools by {run.in_effect.model.pooling}" if run.bert.pooler else "pools without a pooler"
        advice = "train it with --model.pooling cls" if run.bert.pooler else "start from a checkpoint with a pooler"
        raise UserError(f"export: the run {pooling}, which BertForSequenceClassification cannot; {advice}.")
    write_json(folder / "config.json", _config(run, run.bert))
    max_length = run.in_effect.model.max_tokens
    assert max_length != "auto"
    write_tokenizer(run.tokenizer, max_length, folder)
    tensors, weights = run.model.state_dict(), dict[str, Tensor]()
    for name, theirs in foreign_names(run.bert, run.in_effect.model.layers, pooler=True, classifier=True).items():
        weights |= zip(theirs, (part.contiguous() for part in tensors[name].float().chunk(len(theirs))), strict=True)
    with atomic(folder / "model.safetensors") as temporary:
        temporary.write_bytes(safetensors.torch.save(weights, {"format": "pt"}))


def _config(run: Run, shape: BertShape) -> dict[str, Any]:
    """The `config.json` of a run."""
    model, keys, bert = run.in_effect.model, KEYS[shape.family], shape.family == "bert"
    activation = next(theirs for theirs, ours in reversed(ACTIVATIONS.items()) if ours == shape.activation)
    values = {**vars(model), "inner": shape.inner, "activation": activation}
    rest: dict[str, Any] = {"sinusoidal_pos_embds": False, "attention_dropout": 0.0}
    if bert:
        rest = {"type_vocab_size": shape.types, "layer_norm_eps": shape.norm_eps, "attention_probs_dropout_prob": 0.0}
    rest["classifier_dropout" if bert else "seq_classif_dropout"] = model.embedding_dropout
    return {
        "architectures": ["BertForSequenceClassification" if bert else "DistilBertForSequenceClassification"],
        "model_type": shape.family,
        **{theirs: values[ours] for ours, theirs in keys.items()},
        "vocab_size": shape.vocab_size,
        "max_position_embeddings": shape.places,
        "pad_token_id": run.tokenizer.token_to_id(SPECIAL["pad_token"]),
        **rest,
        "problem_type": "single_label_classification",
        "id2label": dict(enumerate(run.labels)),
        "label2id": {label: i for i, label in enumerate(run.labels)},
    }
