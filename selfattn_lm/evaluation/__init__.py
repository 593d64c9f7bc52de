"""How good a classifier is, and how sure one can be of that."""

from selfattn_lm.evaluation.evaluate import Evaluation, evaluate, evaluate_split
from selfattn_lm.evaluation.metrics import Scores, score

__all__ = ["Evaluation", "Scores", "evaluate", "evaluate_split", "score"]
