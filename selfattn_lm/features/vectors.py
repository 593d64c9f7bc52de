"""Sequences of vectors as the model reads them: standardised, and of a bounded length.

B batch, T vectors of a sequence, F features of a vector, V vectors of all sequences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from selfattn_lm.data.vectors import Vectors
from selfattn_lm.inputs import Inputs
from selfattn_lm.phrases import counted


@dataclass(frozen=True)
class Standardization:
    """Gives each feature the mean 0 and the standard deviation 1 that it had in training.

    Attributes:
        mean: The mean of each feature: float32 (F,).
        std: Its standard deviation; 1 for a feature that was constant: float32 (F,).
    """

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def fit(cls, sequences: Sequence[Vectors]) -> "Standardization":
        """Measure the mean and the standard deviation over the vectors of all sequences."""
        vectors = np.concatenate([sequence.values for sequence in sequences])  # (V, F)
        mean = vectors.mean(0, dtype=np.float64)
        std = vectors.std(0, dtype=np.float64)
        std[std <= 1e-6 * np.abs(mean)] = 1  # also where both are 0
        return cls(mean.astype(np.float32), std.astype(np.float32))

    @property
    def features(self) -> int:
        """The number F of features."""
        return len(self.mean)

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Standardise vectors: float32 (V, F) -> float32 (V, F)."""
        return np.asarray((vectors - self.mean) / self.std, np.float32)

    def problem(self, item: Any) -> str:
        """Say why a run cannot read an item: a text, or other vectors; empty if it can."""
        if not isinstance(item, Vectors):
            return "not a sequence of vectors, on which the run was trained"
        if item.features != self.features:
            found = counted(item.features, "feature")
            return f"vectors of {found}, but the run was trained on vectors of {self.features}"
        return ""

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for `features.json`."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Standardization":
        """Build it from the values of `features.json`.

        Raises:
            ValueError: The values are not two lists of as many finite numbers.
        """
        mean = np.array(values["mean"], np.float32)
        std = np.array(values["std"], np.float32)
        is_valid = mean.ndim == 1 and mean.shape == std.shape and len(mean) > 0
        if not is_valid or not np.isfinite(mean).all() or not (std > 0).all():
            raise ValueError("not the mean and the standard deviation of features")
        return cls(mean, std)


# What turns texts into token ids, or sequences into standardised vectors.
Featurizer = Tokenizer | Standardization


@dataclass(frozen=True)
class VectorSequences:
    """Standardised vectors of many sequences, one sequence after the other.

    Attributes:
        vectors: The vectors of all sequences: float32 (V, F).
        starts: Where each sequence begins in `vectors`: int64 (sequences,).
        lengths: The number of vectors of each sequence: int64 (sequences,).
        full_lengths: The number of vectors that each one had before: int64 (sequences,).
    """

    vectors: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    full_lengths: np.ndarray

    @classmethod
    def of(
        cls, sequences: Sequence[Vectors], standardization: Standardization, max_length: int
    ) -> "VectorSequences":
        """Standardise sequences, and subsample those of more than `max_length` vectors."""
        standardised = []
        for sequence in sequences:
            standardised.append(subsample(standardization.apply(sequence.values), max_length))
        lengths = np.array([len(vectors) for vectors in standardised], np.int64)
        together = np.zeros((0, standardization.features), np.float32)
        return cls(
            vectors=np.concatenate([together, *standardised]),
            starts=np.cumsum(lengths) - lengths,
            lengths=lengths,
            full_lengths=np.array([len(sequence) for sequence in sequences], np.int64),
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.vectors[self.starts[i] : self.starts[i] + self.lengths[i]]

    @property
    def total(self) -> int:
        """The number of vectors of all sequences."""
        return int(self.lengths.sum())

    def batch(self, rows: Sequence[int] | np.ndarray, min_length: int = 0) -> Inputs:
        """Put some sequences into one batch, padded with 0 to the longest or to `min_length`."""
        lengths = self.lengths[rows]
        columns = np.arange(max(min_length, lengths.max()))
        attention_mask = columns < lengths[:, None]  # (B, T)
        vectors = np.zeros((*attention_mask.shape, self.vectors.shape[1]), np.float32)
        vectors[attention_mask] = np.concatenate([self[i] for i in rows])
        return Inputs(torch.from_numpy(vectors), torch.from_numpy(attention_mask))

    def truncation(self) -> dict[str, float]:
        """The fraction of the sequences that are subsampled, and by how much all vectors shrank."""
        lost = self.full_lengths - self.lengths  # (sequences,)
        return {
            "texts_cut": float((lost > 0).mean()),
            "tokens_lost": int(lost.sum()) / int(self.full_lengths.sum()),
        }


def subsample(vectors: np.ndarray, max_length: int) -> np.ndarray:
    """Shorten a sequence to `max_length` vectors, each the mean of its neighbours.

    A shorter one is returned as it is: (T, F) -> (min(T, max_length), F).
    """
    length = len(vectors)
    if length <= max_length:
        return vectors
    edges = np.linspace(0, length, max_length + 1).astype(np.int64)  # no two are equal
    counts = np.diff(edges)
    sums = np.add.reduceat(vectors, edges[:-1], axis=0)
    return np.asarray(sums / counts[:, None], np.float32)
