"""Training a classifier: from splits to a scored run folder."""

import json
import logging
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from selfattn_lm.build import build_model
from selfattn_lm.config import Resolved
from selfattn_lm.data.examples import Split
from selfattn_lm.errors import UserError
from selfattn_lm.evaluation import VIEWS, Evaluation, evaluate_split, write_metrics
from selfattn_lm.hardware import choose_device
from selfattn_lm.inference import TextClassifier
from selfattn_lm.nn import Classifier, TokenEmbedding
from selfattn_lm.runs import (
    Run,
    model_card,
    rewrite_config,
    write_json,
    write_metadata,
    write_run,
    write_text,
)
from selfattn_lm.tasks import Task
from selfattn_lm.training.data import TrainingData, prepare, train_loader
from selfattn_lm.training.fitting import FitOutcome, fit_module
from selfattn_lm.training.modules import ClassifierModule
from selfattn_lm.training.ngram_branch import solve_branch
from selfattn_lm.training.opening import OpenRun
from selfattn_lm.training.optimizer import freeze
from selfattn_lm.training.resolve import TrainingFacts, resolve_training
from selfattn_lm.training.summary import classifier_lines, result_lines
from selfattn_lm.training.trainer import build_trainer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    Attributes:
        folder: The run folder.
        classifier: The classifier in it.
        evaluations: The scores of its splits; none in the other processes of a run, whose first one
            has them.
        stopped: Why training ended early, or nothing.
        resumable: Whether it was interrupted and can be resumed.
    """

    folder: Path
    classifier: TextClassifier
    evaluations: dict[str, Evaluation]
    stopped: str = ""
    resumable: bool = False

    def __str__(self) -> str:
        if not self.evaluations:
            return ""
        scores = [f"{name:<12}{evaluation}" for name, evaluation in self.evaluations.items()]
        lines = result_lines("train", self.folder, scores, self.stopped, self.resumable)
        folder = shlex.quote(str(self.folder))
        run = self.classifier.run
        texts = '--text "your text"'
        if run.has_vectors:
            texts = "FILE.npy"
        elif run.resolved.has_pairs:
            texts += ' --pair "the other text"'
        lines.append(f"try it      selfattn predict {folder} {texts}")
        return "\n".join(lines)


def train_classifier(run: OpenRun, splits: dict[str, Split]) -> TrainResult:
    """Train a classifier on the splits, and write its run folder."""
    if run.initial is not None:
        _require_same_inputs(run.initial, splits["train"])
    data = prepare(splits, run.settings, run.featurizer())
    settings = data.settings
    with torch.random.fork_rng():
        torch.manual_seed(run.settings.seed)
        model = _build(run, data)
        data = replace(data, ngrams=None)  # those of the training split are not needed any more
        facts = _facts(run, data, model)
        resolved = Resolved(
            seed=run.settings.seed,
            data=settings.data,
            tokenizer=settings.tokenizer,
            model=settings.model,
            training=resolve_training(run.settings.training, facts, data.task.scores),
        )
        module = ClassifierModule(model, resolved, data.task, data.train.targets)
        run_trainer = build_trainer(resolved, run.folder, data.train, data.validation)
        is_first = run_trainer.is_first
        with run.folder.discard_on_error(is_first):
            if is_first:
                lines = classifier_lines(run, data, resolved, model)
                log.info("%s", "\n".join(lines))
                _begin(run, data, resolved)
            outcome = fit_module(
                run_trainer,
                module,
                data.train,
                data.validation,
                resolved,
                run.folder,
                resume=run.checkpoints is not None,
            )
            trained = _trained_run(run, data, resolved, model)
            if not is_first:  # another process of the same run writes it
                classifier = TextClassifier(trained, resolved.training.precision)
                return TrainResult(run.folder.name, classifier, {}, outcome.stopped)
            result = _finish(run, data, trained, resolved, outcome)
            outcome.raise_if_not_finite(run.folder)
            return result


def _require_same_inputs(initial: Run, train: Split) -> None:
    """Refuse to start from a run of ours on another kind of input, such as pairs of texts."""
    initial_noun = "text"
    if initial.has_vectors:
        initial_noun = "sequence"
    elif initial.resolved.has_pairs:
        initial_noun = "pair"
    if initial.bert is not None and not train.has_vectors:
        return  # a BERT reads both texts and pairs
    if train.noun != initial_noun:
        kinds = {"text": "single texts", "pair": "pairs of texts", "sequence": "vectors"}
        reason = f"{kinds[train.noun]}, but the run to start from reads {kinds[initial_noun]}"
        advice = "start from a BERT or from scratch"
        if train.has_vectors:
            advice = "start from scratch"
        raise UserError(f"{train.source}: {reason}; {advice}.")


def _build(run: OpenRun, data: TrainingData) -> Classifier:
    """The model with its first weights."""
    ngrams = None
    if data.ngrams is not None:
        raw_targets = data.splits["train"].targets
        config = run.settings.training
        ngrams = solve_branch(data.ngrams, data.task, config, raw_targets, run.settings.seed)
    model = build_model(
        data.settings,
        data.featurizer,
        data.task.outputs,
        in_training=True,
        bert=run.bert,
        ngrams=ngrams,
    )
    _initialize_heads(model, data.task.initial_bias(data.train.targets))
    initial = run.initial
    if initial is not None:
        problem = "the model to start from has no labels"
        if initial.task is not None:
            problem = data.task.head_problem(initial.task)
        if problem:
            log.warning("%s; using a new head", problem)
        model.load_backbone(initial.model, with_heads=not problem)
    freeze(model, run.settings.training.freeze)
    return model


def _initialize_heads(model: Classifier, bias: Tensor | None) -> None:
    """Set the bias of each head to what the task proposes, (L,), if it does."""
    if bias is None:
        return
    with torch.no_grad():
        for branch in model.branches.values():
            branch.head[-1].bias.copy_(bias)


def _facts(run: OpenRun, data: TrainingData, model: Classifier) -> TrainingFacts:
    """What the training's settings depend on."""
    loader = train_loader(data.train, run.settings.training, run.settings.seed)
    return TrainingFacts(
        start="scratch" if run.bert is None else "bert",
        rows=len(data.train),
        tokens=data.train.tokens.total,
        batches=len(loader),
        labels=data.task.outputs,
        width=data.settings.model.width,
        modules=[branch.encoder for branch in model.branches.values()],
        learning_rate=data.task.learning_rate,
        recorded_precision=run.recorded_precision,
        is_bag=data.settings.model.kind == "bag",
    )


def _begin(run: OpenRun, data: TrainingData, resolved: Resolved) -> None:
    """Write what a resumed run needs; or check that a resumed run has the data it started with."""
    if run.checkpoints is not None:
        text = (run.checkpoints / "data.json").read_text(encoding="utf-8")
        if json.loads(text) != data.summary():
            reason = "the data has changed since the run started (data.json)"
            raise UserError(f"{run.folder.name}: {reason}; start a new run.")
        run.folder.reopen()
        return
    run.folder.begin()
    write_metadata(
        run.folder.work,
        run.settings,
        resolved,
        data.task,
        data.featurizer,
        bert=run.bert,
        origin=run.origin,
    )
    write_json(run.folder.work / "data.json", data.summary())


def _trained_run(run: OpenRun, data: TrainingData, resolved: Resolved, model: Classifier) -> Run:
    if isinstance(model.embedding, TokenEmbedding):
        model.embedding.fold_char_ngrams()
    return Run(
        settings=run.settings,
        resolved=resolved,
        task=data.task,
        featurizer=data.featurizer,
        model=model.eval(),
        bert=run.bert,
        origin=run.origin,
    )


def _with_decision(data: TrainingData, classifier: TextClassifier) -> Task:
    """The task with what it decides by the validation split, such as thresholds."""
    validation = data.splits["validation"]
    outputs = classifier.outputs(validation.texts, validation.pairs)
    return data.task.with_decision(outputs, data.task.encode(validation.targets))


def _finish(
    run: OpenRun, data: TrainingData, trained: Run, resolved: Resolved, outcome: FitOutcome
) -> TrainResult:
    """Write the run, score what was written, and move it to its place."""
    work = run.folder.work
    write_run(work, trained)
    # In the precision of training, so that the scores are those by which the weights were chosen.
    config = resolved.training
    device = choose_device(config.accelerator)
    classifier = TextClassifier.load(work, config.precision, device)
    if data.task.decides_by_validation:
        trained = replace(trained, task=_with_decision(data, classifier))
        rewrite_config(work, trained)  # which records the decision; the weights stay as they are
        classifier = TextClassifier.load(work, config.precision, device)
    evaluations = {}
    for name in sorted(data.splits, reverse=True):  # validation, then test
        if name != "train":
            evaluations[name] = evaluate_split(classifier, data.splits[name])
    write_metrics(work, evaluations, training=outcome.summary())
    scores = {name: evaluation.values for name, evaluation in evaluations.items()}
    card = model_card(
        run.folder.name.name,
        trained,
        train=data.summary()["train"],
        scores=VIEWS[data.task.kind].markdown(scores),
        minutes=outcome.minutes,
    )
    write_text(work / "README.md", card)
    run.folder.commit(resumable=outcome.is_interrupted)
    return TrainResult(
        folder=run.folder.name,
        classifier=classifier,
        evaluations=evaluations,
        stopped=outcome.stopped,
        resumable=outcome.is_interrupted,
    )
