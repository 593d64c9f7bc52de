"""The model: pure torch, usable alone. Token ids and a mask in, logits out; no files, no trainer.

B batch, T tokens, C width, H heads, D = C / H, L labels; `keep`: bool (B, T), True = a real token.
"""

from selfattn_lm.nn.attention import SelfAttention as SelfAttention, attention_weights as attention_weights
from selfattn_lm.nn.baselines import Bag as Bag, Cnn as Cnn, Lstm as Lstm
from selfattn_lm.nn.classifier import Classifier as Classifier, build_classifier as build_classifier
from selfattn_lm.nn.encoder import Encoder as Encoder, EncoderLayer as EncoderLayer, TokenEmbedding as TokenEmbedding
from selfattn_lm.nn.pooling import POOLINGS as POOLINGS
from selfattn_lm.nn.positions import Learned as Learned, Rotary as Rotary, Sinusoidal as Sinusoidal
