"""Lightning, here alone and in plain sight: a run folder from labelled texts, or from texts alone."""

from selfattn_lm.training.classify import Session, TrainResult
from selfattn_lm.training.pretrain import Pretraining, PretrainResult

__all__ = ["PretrainResult", "Pretraining", "Session", "TrainResult"]
