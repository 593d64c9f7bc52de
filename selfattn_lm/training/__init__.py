"""Lightning, and nowhere else: a run folder from labelled texts, or from texts alone."""

from selfattn_lm.training.classify import TrainResult, train_classifier
from selfattn_lm.training.opening import OpenRun, open_run, reopen_run
from selfattn_lm.training.pretrain import PretrainResult, pretrain_model

__all__ = [
    "OpenRun",
    "PretrainResult",
    "TrainResult",
    "open_run",
    "pretrain_model",
    "reopen_run",
    "train_classifier",
]
