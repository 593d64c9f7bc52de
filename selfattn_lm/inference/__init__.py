"""A trained model at work: texts in; labels, probabilities or masked tokens out."""

from selfattn_lm.inference.classifier import TextClassifier
from selfattn_lm.inference.files import PredictionSummary
from selfattn_lm.inference.masked_lm import MaskedModel

__all__ = ["MaskedModel", "PredictionSummary", "TextClassifier"]
