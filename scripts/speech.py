"""Recognise spoken digits: a recording becomes a sequence of vectors, one every 10 ms.

    python scripts/speech.py FOLDER --out runs/speech

FOLDER holds recordings named digit_speaker_index.wav (8 kHz, mono), such as those of the free
spoken digit dataset. Two questions are asked:

- How well does a model know new recordings of the speakers that it was trained on? By custom, the
  recordings with index 0 to 4 are the test split.
- How well does it know a new speaker? Each speaker in turn is left out of training.

Beside attention, a linear model reads the mean of each recording's vectors: it knows which
frequencies were loud, but not when. What is finished stays in --out; a stopped script continues.
"""

import argparse
import re
import time
import wave
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from support import Rows, print_table, require_scikit_learn, run_script, score, train_and_score

from selfattn_lm import UserError
from selfattn_lm.studies.grid import Cell, Grid

RATE = 8000  # samples per second
WINDOW = 200  # samples of a frame, 25 ms: long enough to hear a pitch, short enough for a sound
STEP = 80  # from one frame to the next, 10 ms
FFT = 512  # a window is padded with zeros to this length, so that the lowest bands are not empty
BANDS = 40  # numbers per frame
CONVERT = "convert it to wav (PCM), 8 kHz, mono, 8 or 16 bits"
# Chosen on the validation splits; docs/vectors.md says how.
SETTINGS: dict[str, Any] = {"seed": 0, "epochs": 20, "bag_branch": False}


class Recording(NamedTuple):
    """A recording: the frames (T, F) that a model reads, its label, and what splits go by."""

    frames: np.ndarray
    digit: int
    speaker: str
    index: int


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
    return np.log(energies + 1e-6).astype(np.float32)  # + 1e-6: silence has a logarithm too


def read_recordings(folder: Path) -> list[Recording]:
    """Read all recordings of a folder, in the order of their names."""
    recordings = []
    for path in sorted(folder.glob("*.wav")):
        name = re.fullmatch(r"(\d)_([^_]+)_(\d+)", path.stem)
        if name is None:
            raise UserError(f"{path}: is not named digit_speaker_index.wav; rename or remove it.")
        digit, speaker, index = name.groups()
        frames = log_mel(read_wav(path))
        recordings.append(Recording(frames, int(digit), speaker, int(index)))
    if not recordings:
        advice = "name a folder with recordings such as 7_jackson_0.wav"
        raise UserError(f"{folder}: holds no wav files; {advice}.")
    return recordings


def split_names(recordings: list[Recording], split: str) -> list[str]:
    """Which of train, validation and test each recording belongs to."""
    speakers = sorted({recording.speaker for recording in recordings})
    ...
