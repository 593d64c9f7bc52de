"""Texts or vectors in; labels, probabilities, numbers or vectors out.

B batch, T tokens, C width, L labels, N inputs.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfattn_lm.config import Precision, PredictionSettings
from selfattn_lm.data.python_inputs import texts_to_predict
from selfattn_lm.data.vectors import holds_vectors, sequences_in_memory
from selfattn_lm.errors import UserError
from selfattn_lm.features.batching import cut_by_budget
from selfattn_lm.features.ngrams import add_ngrams
from selfattn_lm.features.pairs import TokenizedPairs
from selfattn_lm.features.sequences import TokenizedTexts, Tokens
from selfattn_lm.features.vectors import Standardization, VectorSequences
from selfattn_lm.features.weighted_ngrams import NgramVocabulary, WithNgrams
from selfattn_lm.features.windows import NO_LIMIT, Windows, fit_length
from selfattn_lm.hardware import Device, choose_device
from selfattn_lm.inference.executor import Executor
from selfattn_lm.inference.low_precision import convert_precision, float_precision
from selfattn_lm.inputs import Inputs
from selfattn_lm.phrases import counted
from selfattn_lm.runs import Run, read_run, write_run

# The length of a batch is a multiple of this: each new shape of a matrix product costs oneDNN
# milliseconds.
_LENGTH_STEP = 8


class TextClassifier:
    """A trained classifier, from a run folder or from `fit`.

    Texts may be in a list, a tuple, a generator, an array, a pandas Series or another column. Each
    must be a str, and anything else is a TypeError that says what to pass.

    A classifier can be used from several threads at once, copied and pickled; a copy computes in
    the same precision.

    Args:
        run: The run, whose model lies on the device that is to compute.
        precision: Of the encoders: 32, bf16, or int8 (on a CPU; the result of a text then depends
            a little on the others of its batch). auto is bf16 where it is measured to be faster,
            else 32.
        threads: How many cores of a CPU to use; by default as many as torch uses.

    Attributes:
        task: What is predicted.
        labels: The labels: their names, or integers if `fit` was called with integers alone; none
            if a number is predicted.
    """

    def __init__(
        self, run: Run, precision: Precision = "auto", *, threads: int | None = None
    ) -> None:
        if threads is not None and threads < 1:
            raise UserError(f"threads must be at least 1, got {threads}.")
        self.run = run
        self._precision = precision
        self._threads = threads
        self._device: Device = next(run.model.parameters()).device.type  # type: ignore[assignment]
        self._floats = float_precision(run.model, precision, self._device)
        self._prepare()

    def _prepare(self) -> None:
        """Derive what follows from the run, the precision and the number of threads."""
        assert self.run.task is not None, "a pretrained run predicts nothing"
        self.task = self.run.task
        self.labels = self.task.labels
        self._model = convert_precision(self.run.model, self._precision, self._device, self._floats)
        self._vocabulary: NgramVocabulary | None = None
        if self.run.model.ngrams is not None:
            max_ngram = self.run.resolved.model.max_ngram
            branch = self.run.model.ngrams
            self._vocabulary = NgramVocabulary.from_tensors(branch.hashes, branch.idf, max_ngram)
        self._executor = Executor(self._device, self._threads)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the threads, and the model in low precision: oneDNN orders its weights."""
        left_out = ("labels", "task", "_model", "_executor", "_vocabulary")
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._prepare()

    @classmethod
    def load(
        cls,
        folder: str | Path,
        precision: Precision = "auto",
        device: Device | None = None,
        *,
        threads: int | None = None,
    ) -> "TextClassifier":
        """Load a run folder, which must be complete. Nothing in it can run code.

        Args:
            folder: The run folder, or a BERT checkpoint that predicts labels.
            precision: As for the class.
            device: cpu, cuda or mps; by default cuda if there is one, else the CPU.
            threads: As for the class.

        Raises:
            UserError: The folder is no complete run, or has no labels.
        """
        run = read_run(Path(folder))
        quoted = shlex.quote(str(folder))
        if run.head_problem:
            advice = f"`selfattn train DATA --init {quoted}` gives it a new head"
            raise UserError(f"{run.head_problem.removesuffix('.')}; {advice}.")
        if run.task is None:
            advice = f"`selfattn train DATA --init {quoted}` makes a classifier of it"
            raise UserError(f"{folder}: pretrained on texts without labels; {advice}.")
        run.model.to(device or choose_device())
        return cls(run, precision, threads=threads)

    def save(self, folder: str | Path) -> None:
        """Write a run folder that `load` and the command line read."""
        write_run(Path(folder), self.run)

    def predict(self, texts: Iterable[Any], pairs: Iterable[str] | None = None) -> list[Any]:
        """Predict what each text is: its most probable label, the list of its labels, or a number.

        A label is a str, or an int if labels are integers. `pairs` are the second texts, for a run
        that was trained on pairs. A run on sequences of vectors takes arrays (T, F) as texts, here
        and in the other methods.
        """
        return self.task.decide(self.outputs(texts, pairs))

    def predict_proba(self, texts: Iterable[Any], pairs: Iterable[str] | None = None) -> np.ndarray:
        """Compute the probability of each label, in the order of `labels`: float32 (N, L).

        Raises UserError if a number is predicted, or the weights are broken.
        """
        if not self.labels:
            raise UserError("the run predicts a number, which has no probability; use `predict`.")
        return self.outputs(texts, pairs)

    def outputs(self, texts: Iterable[Any], pairs: Iterable[str] | None = None) -> np.ndarray:
        """Compute what the task decides by, probabilities or the number: float32 (N, L).

        Raises UserError if the weights are broken, so that the model computes NaN.
        """
        tokens = self.encode(texts, pairs)
        if windows_of(tokens) is None:
            outputs = self._compute(tokens, self.forward, self.task.outputs)
        else:
            logits = self._compute(tokens, self._model, self.task.outputs)
            outputs = self.task.activate(torch.from_numpy(logits)).numpy()
        broken = np.count_nonzero(~np.isfinite(outputs).all(1))
        if broken:
            raise UserError(
                f"the model computes NaN for {broken:,} of {len(outputs):,} inputs, so its"
                " weights are broken; train it again with a lower learning rate."
            )
        return outputs

    def branch_logits(
        self, texts: Iterable[Any], pairs: Iterable[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Compute what each branch adds to the logits, by its name: float32 (N, L) each.

        Their sum are the logits that the prediction is made of.
        """
        names, outputs = self._model.branch_names, self.task.outputs

        def weighted(inputs: Inputs) -> Tensor:
            by_branch = self._model.branch_logits(inputs)  # (K, B, L)
            parts = self._model.branch_weights[:, None, None] * by_branch
            return parts.transpose(0, 1).flatten(1)

        flat = self._compute(self.encode(texts, pairs), weighted, len(names) * outputs)
        parts = np.split(flat, len(names), axis=1)
        return dict(zip(names, parts, strict=True))

    def embed(self, texts: Iterable[Any], pairs: Iterable[str] | None = None) -> np.ndarray:
        """Compute a vector for each text, that of its K branches side by side: float32 (N, K · C).

        It is what the heads compute the logits from.
        """
        width = len(self.run.model.branches) * self.run.resolved.model.width
        return self._compute(self.encode(texts, pairs), self._model.embed, width)

    def encode(self, texts: Iterable[Any], pairs: Iterable[str] | None = None) -> Tokens:
        """Turn texts, pairs or sequences of vectors into what the model reads, of its length.

        Raises UserError if they are of another kind than those that the run was trained on.
        """
        if isinstance(texts, Iterator):
            texts = list(texts)
        if isinstance(self.run.featurizer, Standardization):
            return self._encode_vectors(texts, self.run.featurizer)
        if holds_vectors(texts):
            reason = "sequences of vectors, but the run was trained on texts"
            raise UserError(f"{reason}; give texts.")
        tokenizer, config = self.run.tokenizer, self.run.resolved.model
        require_pairs(pairs is not None, self.run.resolved)
        first = texts_to_predict(texts)
        if pairs is None:
            longest = config.max_length
            if config.long_texts != "head" or self._vocabulary is not None:
                longest = NO_LIMIT
            return self._fitted(TokenizedTexts.from_texts(tokenizer, first, longest))
        second = texts_to_predict(pairs, "pairs")
        if len(first) != len(second):
            counts = f"{counted(len(first), 'text')} but {counted(len(second), 'pair')}"
            raise UserError(f"{counts}; give one second text per text.")
        return self._fitted(TokenizedPairs.from_texts(tokenizer, first, second, config.max_length))

    def _fitted(self, texts: TokenizedTexts | TokenizedPairs) -> Tokens:
        """Fit texts to the length that the encoders read, with the n-grams of the whole texts."""
        fitted = fit_length(texts, self.run.resolved.model)
        if self._vocabulary is None:
            return fitted
        owners = None
        if isinstance(fitted, Windows):  # each window has the n-grams of its text
            owners = fitted.documents
        return WithNgrams(fitted, self._vocabulary.rows(texts), owners)

    def _encode_vectors(
        self, sequences: Iterable[Any], standardization: Standardization
    ) -> VectorSequences:
        found = sequences_in_memory(sequences, "sequences")
        for i, sequence in enumerate(found):
            problem = standardization.problem(sequence)
            if problem:
                raise UserError(f"sequences[{i}]: {problem}.")
        return VectorSequences.of(found, standardization, self._max_length)

    def forward(self, inputs: Inputs) -> Tensor:
        """Compute the outputs of a batch on the model's device: (B, T) -> (B, L)."""
        return self.task.activate(self._model(inputs))

    @property
    def _max_length(self) -> int:
        return self.run.resolved.model.max_length

    def _compute(
        self, tokens: Tokens, function: Callable[[Inputs], Tensor], width: int
    ) -> np.ndarray:
        """Compute a function of batches of similar length; its results in the texts' order.

        Windows are rows of their own, so however many a text has, no batch is larger. The result of
        a text is the mean of those of its windows.
        """
        order = np.argsort(tokens.lengths, kind="stable")
        steps = np.ceil(tokens.lengths[order] / _LENGTH_STEP).astype(np.int64)
        lengths = np.minimum(steps * _LENGTH_STEP, self._max_length)  # of the batches, (N,)
        results = np.empty((len(tokens), width), dtype=np.float32)

        def compute(part: slice) -> None:
            rows = order[part]
            padded = tokens.batch(rows, min_length=lengths[part][-1])
            with torch.inference_mode():
                inputs = self._with_ngrams(padded.to(self._device))
                results[rows] = function(inputs).float().cpu().numpy()

        batch_size, batch_tokens = (32, 2048) if self._device == "cpu" else (256, 16_384)
        parts = cut_by_budget(lengths, batch_size, max(batch_tokens, self._max_length))
        self._executor.run(compute, parts[::-1])  # the longest first: none is waited for at the end
        windows = windows_of(tokens)
        if windows is None:
            return results
        return windows.pool(results)

    def _with_ngrams(self, inputs: Inputs) -> Inputs:
        config = self.run.resolved.model
        return add_ngrams(inputs, config.max_ngram, config.ngram_buckets)


def windows_of(tokens: Tokens) -> Windows | None:
    """Return the windows that the rows are; None if each row is a text."""
    if isinstance(tokens, WithNgrams):
        tokens = tokens.tokens
    if isinstance(tokens, Windows):
        return tokens
    return None


def require_pairs(are_given: bool, settings: PredictionSettings) -> None:
    """Refuse single texts for a run that was trained on pairs, and the reverse."""
    if settings.has_pairs and not are_given:
        advice = "give the second text of each with --pair or --data.pair-column (Python: pairs=)"
        raise UserError(f"the run was trained on pairs of texts; {advice}.")
    if are_given and not settings.has_pairs:
        advice = "leave out --pair or --data.pair-column (Python: pairs=)"
        raise UserError(f"the run was trained on single texts, not on pairs; {advice}.")
