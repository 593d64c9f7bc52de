"""What the model reads: a batch of inputs, and the targets beside it.

B batch, T tokens, F features of a vector.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


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
    """

    tokens: Tensor
    attention_mask: Tensor
    types: Tensor | None = None
    ngrams: Tensor | None = None
    documents: Tensor | None = None

    def to(self, device: str | torch.device) -> "Inputs":
        """Copy all tensors to a device."""
        moved = []
        for tensor in self:
            if tensor is not None:
                tensor = tensor.to(device)
            moved.append(tensor)
        return Inputs(*moved)  # type: ignore[arg-type]  # the first two are never None

    def split(self, rows: int) -> list["Inputs"]:
        """Divide the batch into batches of at most `rows` rows, in their order."""
        parts = []
        for start in range(0, len(self.tokens), rows):
            part = []
            for tensor in self:
                if tensor is not None:
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
