"""A bag of embeddings, blind to order: the baseline that shows what an encoder adds (Joulin et al. 2016, 1607.01759)."""

from torch import Tensor, nn


class Bag(nn.Module):
    """Leaves each token's vector as it is: (B, T, C), (B, T) -> (B, T, C)."""

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """Return the embedded tokens unchanged."""
        return x
