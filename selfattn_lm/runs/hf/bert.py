"""BERT checkpoints in Hugging Face's format, read as runs to start from, and written."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from tokenizers import Tokenizer
from torch import Tensor

from selfattn_lm.build import build_model
from selfattn_lm.config import (
    BertConfig,
    ModelConfig,
    Pooling,
    Settings,
    TokenizerConfig,
    resolved_from,
)
from selfattn_lm.errors import UserError
from selfattn_lm.nn import Classifier
from selfattn_lm.runs.files import atomic, write_json
from selfattn_lm.runs.hf.added_tokens import SPECIAL
from selfattn_lm.runs.hf.config import CheckpointConfig, config_json, read_checkpoint_config
from selfattn_lm.runs.hf.files import read_json, read_weights
from selfattn_lm.runs.hf.heads import head_json, read_task, scale_head
from selfattn_lm.runs.hf.names import (
    HEAD_WEIGHT,
    OUR_BRANCH_WEIGHTS,
    OUR_HEAD,
    OUR_POOLER,
    OUR_TOKEN_TYPES,
    hf_parameter_names,
    normalize_key,
    pooler_weight,
)
from selfattn_lm.runs.hf.tokenizer import (
    lowercases,
    read_max_length,
    read_tokenizer,
    strips_accents,
    write_tokenizer,
)
from selfattn_lm.runs.run import Run
from selfattn_lm.tasks import Task

_MOST_TOKENS = 512  # of a text, whatever the checkpoint allows


def is_checkpoint(folder: Path) -> bool:
    """Whether the folder holds a model in Hugging Face's format, and is not a run folder."""
    return (folder / "config.json").is_file() and not (folder / "config.yaml").is_file()


def read_bert(folder: Path, pooling: Pooling = "auto") -> Run:
    """Read a checkpoint as a run.

    A run can start from it. It can also predict, if the checkpoint was trained to predict labels or
    a number; otherwise the run has no task, and its `head_problem` says why if the checkpoint has a
    head.

    Args:
        folder: The folder of the checkpoint.
        pooling: How the run pools. By default as the checkpoint was made for: a classifier through
            its pooler, a sentence-transformers folder as it says, another model through its pooler
            if it has one, else by the mean.

    Raises:
        UserError: The architecture is not supported, or a file is missing, broken or does not fit
            the others.
    """
    config = read_checkpoint_config(folder)
    weights = _read_normalized_weights(folder, config.bert)
    sentence_pooling = _sentence_pooling(folder)
    if pooling == "auto":
        pooling = _default_pooling(config, weights, sentence_pooling)
    # Where sentence-transformers pools by the first token, its vector is taken as it is.
    bert = replace(config.bert, pooler=sentence_pooling != "cls")
    task, head_problem = _read_head(config, weights)
    tokenizer = read_tokenizer(folder)
    _require_rows(folder, tokenizer, bert)
    settings = _settings(folder, config, tokenizer, pooling)
    resolved = resolved_from(settings, {}, str(config.file))
    outputs = 1
    if task is not None:
        outputs = task.outputs
    with torch.random.fork_rng(devices=[]):  # the first weights are random
        model = build_model(resolved, tokenizer, outputs, in_training=False, bert=bert)
    _load_weights(folder, model, weights, config, with_head=task is not None)
    model.eval()
    return Run(settings, resolved, task, tokenizer, model, bert, head_problem=head_problem)


def _read_normalized_weights(folder: Path, bert: BertConfig) -> dict[str, Tensor]:
    weights = read_weights(folder)
    return {normalize_key(key, bert.model_type): tensor for key, tensor in weights.items()}


def _default_pooling(
    config: CheckpointConfig, weights: Mapping[str, Tensor], sentence_pooling: Pooling | None
) -> Pooling:
    """The pooling that a checkpoint was made for."""
    if config.is_classifier:
        return "cls"
    if sentence_pooling is not None:
        return sentence_pooling
    if pooler_weight(config.bert.model_type) in weights:
        return "cls"
    return "mean"


def _sentence_pooling(folder: Path) -> Pooling | None:
    """How a sentence-transformers folder pools, if the folder is one and pools in a way of ours."""
    files = sorted(folder.glob("*_Pooling/config.json"))
    if not files:
        return None
    config = read_json(files[0])
    flags: dict[Pooling, str] = {
        "mean": "pooling_mode_mean_tokens",
        "cls": "pooling_mode_cls_token",
        "max": "pooling_mode_max_tokens",
    }
    for pooling, flag in flags.items():
        if config.get(flag) or config.get("pooling_mode") == pooling:
            return pooling
    return None


def _read_head(config: CheckpointConfig, weights: Mapping[str, Tensor]) -> tuple[Task | None, str]:
    """What a classifier predicts, or None and the reason why its head cannot predict."""
    if not config.is_classifier:
        return None, ""
    try:
        return read_task(config, weights.get(HEAD_WEIGHT)), ""
    except UserError as error:  # no obstacle to further training, which gives the model a new head
        return None, str(error)


def _require_rows(folder: Path, tokenizer: Tokenizer, bert: BertConfig) -> None:
    """Refuse a tokenizer with ids for which the embedding has no row."""
    needed = 1 + max(tokenizer.get_vocab().values())
    if needed > bert.vocab_size:
        sizes = f"{needed:,} tokens, but the model {bert.vocab_size:,}"
        raise UserError(f"{folder}: the tokenizer has {sizes}; they do not belong together.")


def _settings(
    folder: Path, config: CheckpointConfig, tokenizer: Tokenizer, pooling: Pooling
) -> Settings:
    model = ModelConfig(
        width=config.width,
        heads=config.heads,
        layers=config.layers,
        pooling=pooling,
        max_length=min(config.bert.max_positions, read_max_length(folder), _MOST_TOKENS),
        max_ngram=1,
        ngram_buckets=1,
        bag_branch=False,
        ngram_branch=False,
        char_ngrams=False,
        token_dropout=0.0,
        dropout=config.dropout,
        embedding_dropout=config.dropout,
    )
    wordpiece = TokenizerConfig(
        type="wordpiece",
        vocab_size=tokenizer.get_vocab_size(),
        min_frequency=1,
        lowercase=lowercases(tokenizer),
        strip_accents=strips_accents(tokenizer),
    )
    return replace(Settings(), model=model, tokenizer=wordpiece)


def _load_weights(
    folder: Path,
    model: Classifier,
    weights: Mapping[str, Tensor],
    config: CheckpointConfig,
    *,
    with_head: bool,
) -> None:
    """Load a checkpoint's weights into a model.

    What the checkpoint need not have stays as it was: the branch weights, token types that the
    architecture lacks, a pooler that the checkpoint lacks, and the head unless `with_head`.
    """
    bert = config.bert
    has_pooler = OUR_POOLER[0] in model.state_dict()
    with_pooler = has_pooler and pooler_weight(bert.model_type) in weights
    names = hf_parameter_names(bert, config.layers, pooler=with_pooler, classifier=with_head)
    converted = convert_state_dict(folder, weights, names, expected=model.state_dict())
    optional = {OUR_BRANCH_WEIGHTS}
    if bert.type_vocab_size == 0:
        optional.add(OUR_TOKEN_TYPES)
    if has_pooler and not with_pooler:
        optional.update(OUR_POOLER)
    if not with_head:
        optional.update(OUR_HEAD)
    missing, unexpected = model.load_state_dict(converted, strict=False)
    assert not unexpected, f"not in the model: {', '.join(unexpected)}"
    assert set(missing) == optional, f"not in the checkpoint: {', '.join(missing)}"


def convert_state_dict(
    folder: Path,
    weights: Mapping[str, Tensor],
    names: Mapping[str, tuple[str, ...]],
    expected: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Convert a checkpoint's tensors to ours, in fp32.

    Args:
        folder: The folder of the checkpoint, for messages.
        weights: Its tensors.
        names: By our name, the names of the tensors that are stacked in ours.
        expected: Our tensors, of the shapes that `config.json` asks for.

    Raises:
        UserError: A tensor is missing or has another shape.
    """
    converted: dict[str, Tensor] = {}
    for ours, theirs in names.items():
        parts = []
        for name in theirs:
            if name not in weights:
                lack = f"the weights lack {name}, which its config.json asks for"
                raise UserError(f"{folder}: {lack}.")
            parts.append(weights[name].float())
        tensor = torch.cat(parts)
        wanted = expected[ours].shape
        if tensor.shape != wanted:
            shapes = f"{tuple(tensor.shape)} where config.json asks for {tuple(wanted)}"
            raise UserError(f"{folder}: {' + '.join(theirs)} is {shapes}.")
        converted[ours] = tensor
    return converted


def write_bert(run: Run, folder: Path) -> None:
    """Write a folder that `transformers.AutoModelForSequenceClassification` loads.

    Raises:
        UserError: The run is not a BERT with a pooler and a task.
    """
    bert, task = _require_exportable(run)
    model = run.resolved.model
    padding_id = run.tokenizer.token_to_id(SPECIAL["pad_token"])
    write_json(folder / "config.json", config_json(model, bert, head_json(task), padding_id))
    has_token_types = bert.model_type == "bert"
    write_tokenizer(run.tokenizer, model.max_length, folder, has_token_types=has_token_types)
    weights: dict[str, Tensor] = {}
    tensors = run.model.state_dict()
    weight, bias = OUR_HEAD
    factor = tensors[OUR_BRANCH_WEIGHTS]  # of the only branch: an inverse temperature
    tensors[weight], tensors[bias] = scale_head(
        task, factor * tensors[weight], factor * tensors[bias]
    )
    names = hf_parameter_names(bert, model.layers, pooler=True, classifier=True)
    for ours, theirs in names.items():
        parts = tensors[ours].float().chunk(len(theirs))
        for name, part in zip(theirs, parts, strict=True):
            weights[name] = part.contiguous()
    metadata = {"format": "pt"}
    with atomic(folder / "model.safetensors") as temporary:
        temporary.write_bytes(safetensors.torch.save(weights, metadata))


def _require_exportable(run: Run) -> tuple[BertConfig, Task]:
    """The architecture and the task of a run that BERT's classifiers can take over.

    Refuses another run.
    """
    bert, task = run.bert, run.task
    if bert is None:
        reason = "this run uses the encoder of selfattn_lm, which is not a BERT"
        advice = "only runs that started with --init BERT can be exported as one"
        raise UserError(f"export: {reason}; {advice}.")
    if task is None:
        reason = "this run is not a classifier"
        raise UserError(f"export: {reason}; `selfattn train` makes a classifier of it.")
    if OUR_POOLER[0] not in run.model.state_dict():
        pooling = f"pools by {run.resolved.model.pooling}"
        advice = "train it with --model.pooling cls"
        if not bert.pooler:
            pooling = "pools without a pooler"
            advice = "start from a checkpoint with a pooler"
        reason = f"this run {pooling}, which BertForSequenceClassification cannot"
        raise UserError(f"export: {reason}; {advice}.")
    return bert, task
