"""Baselines that show what attention adds, with the encoder's interface.

B batch, T tokens, C width. Each is (B, T, C), mask (B, T) -> (B, T, C).
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from selfattn_lm.nn.dropout import Dropout

WINDOWS = (1, 3, 5)  # tokens that one convolution sees


class Bag(nn.Module):
    """A bag of embeddings, blind to order (Joulin et al. 2016, 1607.01759)."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the embedded tokens unchanged."""
        return x


class Cnn(nn.Module):
    """Convolutions over windows of 1, 3 and 5 tokens (Kim 2014, 1408.5882)."""

    def __init__(self, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList([CnnLayer(width) for _ in range(layers)])
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Compute all layers: (B, T, C), (B, T) -> (B, T, C)."""
        for layer in self.layers:
            without_padding = x * mask[..., None]  # zero, like what lies beyond the batch
            x = self.drop(layer(without_padding))
        return x


class CnnLayer(nn.Module):
    """One convolution for each window size, each of which computes a part of the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList()
        for number, window in enumerate(WINDOWS):
            part = width // len(WINDOWS)
            if number < width % len(WINDOWS):  # the first ones take what is left over
                part += 1
            if part > 0:
                convolution = nn.Conv1d(width, part, window, padding=window // 2)
                self.convolutions.append(convolution)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer: (B, T, C) -> (B, T, C)."""
        x = x.transpose(1, 2)  # (B, C, T)
        parts = [convolution(x) for convolution in self.convolutions]
        return torch.cat(parts, dim=1).transpose(1, 2).relu()


class Lstm(nn.Module):
    """An LSTM that reads the text in both directions (Hochreiter & Schmidhuber 1997)."""

    def __init__(self, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"two directions share the width, which must be even, not {width}")
        between_layers = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(
            width, width // 2, layers, batch_first=True, bidirectional=True, dropout=between_layers
        )
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Compute both directions, side by side: (B, T, C), (B, T) -> (B, T, C)."""
        # Packed, so that the backward direction begins at the end of each text, not in its padding.
        lengths = mask.sum(1).cpu()
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(
            self.lstm(packed)[0], batch_first=True, total_length=x.shape[1]
        )
        dropped: Tensor = self.drop(states)
        return dropped
