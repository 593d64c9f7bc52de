"""The run folder: the product of training, and all that prediction needs.

It holds plain and safe values alone.
"""

from selfattn_lm.runs.files import atomic, write_json, write_text
from selfattn_lm.runs.hf.bert import is_checkpoint, read_bert, write_bert
from selfattn_lm.runs.hf.files import locate
from selfattn_lm.runs.layout import CHECKPOINTS, LAST
from selfattn_lm.runs.lifecycle import RunFolder
from selfattn_lm.runs.model_card import model_card
from selfattn_lm.runs.origin import Origin, find_origin, find_recorded
from selfattn_lm.runs.reading import (
    read_bert_config,
    read_featurizer,
    read_origin,
    read_run,
    require_finished,
)
from selfattn_lm.runs.run import Run
from selfattn_lm.runs.writing import rewrite_config, write_metadata, write_run

__all__ = [
    "CHECKPOINTS",
    "LAST",
    "Origin",
    "Run",
    "RunFolder",
    "atomic",
    "find_origin",
    "find_recorded",
    "is_checkpoint",
    "locate",
    "model_card",
    "read_bert",
    "read_bert_config",
    "read_featurizer",
    "read_origin",
    "read_run",
    "require_finished",
    "rewrite_config",
    "write_bert",
    "write_json",
    "write_metadata",
    "write_run",
    "write_text",
]
