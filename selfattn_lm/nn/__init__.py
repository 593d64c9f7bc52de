"""The model: pure torch, usable alone. Token ids and a mask in, logits out; no files, no trainer.

B batch, T tokens, C width, H heads, D = C / H, L labels; `keep`: bool (B, T), True = a real token.
"""

from selfattn_lm.nn.attention import SelfAttention, attention_weights
from selfattn_lm.nn.bag import Bag
from selfattn_lm.nn.classifier import Classifier, build_classifier
from selfattn_lm.nn.cnn import Cnn
from selfattn_lm.nn.embedding import TokenEmbedding
from selfattn_lm.nn.encoder import Encoder, EncoderLayer
from selfattn_lm.nn.lstm import Lstm
from selfattn_lm.nn.pooling import POOLINGS
from selfattn_lm.nn.positions import Learned, Rotary, Sinusoidal

__all__ = [
    "POOLINGS",
    "Bag",
    "Classifier",
    "Cnn",
    "Encoder",
    "EncoderLayer",
    "Learned",
    "Lstm",
    "Rotary",
    "SelfAttention",
    "Sinusoidal",
    "TokenEmbedding",
    "attention_weights",
    "build_classifier",
]
