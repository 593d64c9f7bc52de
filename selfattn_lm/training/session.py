"""One training run, from splits to a scored run folder."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from selfattn_lm.config import Settings, flatten, with_changes
from selfattn_lm.errors import UserError
from selfattn_lm.evaluation.evaluate import Evaluation, evaluate_split
from selfattn_lm.inference import TextClassifier
from selfattn_lm.nn import Classifier, build_classifier
from selfattn_lm.runs import Run, read_run, write_run, write_text
from selfattn_lm.runs.card import model_card
from selfattn_lm.runs.folder import write_head
from selfattn_lm.text.splits import Split
from selfattn_lm.text.tokenization import load_tokenizer
from selfattn_lm.training import rules
from selfattn_lm.training.data import Prepared, prepare, train_loader
from selfattn_lm.training.summary import opening_lines
from selfattn_lm.training.trainer import Training

log = logging.getLogger(__name__)
_SHAPE = ("kind", "width", "heads", "layers", "positions", "pooling", "max_tokens")


@dataclass(frozen=True)
class TrainResult:
    """What a run came to.

    Attributes:
        folder: The run folder.
        classifier: The trained classifier, as loaded from there.
        evaluations: Scores of the validation split and, if there is one, the test split.
        stopped: Why training ended before its last epoch; empty if it did not.
    """

    folder: Path
    classifier: TextClassifier
    evaluations: dict[str, Evaluation]
    stopped: str


class Session:
    """Trains once and writes `folder`.

    Args:
        settings: All settings.
        asked: Those that were asked for, nested; what `init` brings may not contradict them.
        folder: The run folder.
        init: A run folder to start from.
        resume: Go on with the interrupted run in `folder`.
        overwrite: Replace `folder` if it exists, once the data is read and found good.
    """

    def __init__(
        self,
        settings: Settings,
        asked: Mapping[str, Any],
        folder: Path,
        *,
        init: str | Path | None = None,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.folder, self.resume = folder, resume
        first = rank_zero_only.rank in (0, None)
        if first and not (resume or overwrite) and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder}: exists; --overwrite replaces it, --out names another folder.")
        self.initial = read_run(Path(init)) if init is not None else None
        self.settings = settings if self.initial is None else _start_from(self.initial, settings, asked, Path(init or ""))

    def run(self, splits: dict[str, Split]) -> TrainResult:
        """Train on the splits and score the result."""
        tokenizer = self.initial.tokenizer if self.initial else None
        if self.resume:
            tokenizer = load_tokenizer((self.folder / "tokenizer.json").read_text(encoding="utf-8"))
        prepared = prepare(splits, self.settings, tokenizer)
        with torch.random.fork_rng():
            torch.manual_seed(self.settings.seed)
            model, resolved = self._build(prepared)
            settings = with_changes(self.settings, resolved)
            for line in opening_lines(prepared, settings, self.settings, model):
                log.info("%s", line)
            training = Training(settings, self.folder, prepared, model)
            if training.first:
                self._begin(prepared, resolved)
            stopped = training.run(resume=self.resume)
        run = Run(self.settings, resolved, prepared.labels, prepared.tokenizer, model.eval())
        return self._finish(prepared, run, stopped, training)

    def _build(self, prepared: Prepared) -> tuple[Classifier, dict[str, Any]]:
        """The model with its first weights, and all that `auto` became."""
        settings = with_changes(self.settings, prepared.resolved)
        steps = -(-len(train_loader(prepared.train, settings)) // settings.training.accumulate)
        resolved = dict(prepared.resolved)
        if changes := rules.training_changes(settings, len(prepared.train), steps):
            resolved["training"] = changes
        model = build_classifier(settings.model, prepared.tokenizer.get_vocab_size(), len(prepared.labels))
        if self.initial is not None:
            self._take_weights(model, self.initial, prepared.labels)
        return model, resolved

    def _take_weights(self, model: Classifier, initial: Run, labels: list[str]) -> None:
        """Start from the weights of another run; its head only if the labels are the same."""
        weights = initial.model.state_dict()
        if labels != initial.labels:
            weights = {name: value for name, value in weights.items() if not name.startswith("head.")}
            log.warning("the labels differ from those of the run to start from, so the head is new")
        model.load_state_dict(weights, strict=False)

    def _begin(self, prepared: Prepared, resolved: Mapping[str, Any]) -> None:
        """Write what a resumed run needs; replace an older run only now that the data is known to be good."""
        if not self.resume:
            if self.folder.exists():
                shutil.rmtree(self.folder)
            write_head(self.folder, self.settings, resolved, prepared.labels, prepared.tokenizer)
            write_text(self.folder / "data.json", _json(_data_facts(prepared)))
        elif (self.folder / "data.json").read_text(encoding="utf-8") != _json(_data_facts(prepared)):
            raise UserError(f"{self.folder}: the data is not what the run began with (see data.json); train anew.")

    def _finish(self, prepared: Prepared, run: Run, stopped: str, training: Training) -> TrainResult:
        """Write the run folder and score what was written."""
        if not training.first:  # another process of the same run writes it
            return TrainResult(self.folder, TextClassifier(run), {}, stopped)
        write_run(self.folder, run)
        classifier = TextClassifier.load(self.folder)
        evaluations = {
            name: evaluate_split(classifier, prepared.splits[name])
            for name in ("validation", "test")
            if name in prepared.splits
        }
        facts = {name: evaluation.to_plain() for name, evaluation in evaluations.items()}
        facts["training"] = {**training.facts(), "stopped": stopped}
        write_text(self.folder / "metrics.json", _json(facts))
        write_text(self.folder / "README.md", model_card(self.folder.name, run, _data_facts(prepared), facts))
        if not training.interrupted:
            shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        return TrainResult(self.folder, classifier, evaluations, stopped)


def _start_from(initial: Run, settings: Settings, asked: Mapping[str, Any], folder: Path) -> Settings:
    """The settings with the shape and tokenizer of another run.

    Raises:
        UserError: If a shape is asked for that the other run does not have.
    """
    theirs = initial.in_effect
    mine = flatten(asked)
    brought = {f"model.{name}": getattr(theirs.model, name) for name in _SHAPE}
    brought |= {f"tokenizer.{name}": value for name, value in vars(theirs.tokenizer).items()}
    for name, value in brought.items():
        if name in mine and mine[name] not in (value, "auto"):
            raise UserError(f"{name}: {mine[name]!r} is asked, but {folder}, the run to start from, has {value!r}.")
    shape = {name: getattr(theirs.model, name) for name in _SHAPE}
    return replace(settings, tokenizer=theirs.tokenizer, model=replace(settings.model, **shape))


def _data_facts(prepared: Prepared) -> dict[str, Any]:
    """What `data.json` holds."""
    facts = {name: split.describe() for name, split in prepared.splits.items()}
    facts["train"] |= prepared.train.tokens.truncation()
    facts["validation"] |= prepared.validation.tokens.truncation()
    return facts


def _json(values: Any) -> str:
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"
