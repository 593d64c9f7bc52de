"""The model in pure torch, usable alone: `Inputs` of (B, T) tokens in, logits (B, L) out."""

from selfattn_lm.nn.attention import (
    SelfAttention as SelfAttention,
    attention_weights as attention_weights,
)
from selfattn_lm.nn.baselines import Bag as Bag, Cnn as Cnn, Lstm as Lstm
from selfattn_lm.nn.bert import BertEmbedding as BertEmbedding, Pooler as Pooler
from selfattn_lm.nn.classifier import Branch as Branch, Classifier as Classifier
from selfattn_lm.nn.embedding import (
    CharNgramEmbedding as CharNgramEmbedding,
    NgramEmbedding as NgramEmbedding,
    TokenEmbedding as TokenEmbedding,
)
from selfattn_lm.nn.encoder import Encoder as Encoder
from selfattn_lm.nn.ngrams import NgramClassifier as NgramClassifier
from selfattn_lm.nn.positions import Learned as Learned, Rotary as Rotary, Sinusoidal as Sinusoidal
