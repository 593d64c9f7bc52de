"""The baselines that show what attention adds, each behind the encoder's interface. B batch, T tokens, C width."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from selfattn_lm.nn.dropout import Dropout


class Bag(nn.Module):
    """A bag of embeddings, blind to order (Joulin et al. 2016, 1607.01759): (B, T, C), (B, T) -> (B, T, C)."""

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the embedded tokens unchanged."""
        return x


class Cnn(nn.Module):
    """Sees tokens in windows of 1, 3 and 5 (Kim 2014, 1408.5882): (B, T, C), (B, T) -> (B, T, C)."""

    def __init__(self, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_Windows(width) for _ in range(layers)])
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        """All layers: (B, T, C), (B, T) -> (B, T, C)."""
        for layer in self.layers:
            x = self.drop(layer(x * attention_mask[..., None]))  # padding is zero, as is what lies beyond the text
        return x


class _Windows(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = (1, 3, 5)
        parts = [width // len(sizes) + (i < width % len(sizes)) for i in range(len(sizes))]
        pairs = [(size, part) for size, part in zip(sizes, parts, strict=True) if part]
        self.convolutions = nn.ModuleList([nn.Conv1d(width, part, size, padding=size // 2) for size, part in pairs])

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C), a share of C for each window size."""
        x = x.transpose(1, 2)  # (B, C, T)
        return torch.cat([convolution(x) for convolution in self.convolutions], dim=1).transpose(1, 2).relu()


class Lstm(nn.Module):
    """Carries a memory along the text both ways (Hochreiter & Schmidhuber 1997): (B, T, C), (B, T) -> (B, T, C)."""

    def __init__(self, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"two directions share the width, which must be even, not {width}")
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(width, width // 2, layers, batch_first=True, bidirectional=True, dropout=between)
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        """Both directions side by side: (B, T, C), (B, T) -> (B, T, C)."""
        # Packed, so that the backward direction begins at each text's own end and padding changes nothing.
        packed = pack_padded_sequence(x, attention_mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        states: Tensor = self.drop(pad_packed_sequence(self.lstm(packed)[0], True, total_length=x.shape[1])[0])
        return states
