"""A run in memory."""

from dataclasses import dataclass

from tokenizers import Tokenizer

from selfattn_lm.config import BertConfig, PredictionSettings, Settings
from selfattn_lm.features.vectors import Featurizer, Standardization
from selfattn_lm.nn import Classifier
from selfattn_lm.runs.origin import Origin
from selfattn_lm.tasks import Task


@dataclass(frozen=True)
class Run:
    """A trained run, or a BERT checkpoint read as one.

    Attributes:
        settings: The settings that were given, over the defaults.
        resolved: The settings after `auto` was decided.
        task: What the model predicts; None if it was pretrained without labels.
        featurizer: The tokenizer; or the standardisation, for a run on sequences of vectors.
        model: The model, in evaluation mode.
        bert: The architecture, if the model is a BERT.
        origin: What the run started from, if it did not start from scratch.
        head_problem: Why the head of a checkpoint cannot predict, in a sentence; the run has no
            task then.
    """

    settings: Settings
    resolved: PredictionSettings
    task: Task | None
    featurizer: Featurizer
    model: Classifier
    bert: BertConfig | None = None
    origin: Origin | None = None
    head_problem: str = ""

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of a run on texts."""
        assert isinstance(self.featurizer, Tokenizer), "a run on vectors has no tokenizer"
        return self.featurizer

    @property
    def has_vectors(self) -> bool:
        """Whether the run reads sequences of vectors, and not texts."""
        return isinstance(self.featurizer, Standardization)

    @property
    def labels(self) -> list[str]:
        """The names of the labels, in the order of the head's rows; none for a number."""
        if self.task is None:
            return []
        return self.task.names
