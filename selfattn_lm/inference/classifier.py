"""Texts in, labels, probabilities or vectors out. B batch, T tokens, C width, L labels, N texts."""

import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfattn_lm.config import Precision
from selfattn_lm.data.python_inputs import texts_to_predict
from selfattn_lm.errors import UserError
from selfattn_lm.features.batching import cut_by_budget, pad
from selfattn_lm.features.tokenizer import TokenIds
from selfattn_lm.hardware import Device, choose_device, thread_count, workers
from selfattn_lm.inference.low_precision import float_precision, in_precision
from selfattn_lm.runs import Run, read_run, write_run

_STEP = 8  # of a batch's length in tokens: each new shape of a matrix product costs oneDNN milliseconds


class TextClassifier:
    """A trained classifier, from a run folder or from `fit`.

    `labels` are its label names, or integers if it was trained by `fit` with labels that are all integers. Texts may
    be in a list, a tuple, a generator, an array, a pandas Series or another column; each must be a str, and anything
    else is a TypeError that says what to pass.

    It computes where the run's model lies, with encoders in a `precision`: 32, bf16, int8 (on a CPU; a text's result
    then depends a little on those beside it), or auto, which is bf16 where it is measured to be faster and else 32.
    It can be used from several threads at once, copied and pickled; a copy computes in the same precision.
    """

    def __init__(self, run: Run, precision: Precision = "auto") -> None:
        self.run = run
        self._precision = precision
        self._device = next(run.model.parameters()).device
        self._floats = float_precision(run.model, precision, self._device.type)
        self._prepare()

    def _prepare(self) -> None:
        """Make what follows from the run and the precision."""
        self.labels = self.run.labels_as_given
        self._settings = self.run.in_effect.model
        self._model = in_precision(self.run.model, self._precision, self._device.type, self._floats)

    def __getstate__(self) -> dict[str, Any]:
        """All but the model in low precision, whose weights lie in an order of oneDNN's own: it is made again."""
        left_out = ("labels", "_settings", "_model")
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._prepare()

    @classmethod
    def load(cls, folder: str | Path, precision: Precision = "auto", device: Device | None = None) -> "TextClassifier":
        """Load a run folder, which must be whole, onto a GPU if there is one, or onto the `device` that is given.

        Nothing in the folder can run code.
        """
        run = read_run(Path(folder))
        if run.head_problem:
            advice = f"`selfattn train DATA --init {shlex.quote(str(folder))}` gives it a new head"
            raise UserError(f"{run.head_problem.removesuffix('.')}; {advice}.")
        if not run.labels:
            advice = f"`selfattn train DATA --init {shlex.quote(str(folder))}` makes a classifier of it"
            raise UserError(f"{folder}: pretrained on texts without labels; {advice}.")
        run.model.to(device or choose_device())
        return cls(run, precision)

    def save(self, folder: str | Path) -> None:
        """Write a run folder that `load` and the command line read."""
        write_run(Path(folder), self.run)

    def predict(self, texts: Iterable[str]) -> list[Any]:
        """The most probable label of each text: a str, or an int if the labels were integers in `fit`."""
        return [self.labels[i] for i in self.predict_proba(texts).argmax(1)]

    def predict_proba(self, texts: Iterable[str]) -> np.ndarray:
        """The probability of each label, in the order of `labels`: float32 (N, L).

        Raises UserError if the weights are broken, so that the model computes NaN.
        """
        probabilities = self._apply(
            texts, lambda ids, attention_mask: self._model(ids, attention_mask).softmax(-1), len(self.labels)
        )
        broken = np.count_nonzero(~np.isfinite(probabilities).all(1))
        if broken:
            reason = f"the model gives no number (NaN) for {broken:,} of {len(probabilities):,} texts"
            raise UserError(f"{reason}, so its weights are broken; train it again with a lower learning rate.")
        return probabilities

    def embed(self, texts: Iterable[str]) -> np.ndarray:
        """A vector for each text, from which the heads of its K views compute their logits: float32 (N, K · C)."""
        return self._apply(texts, self._model.embed, len(self.run.model.branches) * self._settings.width)

    def _apply(self, texts: Iterable[str], function: Callable[[Tensor, Tensor], Tensor], width: int) -> np.ndarray:
        """Run a function over batches of texts of like length, and put its results back in order."""
        texts = texts_to_predict(texts)
        longest = self._settings.max_length
        assert longest != "auto"
        tokens = TokenIds.of(self.run.tokenizer, texts, longest)
        order = np.argsort(tokens.lengths, kind="stable")
        widths = np.minimum(-(-tokens.lengths // _STEP) * _STEP, longest)[order]
        results = np.empty((len(tokens), width), dtype=np.float32)

        def compute(part: slice) -> None:
            rows = order[part]
            batch = pad([tokens[i] for i in rows], np.zeros(len(rows)), widths[part][-1])
            with torch.inference_mode():
                found = function(batch.ids.to(self._device), batch.attention_mask.to(self._device))
                results[rows] = found.float().cpu().numpy()

        size, budget = (32, 2048) if self._device.type == "cpu" else (256, 16_384)
        parts = cut_by_budget(widths, size, max(budget, longest))
        _run_all(compute, parts[::-1], self._device.type)  # the longest first, so that none is waited for at the end
        return results


def _run_all(compute: Callable[[slice], None], parts: Sequence[slice], device: str) -> None:
    """Compute a part on each core of a CPU: all cores together on one part wait for each other again and again."""
    cores = thread_count()
    if device != "cpu" or min(len(parts), cores) < 2:
        for part in parts:
            compute(part)
        return
    for _ in workers(cores).map(compute, parts):
        pass  # an error in a worker is raised here
