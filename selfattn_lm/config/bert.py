"""The architecture of a BERT, which a run that starts from one keeps."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BertConfig:
    """The architecture of a BERT checkpoint, beyond width, heads and layers.

    A run keeps it in `bert.json`.

    Attributes:
        model_type: bert, or distilbert (Sanh et al. 2019, 1910.01108), which has no token types
            and pools with ReLU.
        vocab_size: The number of tokens that have an embedding.
        max_positions: The maximum length of a text, in tokens.
        type_vocab_size: The number of token types; 0 for DistilBERT.
        intermediate_size: The width of the feed-forward network.
        activation: The activation of the feed-forward network, a name in `nn.ACTIVATIONS`.
        norm_eps: The epsilon of the layer norms.
        pooler: Whether the first token's vector passes through a layer before it represents the
            text.
    """

    model_type: str
    vocab_size: int
    max_positions: int
    type_vocab_size: int
    intermediate_size: int
    activation: str
    norm_eps: float
    pooler: bool = True
