"""How good a classifier is, and how sure one can be of that."""

from selfattn_lm.evaluation.evaluate import Evaluation, evaluate_split, write_metrics
from selfattn_lm.evaluation.metrics import Scores, score

__all__ = ["Evaluation", "Scores", "evaluate_split", "score", "write_metrics"]
