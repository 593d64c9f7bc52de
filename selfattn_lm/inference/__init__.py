"""A trained classifier at work: texts in, probabilities out."""

from selfattn_lm.inference.classifier import TextClassifier
from selfattn_lm.inference.files import Predicted

__all__ = ["Predicted", "TextClassifier"]
