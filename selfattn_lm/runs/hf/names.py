"""What Hugging Face's format calls the parts of a BERT; nobody else needs to know."""

from selfattn_lm.config import BertConfig

ACTIVATIONS = {"gelu": "gelu", "gelu_python": "gelu", "relu": "relu", "silu": "silu", "swish": "silu"}
ACTIVATIONS |= dict.fromkeys(("gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_accurate"), "gelu_tanh")
TASKS = (
    "Model", "ForMaskedLM", "ForSequenceClassification", "ForPreTraining", "ForNextSentencePrediction",
    "ForTokenClassification", "ForQuestionAnswering", "LMHeadModel",
)  # fmt: skip
# What our settings are called in `config.json`.
KEYS = {
    "bert": {
        "width": "hidden_size", "heads": "num_attention_heads", "layers": "num_hidden_layers",
        "inner": "intermediate_size", "activation": "hidden_act", "dropout": "hidden_dropout_prob",
    },
    "distilbert": {
        "width": "dim", "heads": "n_heads", "layers": "n_layers",
        "inner": "hidden_dim", "activation": "activation", "dropout": "dropout",
    },
}  # fmt: skip
# What our modules are called in the weights: each of a layer, and the rest.
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
_STACK = {"bert": "encoder.layer", "distilbert": "transformer.layer"}
POOLER = {"bert": "bert.pooler.dense", "distilbert": "pre_classifier"}
_EMBEDDING = {
    "embedding.tokens.weight": "embeddings.word_embeddings.weight",
    "embedding.positions.table": "embeddings.position_embeddings.weight",
    "embedding.types": "embeddings.token_type_embeddings.weight",
    "embedding.norm.weight": "embeddings.LayerNorm.weight",
    "embedding.norm.bias": "embeddings.LayerNorm.bias",
}


def foreign_names(shape: BertConfig, layers: int, *, pooler: bool, classifier: bool) -> dict[str, tuple[str, ...]]:
    """For each of our tensors those of the format, which put below each other are ours."""
    family, names = shape.model_type, dict[str, tuple[str, ...]]()
    for ours, theirs in _EMBEDDING.items():
        if shape.type_vocab_size or ours != "embedding.types":
            names[ours] = (f"{family}.{theirs}",)
    for i in range(layers):
        for module, parts in _LAYER[family].items():
            for kind in ("weight", "bias"):
                ours = f"branches.encoder.encoder.layers.{i}.{module}.{kind}"
                names[ours] = tuple(f"{family}.{_STACK[family]}.{i}.{part}.{kind}" for part in parts)
    if pooler:
        names |= {f"branches.encoder.pool.dense.{kind}": (f"{POOLER[family]}.{kind}",) for kind in ("weight", "bias")}
    if classifier:
        names |= {f"branches.encoder.head.1.{kind}": (f"classifier.{kind}",) for kind in ("weight", "bias")}
    return names


def modern(name: str, family: str) -> str:
    """A tensor's name as it is written today: with the family before it, and norms with weight and bias."""
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    return f"{family}.{name}" if name.startswith(("embeddings.", "encoder.", "transformer.", "pooler.")) else name
