"""How good a classifier is, and how sure one can be of that."""

from selfattn_lm.evaluation.metrics import evaluate_split, score, write_metrics
from selfattn_lm.evaluation.report import Evaluation

__all__ = ["Evaluation", "evaluate_split", "score", "write_metrics"]
