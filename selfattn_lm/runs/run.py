"""A run in memory."""

from dataclasses import dataclass

from tokenizers import Tokenizer

from selfattn_lm.config import BertConfig, PredictionSettings, Settings
from selfattn_lm.nn import Classifier
from selfattn_lm.runs.origin import Origin
from selfattn_lm.tasks import SingleLabel


@dataclass(frozen=True)
class Run:
    """A trained run, or a BERT checkpoint read as one.

    Attributes:
        settings: The settings that were given, over the defaults.
        resolved: The settings after `auto` was decided.
        labels: The names of the labels, in the order of the head's rows; none if it was pretrained.
        tokenizer: The tokenizer.
        model: The model, in evaluation mode.
        bert: The architecture, if the model is a BERT.
        origin: What the run started from, if it did not start from scratch.
        integer_labels: Whether the labels were given in Python, all as integers, which predictions
            in Python then are too.
        head_problem: Why the head of a checkpoint cannot predict labels, in a sentence; the run has
            no labels then.
    """

    settings: Settings
    resolved: PredictionSettings
    labels: list[str]
    tokenizer: Tokenizer
    model: Classifier
    bert: BertConfig | None = None
    origin: Origin | None = None
    integer_labels: bool = False
    head_problem: str = ""

    @property
    def task(self) -> SingleLabel:
        """What the model predicts."""
        return SingleLabel(self.labels, self.integer_labels)

    @property
    def labels_as_given(self) -> list[str] | list[int]:
        """The labels, as integers if they were given as integers."""
        return self.task.labels
