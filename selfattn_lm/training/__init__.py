"""Lightning, here alone and in plain sight: a run folder from labelled texts."""

from selfattn_lm.training.fit import TrainResult, fit, train

__all__ = ["TrainResult", "fit", "train"]
