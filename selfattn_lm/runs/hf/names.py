"""What Hugging Face's format calls the settings and the weights of a BERT."""

from typing import NamedTuple

from selfattn_lm.config import BertConfig

# Its activations, and what we call them.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
}

# The name that is written for each of our activations.
ACTIVATION_NAMES = {
    "gelu": "gelu_python",
    "gelu_tanh": "gelu_accurate",
    "relu": "relu",
    "silu": "swish",
}

# The classes of a model, by its `model_type`: a prefix, and what the class is made for.
CLASS_PREFIXES = {"bert": "Bert", "distilbert": "DistilBert"}
CLASS_SUFFIXES = (
    "Model",
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForPreTraining",
    "ForNextSentencePrediction",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "LMHeadModel",
)


class ConfigKeys(NamedTuple):
    """The keys of `config.json` that depend on the type of the model."""

    width: str
    heads: str
    layers: str
    intermediate_size: str
    activation: str
    dropout: str
    classifier_dropout: str


CONFIG_KEYS = {
    "bert": ConfigKeys(
        width="hidden_size",
        heads="num_attention_heads",
        layers="num_hidden_layers",
        intermediate_size="intermediate_size",
        activation="hidden_act",
        dropout="hidden_dropout_prob",
        classifier_dropout="classifier_dropout",
    ),
    "distilbert": ConfigKeys(
        width="dim",
        heads="n_heads",
        layers="n_layers",
        intermediate_size="hidden_dim",
        activation="activation",
        dropout="dropout",
        classifier_dropout="seq_classif_dropout",
    ),
}

# Our parameter names, and Hugging Face's. Several of theirs, stacked, are one of ours.
_EMBEDDING = {
    "embedding.tokens.weight": "embeddings.word_embeddings.weight",
    "embedding.positions.table": "embeddings.position_embeddings.weight",
    "embedding.types": "embeddings.token_type_embeddings.weight",
    "embedding.norm.weight": "embeddings.LayerNorm.weight",
    "embedding.norm.bias": "embeddings.LayerNorm.bias",
}
_LAYERS = {"bert": "encoder.layer", "distilbert": "transformer.layer"}
_LAYER = {
    "bert": {
        "attention.qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
        "attention.out": ("attention.output.dense",),
        "norm1": ("attention.output.LayerNorm",),
        "feed_forward.0": ("intermediate.dense",),
        "feed_forward.2": ("output.dense",),
        "norm2": ("output.LayerNorm",),
    },
    "distilbert": {
        "attention.qkv": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        "attention.out": ("attention.out_lin",),
        "norm1": ("sa_layer_norm",),
        "feed_forward.0": ("ffn.lin1",),
        "feed_forward.2": ("ffn.lin2",),
        "norm2": ("output_layer_norm",),
    },
}
_POOLER = {"bert": "bert.pooler.dense", "distilbert": "pre_classifier"}
HEAD_WEIGHT = "classifier.weight"

OUR_TOKEN_TYPES = "embedding.types"
OUR_POOLER = ("branches.encoder.pool.dense.weight", "branches.encoder.pool.dense.bias")
OUR_HEAD = ("branches.encoder.head.1.weight", "branches.encoder.head.1.bias")
OUR_BRANCH_WEIGHTS = "branch_weights"


def pooler_weight(model_type: str) -> str:
    """The name of the weight of the pooler, which not every checkpoint has."""
    return f"{_POOLER[model_type]}.weight"


def hf_parameter_names(
    bert: BertConfig, layers: int, *, pooler: bool, classifier: bool
) -> dict[str, tuple[str, ...]]:
    """Name the tensors of a checkpoint that make up each of our parameters.

    Args:
        bert: The architecture of the model.
        layers: How many encoder layers it has.
        pooler: Whether to name the pooler's tensors.
        classifier: Whether to name the classification head's tensors.

    Returns:
        By our name, Hugging Face's names of the tensors that are stacked in ours.
    """
    model_type = bert.model_type
    names: dict[str, tuple[str, ...]] = {}
    for ours, theirs in _EMBEDDING.items():
        if ours != OUR_TOKEN_TYPES or bert.type_vocab_size > 0:
            names[ours] = (f"{model_type}.{theirs}",)
    for i in range(layers):
        our_layer = f"branches.encoder.encoder.layers.{i}"
        their_layer = f"{model_type}.{_LAYERS[model_type]}.{i}"
        for our_module, their_modules in _LAYER[model_type].items():
            for kind in ("weight", "bias"):
                parts = [f"{their_layer}.{module}.{kind}" for module in their_modules]
                names[f"{our_layer}.{our_module}.{kind}"] = tuple(parts)
    if pooler:
        names.update(_linear_names(OUR_POOLER, _POOLER[model_type]))
    if classifier:
        names.update(_linear_names(OUR_HEAD, "classifier"))
    return names


def _linear_names(ours: tuple[str, str], theirs: str) -> dict[str, tuple[str, ...]]:
    weight, bias = ours
    return {weight: (f"{theirs}.weight",), bias: (f"{theirs}.bias",)}


def normalize_key(key: str, model_type: str) -> str:
    """Rename a tensor of an older checkpoint as today's are named.

    Layer norms once had a gamma and a beta, and a model saved without a head has no prefix.
    """
    key = key.replace("LayerNorm.gamma", "LayerNorm.weight")
    key = key.replace("LayerNorm.beta", "LayerNorm.bias")
    if key.startswith(("embeddings.", "encoder.", "transformer.", "pooler.")):
        return f"{model_type}.{key}"
    return key
