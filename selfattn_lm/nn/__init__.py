"""The model in pure torch: token ids and attention mask (B, T) in, logits (B, L) out. Usable alone."""

from selfattn_lm.nn.attention import SelfAttention as SelfAttention, attention_weights as attention_weights
from selfattn_lm.nn.baselines import Bag as Bag, Cnn as Cnn, Lstm as Lstm
from selfattn_lm.nn.bert import ACTIVATIONS as ACTIVATIONS, build_bert as build_bert
from selfattn_lm.nn.classifier import Branch as Branch, Classifier as Classifier, build_classifier as build_classifier
from selfattn_lm.nn.embedding import (
    CharNgramEmbedding as CharNgramEmbedding,
    NgramEmbedding as NgramEmbedding,
    TokenEmbedding as TokenEmbedding,
    mask_tokens as mask_tokens,
)
from selfattn_lm.nn.encoder import Encoder as Encoder
from selfattn_lm.nn.positions import Learned as Learned, Rotary as Rotary, Sinusoidal as Sinusoidal
