"""Pretraining on texts without labels: from a stream of any length to a run folder that `--init` starts from."""

import json
import logging
import math
import shlex
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from selfattn_lm.config import Settings, merge, with_changes
from selfattn_lm.errors import UserError
from selfattn_lm.features.tokenizer import TokenIds, load_tokenizer, mostly_unspaced, train_tokenizer
from selfattn_lm.hardware import choose_device
from selfattn_lm.inference import MaskedModel
from selfattn_lm.nn import Classifier
from selfattn_lm.runs import (
    CHECKPOINTS,
    Run,
    RunFolder,
    new_model,
    precision_recorded_in,
    write_head,
    write_json,
    write_run,
)
from selfattn_lm.training import resolve as rules
from selfattn_lm.training.data import Examples, train_loader
from selfattn_lm.training.fitting import Training
from selfattn_lm.training.modules import MaskedModule
from selfattn_lm.training.processes import is_first_process, join

log = logging.getLogger(__name__)
_MANY = 10_000  # texts, enough to choose a length by, and to measure by


@dataclass(frozen=True)
class PretrainResult:
    """The run folder and its model, the share of hidden tokens it guesses, its perplexity, why it `stopped` early."""

    folder: Path
    model: MaskedModel
    accuracy: float
    perplexity: float
    stopped: str = ""
    resumable: bool = False
    is_told: bool = True  # False in the other processes of a run, whose first one tells it

    def __str__(self) -> str:
        if not self.is_told:
            return ""
        lines = [f"stopped     {self.stopped}"] if self.stopped else []
        lines.append(f"guessed     {100 * self.accuracy:.2f} % of the hidden tokens, perplexity {self.perplexity:.1f}")
        lines.append(f"run folder  {self.folder}")
        folder = shlex.quote(str(self.folder))
        lines += [f"to go on    selfattn pretrain --resume --out {folder}"] if self.resumable else []
        return "\n".join([*lines, f"use it      selfattn train DATA --init {folder}"])


class Pretraining:
    """Learns from the stream that each call of `texts` begins anew, and writes `folder`.

    Memory holds no text and no token, but some bytes for each text: token ids are kept in a file while it trains.
    A run that repeats another computes in the precision that the other recorded, where the machine can.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        *,
        resume: bool = False,
        overwrite: bool = False,
        recorded_precision: str = "",
    ) -> None:
        self.settings, self.folder, self.resume = settings, folder, resume
        self.place = RunFolder(folder)
        self.recorded_precision = recorded_precision
        join(settings)
        if resume:
            self.begun = self.place.unfinished(is_first_process())
            self.recorded_precision = precision_recorded_in(self.begun / "config.yaml")
        else:
            self.place.refuse_to_replace(overwrite)

    def run(self, texts: Callable[[], Iterable[str]]) -> PretrainResult:
        """Learn a tokenizer, turn the texts into token ids, train, and write the run."""
        resolved: dict[str, Any] = {}
        unspaced = mostly_unspaced(texts())
        resolved["tokenizer"] = rules.tokenizer_changes(self.settings.tokenizer, unspaced, 12 * _MANY)
        config = with_changes(self.settings, resolved).tokenizer
        if self.resume:
            tokenizer = load_tokenizer((self.begun / "tokenizer.json").read_text(encoding="utf-8"))
        else:
            tokenizer = train_tokenizer(texts(), config)
        sample = TokenIds.of(tokenizer, islice(texts(), _MANY), rules.MOST_TOKENS)
        resolved["model"] = rules.model_changes(self.settings, sample.lengths, config.type)
        settings = with_changes(self.settings, resolved)
        with self.place.made_by(is_first_process()), tempfile.TemporaryDirectory() as temporary:
            if is_first_process():
                self._open_folder()
            # Each process has token ids of its own: one that wrote them anew would cut a file that others have mapped.
            first = self.place.work / CHECKPOINTS
            file = (first if is_first_process() else Path(temporary)) / "tokens.int32"
            train = self._ids(texts, tokenizer, settings, file)
            validation = self._ids(texts, tokenizer, settings)
            return self._resolve_and_train(resolved, tokenizer, train, validation)

    def _open_folder(self) -> None:
        if self.resume:
            self.place.reopen()
        else:
            self.place.begin()

    def _resolve_and_train(
        self, resolved: dict[str, Any], tokenizer: Tokenizer, train: Examples, validation: Examples
    ) -> PretrainResult:
        settings = with_changes(self.settings, resolved)
        rounds = rules.pretraining_epochs(train.tokens.total)
        changes = rules.training_changes(settings.training, rounds, len(train_loader(train, settings)))
        resolved |= {"training": changes} if changes else {}
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            return self._train(resolved, tokenizer, train, validation)

    def _ids(
        self, texts: Callable[[], Iterable[str]], tokenizer: Tokenizer, settings: Settings, file: Path | None = None
    ) -> Examples:
        """Token ids of the training texts, kept in a `file`, in pieces of at most `max_length`.

        Without a file they are those of the texts that are held out, which are drawn by the seed.
        """
        held_out = file is None
        random, share, longest = (
            np.random.default_rng(settings.seed),
            settings.data.validation_fraction,
            settings.model.max_length,
        )
        assert longest != "auto", "resolve the settings first"
        part = (text for text in texts() if (random.random() < share) == held_out)
        if held_out:
            tokens = TokenIds.of(tokenizer, islice(part, _MANY), longest)
        else:
            tokens = TokenIds.of(tokenizer, part, 2**31, file)
            tokens.split(longest)
        if not len(tokens):
            what = "none of its few texts is left to validate by" if held_out else "all of its few texts were held out"
            raise UserError(f"{settings.data.source}: {what}; give more texts, or change --data.validation-fraction.")
        return Examples(tokens, np.zeros(len(tokens), dtype=np.int64))

    def _train(
        self, resolved: Mapping[str, Any], tokenizer: Tokenizer, train: Examples, validation: Examples
    ) -> PretrainResult:
        settings = with_changes(self.settings, resolved)
        model = new_model(settings, tokenizer, 0, with_char_ngrams=True)
        precision = rules.precision(settings.training, model, self.recorded_precision)
        resolved = merge(resolved, {"training": precision})
        settings = with_changes(self.settings, resolved)
        training = Training(
            settings, self.place, MaskedModule(model, settings, tokenizer.get_vocab_size()), train, validation
        )
        facts = {"texts": len(train), "tokens": train.tokens.total, "held_out": len(validation)}
        if training.first:
            self._begin(resolved, tokenizer, facts)
            log.info("%s", "\n".join(_opening_lines(settings, tokenizer, model, facts)))
        stopped = training.run(resume=self.resume)
        run = Run(self.settings, resolved, [], tokenizer, model.eval())
        accuracy, perplexity = training.scores["accuracy"], math.exp(min(training.scores["loss"], 700.0))
        if training.first:
            work = self.place.work
            write_run(work, run)
            scores = {"accuracy": accuracy, "perplexity": perplexity, "texts": len(validation)}
            how = {**training.facts(), "stopped": stopped}
            write_json(work / "metrics.json", {"hidden": scores, "training": how})
            self.place.commit(resumable=training.interrupted)
        training.wait_for_all()  # `train --pretrain` reads in each process what the first one has written
        if training.first:
            training.raise_if_not_finite()
        found = MaskedModel(run)
        return PretrainResult(
            self.folder, found, accuracy, perplexity, stopped, training.interrupted, is_told=training.first
        )

    def _begin(self, resolved: Mapping[str, Any], tokenizer: Tokenizer, facts: Mapping[str, int]) -> None:
        file = self.place.work / "data.json"
        if not self.resume:
            write_head(self.place.work, self.settings, resolved, [], tokenizer)
            write_json(file, facts)
        elif json.loads(file.read_text(encoding="utf-8")) != facts:
            raise UserError(f"{self.folder}: the texts are not what the run began with (data.json); pretrain anew.")


def _opening_lines(settings: Settings, tokenizer: Tokenizer, model: Classifier, facts: Mapping[str, int]) -> list[str]:
    parameters, vocabulary, unit = sum(model.sizes().values()), tokenizer.get_vocab_size(), settings.tokenizer.type
    device = choose_device(settings.training.accelerator)
    return [
        f"texts       {settings.data.source}: {facts['texts']:,} of at most {settings.model.max_length} tokens,"
        f" {facts['tokens']:,} tokens in all; {facts['held_out']:,} held out",
        f"model       {settings.model.kind}, {settings.model.width} wide, {settings.model.layers} layers; {unit},"
        f" vocabulary {vocabulary:,}; {parameters:,} parameters",
        f"training    {settings.training.epochs} epochs at most, {device}, {settings.training.precision},"
        f" seed {settings.seed}",
    ]
