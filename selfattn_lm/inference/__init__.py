"""A trained classifier at work: texts in, probabilities out."""

from selfattn_lm.inference.classifier import TextClassifier

__all__ = ["TextClassifier"]
