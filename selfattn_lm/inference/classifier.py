"""Texts in, labels, probabilities or vectors out. B batch, T tokens, C width, L labels, N texts."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from selfattn_lm.errors import UserError
from selfattn_lm.runs import Run, read_run, write_run
from selfattn_lm.text.batching import cut_by_budget, pad
from selfattn_lm.text.tokenization import TokenIds


class TextClassifier:
    """A trained classifier, from a run folder or from `fit`; `labels` are its label names."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.labels = run.labels

    @classmethod
    def load(cls, folder: str | Path) -> "TextClassifier":
        """Load a run folder, which must be whole; nothing in it can run code."""
        run = read_run(Path(folder))
        if not run.labels:
            advice = f"`selfattn train DATA --init {folder}` makes a classifier of it"
            raise UserError(f"{folder}: pretrained on texts without labels; {advice}.")
        return cls(run)

    def save(self, folder: str | Path) -> None:
        """Write a run folder that `load` and the command line read."""
        write_run(Path(folder), self.run)

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The most probable label of each text."""
        return [self.labels[i] for i in self.predict_proba(texts).argmax(1)]

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """The probability of each label, in the order of `labels`: float32 (N, L)."""
        return self._apply(texts, lambda ids, keep: self.run.model(ids, keep).softmax(-1), len(self.labels))

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """A vector for each text, from which the heads of its K views compute their logits: float32 (N, K · C)."""
        return self._apply(texts, self.run.model.embed, len(self.run.model.views) * self.run.in_effect.model.width)

    def _apply(self, texts: Sequence[str], function: Callable[[Tensor, Tensor], Tensor], width: int) -> np.ndarray:
        """Run a function over batches of texts of like length, and put its results back in order."""
        if isinstance(texts, str):
            raise TypeError("give a list of texts, not one text")
        settings = self.run.in_effect
        assert settings.model.max_tokens != "auto"
        tokens = TokenIds(self.run.tokenizer, texts, settings.model.max_tokens)
        order = np.argsort(tokens.lengths, kind="stable")
        results = np.empty((len(tokens), width), dtype=np.float32)
        device = next(self.run.model.parameters()).device
        for part in cut_by_budget(tokens.lengths[order], 64, max(4096, settings.model.max_tokens)):
            rows = order[part]
            batch = pad([tokens[i] for i in rows], np.zeros(len(rows)))
            with torch.inference_mode():
                results[rows] = function(batch.ids.to(device), batch.keep.to(device)).float().cpu().numpy()
        return results
