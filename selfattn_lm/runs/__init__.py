"""The run folder: the product of training, and all that prediction needs. Plain and safe values alone."""

from selfattn_lm.runs.files import atomic, write_json, write_text
from selfattn_lm.runs.folder import Run, model_card, new_model, read_config, read_run, write_head, write_run

__all__ = ["Run", "atomic", "model_card", "new_model", "read_config", "read_run", "write_head", "write_run"]
__all__ += ["write_json", "write_text"]
