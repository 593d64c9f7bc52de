"""The n-gram branch: a linear model of whole texts. B batch, F features, L outputs."""

import torch
from torch import Tensor, nn

from selfattn_lm.inputs import SparseRows


class NgramClassifier(nn.Module):
    """Adds up the weights of a text's n-grams, as a support vector machine on TF-IDF does.

    It is solved before the first step of training, and nothing in it is trained after that: all of
    it are buffers. With 8 bits a weight is rounded by less than half a hundredth of the largest.

    Args:
        features: The number of n-grams F.
        outputs: The number of outputs L.
    """

    hashes: Tensor
    idf: Tensor
    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        # By the first two a text's n-grams are found and weighed: `features.weighted_ngrams`.
        self.register_buffer("hashes", torch.zeros(features, dtype=torch.int32))
        self.register_buffer("idf", torch.zeros(features, dtype=torch.float16))
        self.register_buffer("weight", torch.zeros(features, outputs, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(outputs))
        self.register_buffer("bias", torch.zeros(outputs))

    @property
    def bytes(self) -> int:
        """The size of the branch in a file."""
        return sum(buffer.nbytes for buffer in self.buffers())

    def set_weights(self, weight: Tensor, bias: Tensor) -> None:
        """Set the weights (F, L), rounded to 127ths of each output's largest, and the bias (L,)."""
        self.scale.copy_(weight.abs().amax(0).clamp(min=1e-12) / 127)
        self.weight.copy_((weight / self.scale).round())
        self.bias.copy_(bias)

    def forward(self, rows: SparseRows) -> Tensor:
        """Compute the logits of texts, given their weighted n-grams: (B, F) -> (B, L)."""
        weight = self.weight[rows.columns].float()  # (values, L)
        places = torch.arange(len(weight), dtype=torch.int32, device=weight.device)
        return rows._replace(columns=places).times(weight) * self.scale + self.bias
