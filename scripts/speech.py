"""Recognise spoken digits: a recording becomes a sequence of vectors, one every 10 ms.

    python scripts/speech.py FOLDER --out runs/speech

FOLDER holds recordings named digit_speaker_index.wav (8 kHz, mono), such as those of the free
spoken digit dataset. It answers two questions:

- How well does a model know new recordings of the speakers that it was trained on? By custom, the
  recordings with index 0 to 4 are the test split.
- How well does it know a new speaker? Each speaker in turn is left out of training.

Beside attention, a linear model reads the mean of each recording's vectors: it knows which
frequencies were loud, but not when. What is finished stays in --out; a stopped script continues.
"""

import argparse
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from log_mel import log_mel, read_wav
from support import (
    SCORE_HEADINGS,
    Rows,
    print_table,
    require_scikit_learn,
    run_script,
    score,
    score_cells,
    train_and_score,
)

from selfattn_lm import UserError
from selfattn_lm.studies.grid import Cell, Grid

# Chosen on the validation splits; docs/vectors.md says how.
SETTINGS: dict[str, Any] = {
    "seed": 0,
    "epochs": 15,
    "bag_branch": False,
    "dropout": 0.2,
    "embedding_dropout": 0.1,
}


@dataclass(frozen=True)
class Recording:
    """A recording: the frames (T, F) that a model reads, its label, and what splits go by."""

    frames: np.ndarray
    digit: int
    speaker: str
    index: int


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


def speakers_of(recordings: list[Recording]) -> list[str]:
    """The names of the speakers, in order."""
    return sorted({recording.speaker for recording in recordings})


def split_of(recording: Recording, split: str, speakers: list[str]) -> str:
    """Whether a recording is for train, validation or test.

    Args:
        recording: The recording.
        split: `customary`, or the speaker who is left out.
        speakers: All speakers, in order.
    """
    if split == "customary":
        if recording.index < 5:
            return "test"
        if recording.index < 10:
            return "validation"
        return "train"
    if recording.speaker == split:
        return "test"
    # The weights are chosen by another unknown speaker, the next one in order.
    next_speaker = speakers[(speakers.index(split) + 1) % len(speakers)]
    if recording.speaker == next_speaker:
        return "validation"
    return "train"


def divide(recordings: list[Recording], split: str, folder: Path) -> dict[str, list[Recording]]:
    """Divide the recordings into train, validation and test."""
    speakers = speakers_of(recordings)
    parts: dict[str, list[Recording]] = {"train": [], "validation": [], "test": []}
    for recording in recordings:
        parts[split_of(recording, split, speakers)].append(recording)
    for name, part in parts.items():
        if not part:
            advice = "record three speakers or more, with indices below 5, from 5 to 9 and above"
            raise UserError(f"{folder}: the split {split} has no {name} recordings; {advice}.")
    return parts


def rows_of(recordings: list[Recording], split: str) -> Rows:
    """What attention reads: frames, without their mean where the speaker is new.

    The mean of a recording's frames depends on the voice and the microphone. Speakers who are known
    are recognised by it, which helps; one who is not is only made to seem like another.
    """
    sequences = []
    for recording in recordings:
        frames = recording.frames
        if split != "customary":
            frames = frames - frames.mean(0)
        sequences.append(frames)
    return sequences, digits_of(recordings)


def digits_of(recordings: list[Recording]) -> np.ndarray:
    """The label of each recording."""
    return np.array([recording.digit for recording in recordings])


def mean_frames(recordings: list[Recording]) -> np.ndarray:
    """What the linear model reads: the mean frame of each recording, (recordings, F)."""
    return np.stack([recording.frames.mean(0) for recording in recordings])


def train_linear(train: list[Recording], test: list[Recording]) -> dict[str, Any]:
    """Train logistic regression on mean frames and score it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    started = time.monotonic()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(mean_frames(train), digits_of(train))
    seconds = time.monotonic() - started
    return score(model.predict(mean_frames(test)), digits_of(test), seconds)


def print_results(results: list[dict[str, Any]]) -> None:
    """Print a line per split and model, then the mean and the worst of the speakers left out."""
    lines = []
    for result in results:
        lines.append([result["split"], result["model"], *score_cells(result)])
    for model in ("attention", "linear"):
        left_out = []
        for result in results:
            if result["model"] == model and result["split"] != "customary":
                left_out.append(100 * result["accuracy"]["value"])
        mean_and_worst = f"{np.mean(left_out):.1f}, worst {min(left_out):.1f}"
        lines.append([f"mean of {len(left_out)} speakers", model, "", mean_and_worst, "", ""])
    print_table(["test split", "model", *SCORE_HEADINGS], lines)


def main() -> None:
    """Train on each split, and print the table."""
    parser = argparse.ArgumentParser(description="Recognise spoken digits with self-attention.")
    parser.add_argument("folder", type=Path, help="recordings named digit_speaker_index.wav")
    parser.add_argument("--out", type=Path, default=Path("runs/speech"), help="results and models")
    arguments = parser.parse_args()
    require_scikit_learn()
    recordings = read_recordings(arguments.folder)

    speakers = speakers_of(recordings)
    divided = {}
    for split in ["customary", *speakers]:
        divided[split] = divide(recordings, split, arguments.folder)

    def compute(cell: Cell) -> dict[str, Any]:
        parts = divided[cell["split"]]
        if cell["model"] == "linear":  # it has nothing to choose, so it also learns from validation
            return train_linear(parts["train"] + parts["validation"], parts["test"])
        train, validation, test = (rows_of(part, cell["split"]) for part in parts.values())
        out = arguments.out / "models" / cell["split"]
        return train_and_score(train, validation, test, out, SETTINGS)

    cells: list[Cell] = []
    for split in divided:
        for model in ("attention", "linear"):
            cells.append({"split": split, "model": model})
    facts = {"settings": SETTINGS, "recordings": len(recordings), "speakers": speakers}
    print_results(Grid(arguments.out, facts).fill(cells, compute))


if __name__ == "__main__":
    sys.exit(run_script(main))
