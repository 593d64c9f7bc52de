"""Pretraining on texts without labels: from a stream of any length to a run folder."""

import json
import logging
import math
import shlex
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from selfattn_lm.build import build_model
from selfattn_lm.config import PredictionSettings, Resolved, Settings
from selfattn_lm.errors import UserError
from selfattn_lm.features.sequences import TokenizedTexts
from selfattn_lm.features.tokenizer import mostly_unspaced, train_tokenizer
from selfattn_lm.features.vectors import Standardization
from selfattn_lm.inference import MaskedModel
from selfattn_lm.nn import Classifier
from selfattn_lm.runs import CHECKPOINTS, Run, write_json, write_metadata, write_run
from selfattn_lm.training.data import TokenizedDataset, train_loader
from selfattn_lm.training.fitting import FitOutcome, fit_module, wait_for_all
from selfattn_lm.training.modules import MaskedModule
from selfattn_lm.training.opening import OpenRun
from selfattn_lm.training.processes import is_first_process
from selfattn_lm.training.resolve import (
    MAX_LENGTH,
    TrainingFacts,
    resolve_model,
    resolve_tokenizer,
    resolve_training,
)
from selfattn_lm.training.summary import pretraining_lines, result_lines
from selfattn_lm.training.trainer import build_trainer

_SCORES = ("accuracy",)  # of masked tokens
log = logging.getLogger(__name__)
_SAMPLE = 10_000  # texts by which the length is chosen, and at most as many to validate by
_ASSUMED_ROWS = 120_000  # by which the size of a bpe vocabulary is chosen: the texts are a stream
_NO_LIMIT = 2**31

Texts = Callable[[], Iterable[str]]  # each call reads the texts from the beginning


@dataclass(frozen=True)
class PretrainResult:
    """What a pretraining came to.

    Attributes:
        folder: The run folder.
        model: The model in it.
        accuracy: The fraction of masked tokens that it predicts.
        perplexity: Its perplexity over the masked tokens.
        stopped: Why training ended early, or nothing.
        resumable: Whether it was interrupted and can be resumed.
        is_first: Whether this is the first process of the run, whose result is printed.
    """

    folder: Path
    model: MaskedModel
    accuracy: float
    perplexity: float
    stopped: str = ""
    resumable: bool = False
    is_first: bool = True

    def __str__(self) -> str:
        if not self.is_first:
            return ""
        percent = 100 * self.accuracy
        scores = f"{percent:.2f} % of the masked tokens, perplexity {self.perplexity:.1f}"
        lines = result_lines(
            "pretrain", self.folder, [f"predicted   {scores}"], self.stopped, self.resumable
        )
        lines.append(f"use it      selfattn train DATA --init {shlex.quote(str(self.folder))}")
        return "\n".join(lines)


@dataclass(frozen=True)
class PretrainingData:
    """All that a masked model is trained on: a tokenizer, and texts cut into chunks."""

    tokenizer: Tokenizer
    train: TokenizedDataset
    validation: TokenizedDataset
    settings: PredictionSettings

    def summary(self) -> dict[str, int]:
        """Plain facts for `data.json`."""
        return {
            "texts": len(self.train),
            "tokens": self.train.tokens.total,
            "held_out": len(self.validation),
        }


def pretrain_model(run: OpenRun, texts: Texts) -> PretrainResult:
    """Train a model to predict masked tokens of the texts, and write its run folder.

    Memory holds no text and no token, but some bytes per text: while the model is trained, the
    token ids are in a file.
    """
    tokenizer, settings = _tokenizer_and_settings(run, texts)
    is_first = is_first_process()
    with run.folder.discard_on_error(is_first), tempfile.TemporaryDirectory() as temporary:
        # Each process has a file of its own: writing it again would cut off one that is mapped.
        ids_folder = Path(temporary)
        if is_first:
            ids_folder = run.folder.work / CHECKPOINTS
            if run.checkpoints is None:
                run.folder.begin()
            else:
                run.folder.reopen()
        data = _tokenize(run.settings, texts, tokenizer, settings, ids_folder / "tokens.int32")
        with torch.random.fork_rng():
            torch.manual_seed(run.settings.seed)
            return _train(run, data)


def _tokenizer_and_settings(run: OpenRun, texts: Texts) -> tuple[Tokenizer, PredictionSettings]:
    settings = run.settings
    unspaced = mostly_unspaced(texts())
    tokenizer_config = resolve_tokenizer(settings.tokenizer, unspaced=unspaced, rows=_ASSUMED_ROWS)
    tokenizer = run.featurizer()
    assert not isinstance(tokenizer, Standardization), "no pretraining run is of vectors"
    if tokenizer is None:
        tokenizer = train_tokenizer(texts(), tokenizer_config)
    sample = TokenizedTexts.from_texts(tokenizer, islice(texts(), _SAMPLE), MAX_LENGTH)
    model_config = resolve_model(
        settings.model, tokenizer_config, sample.lengths, settings.training.batch_tokens
    )
    resolved = PredictionSettings(
        data=settings.data, tokenizer=tokenizer_config, model=model_config
    )
    return tokenizer, resolved


def _tokenize(
    asked: Settings, texts: Texts, tokenizer: Tokenizer, settings: PredictionSettings, file: Path
) -> PretrainingData:
    """Tokenize the texts to train on into a file, and those held out into memory."""
    max_length = settings.model.max_length
    kept = _drawn(texts(), asked, held_out=False)
    train, _ = TokenizedTexts.from_texts(tokenizer, kept, _NO_LIMIT, file).chunk(max_length)
    held_out = islice(_drawn(texts(), asked, held_out=True), _SAMPLE)
    validation = TokenizedTexts.from_texts(tokenizer, held_out, max_length)
    advice = "give more texts, or change --data.validation-fraction"
    if len(train) == 0:
        reason = "all of its few texts were held out"
        raise UserError(f"{asked.data.source}: {reason}; {advice}.")
    if len(validation) == 0:
        reason = "none of its few texts is left to validate by"
        raise UserError(f"{asked.data.source}: {reason}; {advice}.")
    return PretrainingData(
        tokenizer=tokenizer,
        train=_without_targets(train),
        validation=_without_targets(validation),
        settings=settings,
    )


def _drawn(texts: Iterable[str], settings: Settings, *, held_out: bool) -> Iterator[str]:
    """The texts that the seed draws to be held out, or the others."""
    random = np.random.default_rng(settings.seed)
    for text in texts:
        is_held_out = random.random() < settings.data.validation_fraction
        if is_held_out == held_out:
            yield text


def _without_targets(tokens: TokenizedTexts) -> TokenizedDataset:
    return TokenizedDataset(tokens, np.zeros(len(tokens), dtype=np.int64))


def _train(run: OpenRun, data: PretrainingData) -> PretrainResult:
    settings = data.settings
    model = build_model(settings, data.tokenizer, 0, in_training=True)
    facts = _facts(run, data, model)
    resolved = Resolved(
        seed=run.settings.seed,
        data=settings.data,
        tokenizer=settings.tokenizer,
        model=settings.model,
        training=resolve_training(run.settings.training, facts, _SCORES),
    )
    module = MaskedModule(model, resolved, data.tokenizer.get_vocab_size())
    run_trainer = build_trainer(resolved, run.folder, data.train, data.validation)
    if run_trainer.is_first:
        _begin(run, data, resolved)
        source, vocab_size = settings.data.source, data.tokenizer.get_vocab_size()
        lines = pretraining_lines(source, resolved, vocab_size, model, data.summary())
        log.info("%s", "\n".join(lines))
    outcome = fit_module(
        run_trainer,
        module,
        data.train,
        data.validation,
        resolved,
        run.folder,
        resume=run.checkpoints is not None,
    )
    trained = Run(run.settings, resolved, None, data.tokenizer, model.eval())
    accuracy = outcome.scores["accuracy"]
    perplexity = math.exp(min(outcome.scores["loss"], 700.0))  # more would be infinite
    if run_trainer.is_first:
        scores = {"accuracy": accuracy, "perplexity": perplexity, "texts": len(data.validation)}
        _finish(run, trained, scores, outcome)
    # `train --pretrain` reads in each process what the first one has written.
    wait_for_all(run_trainer.trainer, run.folder)
    if run_trainer.is_first:
        outcome.raise_if_not_finite(run.folder)
    return PretrainResult(
        folder=run.folder.name,
        model=MaskedModel(trained),
        accuracy=accuracy,
        perplexity=perplexity,
        stopped=outcome.stopped,
        resumable=outcome.is_interrupted,
        is_first=run_trainer.is_first,
    )


def _facts(run: OpenRun, data: PretrainingData, model: Classifier) -> TrainingFacts:
    branch = model.branches["encoder"]
    loader = train_loader(data.train, run.settings.training, run.settings.seed)
    return TrainingFacts(
        start="pretraining",
        rows=len(data.train),
        tokens=data.train.tokens.total,
        batches=len(loader),
        labels=0,
        width=data.settings.model.width,
        modules=[branch.encoder, branch.head],  # the head scores each masked token
        recorded_precision=run.recorded_precision,
    )


def _begin(run: OpenRun, data: PretrainingData, resolved: Resolved) -> None:
    """Write what a resumed run needs; or check that a resumed run has the texts it started with."""
    file = run.folder.work / "data.json"
    if run.checkpoints is None:
        write_metadata(run.folder.work, run.settings, resolved, None, data.tokenizer)
        write_json(file, data.summary())
    elif json.loads(file.read_text(encoding="utf-8")) != data.summary():
        reason = "the texts have changed since the run started (data.json)"
        raise UserError(f"{run.folder.name}: {reason}; start a new run.")


def _finish(run: OpenRun, trained: Run, scores: dict[str, float], outcome: FitOutcome) -> None:
    """Write the run, and move it to its place."""
    work = run.folder.work
    write_run(work, trained)
    metrics = {"masked_tokens": scores, "training": outcome.summary()}
    write_json(work / "metrics.json", metrics)
    run.folder.commit(resumable=outcome.is_interrupted)
