"""A recurrent encoder that reads from both ends (Hochreiter & Schmidhuber 1997). B batch, T tokens, C width."""

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Lstm(nn.Module):
    """Carries a memory along the text in each direction: (B, T, C), (B, T) -> (B, T, C)."""

    def __init__(self, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"two directions share the width, which must be even, not {width}")
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(width, width // 2, layers, batch_first=True, bidirectional=True, dropout=between)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """Both directions side by side: (B, T, C), (B, T) -> (B, T, C)."""
        # Packed, so that the backward direction begins at each text's own end and padding changes nothing.
        packed = pack_padded_sequence(x, keep.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        states: Tensor = self.drop(pad_packed_sequence(self.lstm(packed)[0], True, total_length=x.shape[1])[0])
        return states
