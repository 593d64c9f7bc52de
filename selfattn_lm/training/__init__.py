"""Lightning, here alone and in plain sight: a run folder from labelled texts, or from texts alone."""

from selfattn_lm.training.pretraining import Pretraining, PretrainResult
from selfattn_lm.training.session import Session, TrainResult

__all__ = ["PretrainResult", "Pretraining", "Session", "TrainResult"]
