"""A small self-attention text classifier that its user owns; each command is a function here."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from selfattn_lm.errors import Interrupted, UserError

if TYPE_CHECKING:
    from selfattn_lm.api import evaluate, export, fit, predict, pretrain, study, train
    from selfattn_lm.inference import MaskedModel, TextClassifier

__version__ = "0.1.0"
__all__ = [
    "Interrupted",
    "MaskedModel",
    "TextClassifier",
    "UserError",
    "evaluate",
    "export",
    "fit",
    "predict",
    "pretrain",
    "study",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import selfattn_lm` alone loads no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "api"
    if name in ("MaskedModel", "TextClassifier"):
        module = "inference"
    return getattr(import_module(f"{__name__}.{module}"), name)
