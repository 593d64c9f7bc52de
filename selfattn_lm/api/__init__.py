"""What the package does, as functions; each command calls the function of the same name.

Importing them loads no torch: each function imports what it needs.
"""

from selfattn_lm.api.prediction import evaluate, export, predict
from selfattn_lm.api.training import fit, pretrain, study, train

__all__ = ["evaluate", "export", "fit", "predict", "pretrain", "study", "train"]
