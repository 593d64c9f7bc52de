"""From a recording to vectors: how loud each band of frequencies is, every 10 ms."""

import wave
from pathlib import Path

import numpy as np

from selfattn_lm import UserError

RATE = 8000  # samples per second
WINDOW = 200  # samples of a frame, 25 ms: long enough to hear a pitch, short enough for a sound
STEP = 80  # from one frame to the next, 10 ms
FFT = 512  # a window is padded with zeros to this length, so that the lowest bands are not empty
BANDS = 40  # numbers per frame
CONVERT = "convert it to wav (PCM), 8 kHz, mono, 8 or 16 bits"


def read_wav(path: Path) -> np.ndarray:
    """Read the samples of a recording, from -1 to 1: float64 (samples,)."""
    try:
        with wave.open(str(path)) as file:
            if file.getnchannels() != 1:
                raise UserError(f"{path}: has {file.getnchannels()} channels; {CONVERT}.")
            if file.getframerate() != RATE:
                raise UserError(f"{path}: has {file.getframerate():,} samples/s; {CONVERT}.")
            bits = 8 * file.getsampwidth()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError, OSError) as error:
        reason = str(error) or "it ends too early"
        raise UserError(f"{path}: cannot be read ({reason}); {CONVERT}.") from None
    if not data:
        raise UserError(f"{path}: holds no samples; remove it.")
    if bits == 8:  # by convention without a sign, where 128 is silence
        return np.frombuffer(data, np.uint8) / 128 - 1
    if bits == 16:
        return np.frombuffer(data, "<i2") / 32768
    raise UserError(f"{path}: has {bits} bits per sample; {CONVERT}.")


def mel_filters() -> np.ndarray:
    """Weights that sum a spectrum within each band: (F, FFT / 2 + 1).

    Bands are as wide as the ear is exact: they widen with the frequency. Each is a triangle from
    the centre of the band before it to the centre of the band after it.
    """
    highest_mel = 2595 * np.log10(1 + RATE / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, highest_mel, BANDS + 2) / 2595) - 1)  # in Hz
    left, centre, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    frequencies = np.arange(FFT // 2 + 1) * RATE / FFT
    rising = (frequencies - left) / (centre - left)
    falling = (right - frequencies) / (right - centre)
    return np.maximum(0, np.minimum(rising, falling))


def log_mel(samples: np.ndarray) -> np.ndarray:
    """How loud each band is in each frame, as a logarithm: (samples,) -> float32 (T, F)."""
    if len(samples) < WINDOW:
        samples = np.pad(samples, (0, WINDOW - len(samples)))
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::STEP]  # (T, WINDOW)
    spectrum = np.abs(np.fft.rfft(windows * np.hanning(WINDOW), FFT)) ** 2
    energies = spectrum @ mel_filters().T
    logarithms = np.log(energies + 1e-6)  # + 1e-6: silence has a logarithm too
    return np.asarray(logarithms, np.float32)
