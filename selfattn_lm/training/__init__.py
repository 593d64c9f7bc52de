"""Lightning, here alone and in plain sight: a run folder from labelled texts."""

from selfattn_lm.training.session import Session, TrainResult

__all__ = ["Session", "TrainResult"]
