"""What the model reads: a batch of inputs, and the targets beside it.

B batch, T tokens, F features of a vector or columns of a matrix, L outputs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class SparseRows(NamedTuple):
    """A sparse matrix (rows, F), row by row.

    Attributes:
        columns: The columns of the values, row after row: int32 (values,).
        offsets: Where each row begins in `columns`, and the number of values: int32 (rows + 1,).
        values: The values: float32 (values,).
    """

    columns: Tensor
    offsets: Tensor
    values: Tensor

    @property
    def height(self) -> int:
        """The number of rows; `len` of a tuple is that of its fields."""
        return len(self.offsets) - 1

    def to(self, device: str | torch.device) -> "SparseRows":
        """Copy all tensors to a device."""
        return SparseRows(*[tensor.to(device) for tensor in self])

    def select(self, rows: Sequence[int] | np.ndarray) -> "SparseRows":
        """Copy some rows, in the order given."""
        chosen = torch.as_tensor(rows, dtype=torch.int64)
        starts = self.offsets[chosen]
        lengths = self.offsets[chosen + 1] - starts
        offsets = F.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
        # Each value's distance to the first one of its row, and from there its place.
        shifts = torch.repeat_interleave(starts - offsets[:-1], lengths)
        places = torch.arange(len(shifts)) + shifts
        return SparseRows(self.columns[places], offsets, self.values[places])

    def times(self, matrix: Tensor) -> Tensor:
        """Compute the product with a dense matrix: (F, L) -> (rows, L).

        An embedding bag is this product. Unlike torch's sparse matrices it needs no MKL, and it
        adds up each row in order, so that it gives the same bytes each time.
        """
        return F.embedding_bag(
            self.columns,
            matrix,
            self.offsets,
            mode="sum",
            per_sample_weights=self.values,
            include_last_offset=True,
        )


class Inputs(NamedTuple):
    """A batch of padded texts, pairs, windows of texts, or sequences of vectors.

    Attributes:
        tokens: Token ids: (B, T) int64; or vectors in their place: (B, T, F) float32. Padding is 0.
        attention_mask: True where there is a token, False for padding: (B, T) bool. Each text has
            at least one token.
        types: The type of each token, such as 0 in a first text and 1 in a second: (B, T) int64;
            None if all tokens are of type 0.
        ngrams: The buckets of the n-grams that end at each token, of 2, 3, … N tokens:
            (B, T, N - 1) int64; None for a model without n-grams. `features.ngrams` computes them.
            For pairs of texts there are further columns, with what compares the texts.
        documents: The number of each row's text in the batch, where the rows are windows of D
            texts: (B,) int64; None if each row is a text.
        weighted_ngrams: The weights of all n-grams of each text, also beyond its T tokens: a sparse
            matrix (B, F), or (D, F) where `documents` says which rows are of one text; None for a
            model without an n-gram branch. `features.weighted_ngrams` computes them.
    """

    tokens: Tensor
    attention_mask: Tensor
    types: Tensor | None = None
    ngrams: Tensor | None = None
    documents: Tensor | None = None
    weighted_ngrams: SparseRows | None = None

    def to(self, device: str | torch.device) -> "Inputs":
        """Copy all tensors to a device."""
        moved = []
        for tensor in self:
            if tensor is not None:
                tensor = tensor.to(device)
            moved.append(tensor)
        return Inputs(*moved)  # type: ignore[arg-type]  # the first two are never None

    def split(self, rows: int) -> list["Inputs"]:
        """Divide the batch into batches of at most `rows` rows, in their order.

        They have no weighted n-grams, which may be of fewer rows.
        """
        parts = []
        *tensors, _ = self
        for start in range(0, len(self.tokens), rows):
            part = []
            for tensor in tensors:
                if isinstance(tensor, Tensor):
                    tensor = tensor[start : start + rows]
                part.append(tensor)
            parts.append(Inputs(*part))  # type: ignore[arg-type]
        return parts


def pool_documents(values: Tensor, documents: Tensor) -> Tensor:
    """Compute the mean over the windows of each text: (..., B, L), (B,) -> (..., D, L).

    The numbers in `documents` rise from 0, and none is left out.
    """
    belongs = F.one_hot(documents).T.to(values.dtype)  # (D, B)
    weights = belongs / belongs.sum(1, keepdim=True)
    return weights @ values


class Batch(NamedTuple):
    """Inputs with their targets, as a task encodes them; for one label per text (B,) int64."""

    inputs: Inputs
    targets: Tensor
