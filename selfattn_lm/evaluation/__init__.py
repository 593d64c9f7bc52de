"""How good a classifier is, and how certain that is."""

from selfattn_lm.evaluation.evaluate import evaluate_split, write_metrics
from selfattn_lm.evaluation.report import VIEWS, Evaluation

__all__ = ["VIEWS", "Evaluation", "evaluate_split", "write_metrics"]
