"""What the model reads: a batch of inputs, and the targets beside it. B batch, T tokens."""

from typing import NamedTuple

import torch
from torch import Tensor


class Inputs(NamedTuple):
    """A batch of padded texts.

    Attributes:
        ids: Token ids, 0 for padding: (B, T) int64.
        attention_mask: True where there is a token, False for padding: (B, T) bool. Each text has
            at least one token.
        types: The type of each token, such as 0 in a first text and 1 in a second: (B, T) int64;
            None if all tokens are of type 0.
        ngrams: The buckets of the n-grams that end at each token, of 2, 3, … N tokens:
            (B, T, N - 1) int64; None for a model without n-grams. `features.ngrams` computes them.
            For pairs of texts there are further columns, with what compares the texts.
    """

    ids: Tensor
    attention_mask: Tensor
    types: Tensor | None = None
    ngrams: Tensor | None = None

    def to(self, device: str | torch.device) -> "Inputs":
        """Copy all tensors to a device."""
        moved = []
        for tensor in self:
            if tensor is not None:
                tensor = tensor.to(device)
            moved.append(tensor)
        return Inputs(*moved)  # type: ignore[arg-type]  # the first two are never None


class Batch(NamedTuple):
    """Inputs with their targets, as a task encodes them; for one label per text (B,) int64."""

    inputs: Inputs
    targets: Tensor
