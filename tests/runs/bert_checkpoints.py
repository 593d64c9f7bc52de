"""Tiny random checkpoints, as `transformers` writes them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from selfattn_lm.inputs import Inputs
from selfattn_lm.nn import Classifier

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
transformers = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()

WORDS = (
    "apple pear plum iron copper zinc river lake sea the a of and with ##s ##er caf ##e 北 京 é "
    "! ? , ' [ ] mask Iron"
)

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]

SIZES: dict[str, dict[str, Any]] = {
    "bert": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 40,
        "layer_norm_eps": 1e-7,
    },
    "distilbert": {
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 48,
        "max_position_embeddings": 40,
    },
}

CLASSES = [
    "BertModel",
    "BertForMaskedLM",
    "BertForSequenceClassification",
    "DistilBertModel",
    "DistilBertForMaskedLM",
    "DistilBertForSequenceClassification",
]

TEXTS = [
    "the apple and the pears of copper",
    "Café Iron 北京 !",
    "emoji 🙂 and \t\n controls \x00\x07 \u200b end",
    "ÀÉÎ õü ñ",
    "",
    "iron, zinc? river!",
    "[MASK",
    "sea " * 30,
]


def checkpoint(
    folder: Path, name: str = "BertModel", labels: int = 3, cased: bool = False, **options: Any
) -> Any:
    """Write a tiny random model and its vocabulary; return the model.

    Args:
        folder: The folder of the checkpoint.
        name: The class of the model, in `transformers`.
        labels: How many labels it has, if it is a classifier.
        cased: Whether the tokenizer keeps capitals.
        options: Other values of its `config.json`.
    """
    model_type = "distilbert" if is_distilbert(name) else "bert"
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        model_type, vocab_size=len(VOCABULARY), num_labels=labels, **SIZES[model_type], **options
    )
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        # Norms and biases are ones and zeros at first, which would hide mistakes.
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": not cased}))
    return model


def is_distilbert(name: str) -> bool:
    """Whether a class of models is one of DistilBERT's."""
    return name.startswith("DistilBert")


def no_dropout(name: str) -> dict[str, Any]:
    """The values of a checkpoint's configuration with which it has no dropout."""
    if is_distilbert(name):
        return {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}
    return {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def change_config(folder: Path, **changes: Any) -> None:
    """Change values of a checkpoint's `config.json`; None removes one."""
    file = folder / "config.json"
    config = json.loads(file.read_text())
    for key, value in changes.items():
        config.pop(key, None)
        if value is not None:
            config[key] = value
    file.write_text(json.dumps(config))


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Ids, attention mask and token types of three texts, (3, 9) each."""
    torch.manual_seed(1)
    lengths = torch.tensor([9, 4, 1])
    attention_mask = torch.arange(9) < lengths[:, None]
    ids = torch.randint(5, len(VOCABULARY), (3, 9))
    types = torch.randint(0, 2, (3, 9))
    return ids, attention_mask, types


def hidden_states(
    model: Classifier, ids: Tensor, attention_mask: Tensor, types: Tensor | None = None
) -> Tensor:
    """The encoder's output, before the pooling: (B, T) -> (B, T, C)."""
    embedded = model.embedding(Inputs(ids, attention_mask, types))
    found: Tensor = model.branches["encoder"].encoder(embedded, attention_mask)
    return found
