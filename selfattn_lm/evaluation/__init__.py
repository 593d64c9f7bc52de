"""How good a classifier is, and how sure one can be of that."""

from selfattn_lm.evaluation.metrics import Evaluation, evaluate_split, score, write_metrics
from selfattn_lm.evaluation.report import Scores

__all__ = ["Evaluation", "Scores", "evaluate_split", "score", "write_metrics"]
