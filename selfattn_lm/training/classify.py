"""One training run, from splits to a scored run folder."""

import json
import logging
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from selfattn_lm.config import Settings, flatten, nest, with_changes
from selfattn_lm.data.sources import Split
from selfattn_lm.errors import UserError
from selfattn_lm.evaluation import Evaluation, evaluate_split, write_metrics
from selfattn_lm.features.tokenizer import load_tokenizer
from selfattn_lm.hardware import choose_device
from selfattn_lm.inference import TextClassifier
from selfattn_lm.nn import Classifier, TokenEmbedding
from selfattn_lm.runs import (
    Origin,
    Run,
    RunFolder,
    model_card,
    new_model,
    precision_recorded_in,
    read_bert_config,
    read_origin,
    read_run,
    write_head,
    write_json,
    write_run,
    write_text,
)
from selfattn_lm.training import resolve as rules
from selfattn_lm.training.data import Prepared, balanced_weights, prepare, train_loader
from selfattn_lm.training.fitting import Training
from selfattn_lm.training.modules import ClassifierModule
from selfattn_lm.training.optimizer import freeze
from selfattn_lm.training.processes import is_first_process, join

log = logging.getLogger(__name__)
_SHAPE = (
    "kind",
    "width",
    "heads",
    "layers",
    "positions",
    "pooling",
    "max_length",
    "max_ngram",
    "ngram_buckets",
    "bag_branch",
)

_DROPOUTS = ("dropout", "embedding_dropout", "token_dropout")


@dataclass(frozen=True)
class TrainResult:
    """What a run came to: its folder, the classifier in it, the scores of its splits, and why it `stopped` early."""

    folder: Path
    classifier: TextClassifier
    evaluations: dict[str, Evaluation]
    stopped: str = ""
    resumable: bool = False

    def __str__(self) -> str:
        if not self.evaluations:  # another process of the same run says it
            return ""
        lines = [f"stopped     {self.stopped}"] if self.stopped else []
        lines += [f"{name:<12}{evaluation}" for name, evaluation in self.evaluations.items()]
        folder = shlex.quote(str(self.folder))
        resume = [f"to go on    selfattn train --resume --out {folder}"] if self.resumable else []
        try_it = f'try it      selfattn predict {folder} --text "your text"'
        return "\n".join([*lines, f"run folder  {self.folder}", *resume, try_it])


class Session:
    """Trains once and writes `folder`: one that `overwrite` allows to replace, or that `resume` goes on with.

    `asked` are the settings asked for, nested, which what the run starts from, its `origin`, may not contradict. A run
    that repeats another computes in the precision that the other recorded, where the machine can.
    """

    def __init__(
        self, settings: Settings, asked: Mapping[str, Any], folder: Path, origin: Origin | None = None,
        *, resume: bool = False, overwrite: bool = False, recorded_precision: str = "",
    ) -> None:  # fmt: skip
        self.settings, self.folder, self.resume, self.initial = settings, folder, resume, None
        self.place = RunFolder(folder)
        self.origin, self.bert, self.recorded_precision = origin, None, recorded_precision
        join(settings)
        if resume:
            self.begun = self.place.unfinished(is_first_process())
            self.origin, self.bert = read_origin(self.begun), read_bert_config(self.begun)
            self.recorded_precision = precision_recorded_in(self.begun / "config.yaml")
        else:
            self.place.refuse_to_replace(overwrite)
        if origin is not None:
            self.initial = read_run(origin.folder, settings.model.pooling)
            self.bert = self.initial.bert
            self.settings = _start_from(self.initial, settings, asked, origin.source)

    def run(self, splits: dict[str, Split]) -> TrainResult:
        """Train on the splits and score the result."""
        integer_labels = all(split.integer_labels for split in splits.values())
        tokenizer = self.initial.tokenizer if self.initial else None
        if self.resume:
            tokenizer = load_tokenizer((self.begun / "tokenizer.json").read_text(encoding="utf-8"))
        prepared = prepare(splits, self.settings, tokenizer)
        with torch.random.fork_rng():
            torch.manual_seed(self.settings.seed)
            model, resolved = self._build(prepared)
            settings = with_changes(self.settings, resolved)
            balanced = settings.training.class_weights == "balanced"
            weights = balanced_weights(prepared.train.labels, len(prepared.labels)) if balanced else None
            module = ClassifierModule(model, settings, len(prepared.labels), weights)
            training = Training(settings, self.place, module, prepared.train, prepared.validation)
            with self.place.made_by(training.first):
                return self._train_and_finish(prepared, resolved, training, integer_labels)

    def _train_and_finish(
        self, prepared: Prepared, resolved: Mapping[str, Any], training: Training, integer_labels: bool
    ) -> TrainResult:
        """Train the model that was built, and let the first process write the run."""
        settings, model = training.settings, training.module.model
        if training.first:
            log.info("%s", "\n".join(opening_lines(prepared, settings, self.settings, model, self.initial)))
            self._begin(prepared, resolved, integer_labels)
        stopped = training.run(resume=self.resume)
        if isinstance(model.embedding, TokenEmbedding):
            model.embedding.fold()
        run = Run(
            self.settings, dict(resolved), prepared.labels, prepared.tokenizer, model.eval(), self.bert, self.origin,
            integer_labels=integer_labels,
        )  # fmt: skip
        if not training.first:  # another process of the same run writes it
            return TrainResult(self.folder, TextClassifier(run, settings.training.precision), {}, stopped)
        result = self._finish(prepared, run, stopped, training)
        training.raise_if_not_finite()
        return result

    def _build(self, prepared: Prepared) -> tuple[Classifier, dict[str, Any]]:
        """The model with its first weights, and all that `auto` became."""
        settings = with_changes(self.settings, prepared.resolved)
        rows, labels = len(prepared.train), len(prepared.labels)
        batches = len(train_loader(prepared.train, settings))
        if self.bert is None:
            rounds = rules.epochs(rows, labels, prepared.train.tokens.total)
            changes = rules.training_changes(settings.training, rounds, batches)
        else:
            rounds, rate = rules.finetuning_epochs(rows, labels), rules.finetuning_rate(settings.model.width)
            changes = rules.training_changes(settings.training, rounds, batches, rate)
        model = new_model(settings, prepared.tokenizer, len(prepared.labels), with_char_ngrams=True, bert=self.bert)
        if self.initial is not None:
            weights = self.initial.model.state_dict()
            if prepared.labels != self.initial.labels:
                weights = {
                    name: value for name, value in weights.items() if ".head." not in name and name != "branch_weights"
                }
                reason = "the labels differ from those of" if self.initial.labels else "no labels are known to"
                log.warning("%s what the run starts from, so its head is new", reason)
            model.load_state_dict(weights, strict=False)
        freeze(model, settings.training.freeze)
        changes |= rules.precision(settings.training, model, self.recorded_precision)
        return model, {**prepared.resolved, **({"training": changes} if changes else {})}

    def _begin(self, prepared: Prepared, resolved: Mapping[str, Any], integer_labels: bool) -> None:
        """Write what a resumed run needs, or compare the data of a resumed run with what it began with."""
        if self.resume:
            facts = json.loads((self.begun / "data.json").read_text(encoding="utf-8"))
            if facts != prepared.facts:
                raise UserError(f"{self.folder}: the data is not what the run began with (data.json); train anew.")
            self.place.reopen()
            return
        self.place.begin()
        work = self.place.work
        labels = [int(label) for label in prepared.labels] if integer_labels else prepared.labels
        write_head(work, self.settings, resolved, labels, prepared.tokenizer, self.bert, self.origin)
        write_json(work / "data.json", prepared.facts)

    def _finish(self, prepared: Prepared, run: Run, stopped: str, training: Training) -> TrainResult:
        """Write the run, score what was written, and move it to its place."""
        work = self.place.work
        write_run(work, run)
        used = run.in_effect.training  # so that the scores are those by which the weights were chosen
        classifier = TextClassifier.load(work, used.precision, choose_device(used.accelerator))
        scored = [name for name in sorted(prepared.splits, reverse=True) if name != "train"]  # validation, then test
        evaluations = {name: evaluate_split(classifier, prepared.splits[name]) for name in scored}
        facts = {**training.facts(), "stopped": stopped}
        write_metrics(work, evaluations, training=facts)
        scores = {name: evaluation.values for name, evaluation in evaluations.items()}
        card = model_card(self.folder.name, run, prepared.facts["train"], scores, facts["minutes"])
        write_text(work / "README.md", card)
        self.place.commit(resumable=training.interrupted)
        return TrainResult(self.folder, classifier, evaluations, stopped, training.interrupted)


def _start_from(initial: Run, settings: Settings, asked: Mapping[str, Any], folder: str) -> Settings:
    """The settings with the shape and tokenizer of another run, which those asked for may not contradict."""
    theirs, mine = initial.in_effect, asked.get("model", {})
    brought = _brought_by(initial)
    if initial.bert:  # another dropout suits it too, and shorter texts than it has places for
        brought |= {f"model.{name}": mine[name] for name in ("dropout", "embedding_dropout") if name in mine}
        longest = mine.get("max_length", "auto")
        if longest != "auto":
            brought["model.max_length"] = min(longest, initial.bert.max_positions)
    as_trained = {"model.char_ngrams": theirs.model.char_ngrams}  # which its own config.yaml asks for
    for name, value in flatten(asked).items():
        if name in brought and value not in (brought[name], as_trained.get(name), "auto"):
            raise UserError(f"{name}: {value!r} is asked, but {folder}, the run to start from, has {brought[name]!r}.")
    shape = nest(brought)["model"]
    return replace(settings, tokenizer=theirs.tokenizer, model=replace(settings.model, **shape))


def _brought_by(initial: Run) -> dict[str, Any]:
    """The settings that a run to start from decides, by dotted name: shape and tokenizer, for a BERT dropout too."""
    theirs = initial.in_effect
    names = _SHAPE + _DROPOUTS if initial.bert else _SHAPE
    brought = {f"model.{name}": getattr(theirs.model, name) for name in names}
    # A classifier's spelling was folded into its table of tokens when it was done.
    brought["model.char_ngrams"] = theirs.model.char_ngrams and not initial.labels
    brought |= {f"tokenizer.{name}": value for name, value in vars(theirs.tokenizer).items()}
    return brought


def opening_lines(
    prepared: Prepared, resolved: Settings, asked: Settings, model: Classifier, initial: Run | None
) -> list[str]:
    """Data, tokens, model, training and the settings that differ from the usual ones, a line each."""
    m, t, train = resolved.model, resolved.training, prepared.splits["train"]
    test, validation = prepared.splits.get("test"), prepared.splits["validation"]
    held_out = f"held out of train ({100 * resolved.data.validation_fraction:g} %)" if prepared.held_out else "given"
    ranked = [f"{name} {count:,}" for name, count in Counter(train.labels).most_common()]
    labels = ranked if len(ranked) <= 8 else [*ranked[:3], "…", *ranked[-2:]]
    cut = prepared.train.tokens.truncation()
    sizes = model.sizes()
    parameters, tables = sum(sizes.values()), sum(n for name, n in sizes.items() if name.startswith("embedding."))
    bert = f", from BERT, {m.pooling} pooling" if initial is not None and initial.bert else ""
    layers = "" if m.kind == "bag" else f", {m.layers} layers"
    heads = f", {m.heads} heads" if m.kind == "attention" else ""
    device = choose_device(t.accelerator)
    usual = flatten(asdict(Settings()))
    if initial is not None:  # what it starts from decides these
        usual |= _brought_by(initial)
    changed = [
        f"{k} {','.join(v) if isinstance(v, tuple) else v}"
        for k, v in flatten(asdict(asked)).items()
        if v != usual[k] and k != "data.source"
    ]
    return [
        f"data        {train.where}: {len(train):,} texts to train on, {len(test) if test else 0:,} to test on",
        *([f"columns     {train.columns}"] if train.columns else []),
        f"labels      {len(prepared.labels)}: {', '.join(labels)}",
        f"validation  {len(validation):,} texts, {held_out}; the best weights are chosen by {t.monitor}",
        f"tokens      {resolved.tokenizer.type}, vocabulary {prepared.tokenizer.get_vocab_size():,};"
        f" {100 * cut['texts_cut']:.1f} % of the texts and {100 * cut['tokens_lost']:.1f} % of all tokens are cut,"
        f" beyond {m.max_length} a text",
        f"model       {m.kind}, {m.width} wide{layers}{heads}{bert}; {parameters:,} parameters,"
        f" {(4 * parameters - 2 * tables) / 1e6:.1f} MB",
        f"training    {t.epochs} epochs at most, rate {t.learning_rate:g}, {device}, {t.precision},"
        f" seed {resolved.seed}",
        f"settings    {', '.join(changed) or 'the defaults'}",
    ]
