"""The scripts that classify recordings and images as sequences of vectors."""

import importlib.util
import logging
import re
import sys
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import image
import log_mel
import numpy as np
import pytest
import speech
import support
from helpers import ctrl_c_at

from selfattn_lm import UserError

TINY: dict[str, Any] = {"epochs": 1, "width": 8, "heads": 1, "layers": 1}


def write_wav(
    path: Path, samples: np.ndarray, *, rate: int = 8000, channels: int = 1, width: int = 2
) -> Path:
    """Write samples from -1 to 1 as PCM."""
    if width == 1:
        data = np.round(samples * 127 + 128).astype(np.uint8).tobytes()
    else:
        data = np.round(samples * 32767).astype("<i2").tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return path


def tone(hertz: float, samples: int = 1600) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / 8000)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Tones of three speakers, high for 1 and low for 0, with indices of all three splits."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for number, speaker in enumerate(("ann", "bob", "cy")):
        for index in (0, 5, 10, 11):
            for digit in (0, 1):
                pitch = 300 + 1500 * digit + 20 * number + index
                write_wav(folder / f"{digit}_{speaker}_{index}.wav", tone(pitch))
    return folder


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """Restore the level of the package's log, which the scripts raise."""
    package_log = logging.getLogger("selfattn_lm")
    level = package_log.level
    yield
    package_log.setLevel(level)


def run(
    main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, name: str, *arguments: Path | str
) -> int:
    """Run a script as from a shell; returns its exit code."""
    given = [str(argument) for argument in arguments]
    monkeypatch.setattr(sys, "argv", [f"scripts/{name}.py", *given])
    return support.run_script(main)


@pytest.mark.parametrize(("width", "precision"), [(1, 1 / 100), (2, 1 / 10_000)])
def test_samples_of_8_and_16_bits_are_read(tmp_path: Path, width: int, precision: float) -> None:
    samples = np.array([0.0, 0.5, -0.5, 0.99, -0.99])
    path = write_wav(tmp_path / "a.wav", samples, width=width)
    np.testing.assert_allclose(log_mel.read_wav(path), samples, atol=precision)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (200, 1), (279, 1), (280, 2), (8000, 98)])
def test_a_frame_begins_every_10_ms_and_lasts_25_ms(samples: int, frames: int) -> None:
    assert log_mel.log_mel(np.zeros(samples)).shape == (frames, log_mel.BANDS)


def test_a_frame_is_what_its_formula_says() -> None:
    samples = np.random.default_rng(0).normal(size=500) / 10
    start = 2 * 80  # of the third frame
    numbers = np.arange(200)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * numbers / 199)
    windowed = samples[start : start + 200] * hann
    bins = np.arange(257)
    waves = np.exp(-2j * np.pi * np.outer(bins, numbers) / 512)
    power = np.abs(waves @ windowed) ** 2

    top = 2595 * np.log10(1 + 4000 / 700)
    corners = [700 * (10 ** (top * i / 41 / 2595) - 1) for i in range(42)]
    expected = []
    for band in range(40):
        triangle = np.interp(bins * 15.625, corners[band : band + 3], [0, 1, 0])
        expected.append(np.log(triangle @ power + 1e-6))
    np.testing.assert_allclose(log_mel.log_mel(samples)[2], expected, rtol=1e-4)


def test_no_band_is_empty_and_each_peaks_at_its_centre() -> None:
    filters = log_mel.mel_filters()
    assert filters.shape == (40, 257)
    assert (filters.sum(1) > 0).all()
    peaks = filters.argmax(1)
    assert (np.diff(peaks) > 0).all()


@pytest.mark.parametrize("hertz", [250.0, 1000.0, 3000.0])
def test_a_pure_tone_is_loudest_in_its_band(hertz: float) -> None:
    frames = log_mel.log_mel(tone(hertz))
    mel = 2595 * np.log10(1 + hertz / 700)
    band = mel / (2595 * np.log10(1 + 4000 / 700) / 41) - 1  # of which it is the centre
    assert abs(frames.mean(0).argmax() - band) <= 1


def test_silence_has_finite_frames() -> None:
    np.testing.assert_allclose(log_mel.log_mel(np.zeros(400)), np.log(1e-6), rtol=1e-6)


def test_the_customary_test_split_has_the_indices_below_5(recordings: Path) -> None:
    parts = speech.divide(speech.read_recordings(recordings), "customary", recordings)
    indices = {name: {row.index for row in part} for name, part in parts.items()}
    assert indices == {"train": {10, 11}, "validation": {5}, "test": {0}}


def test_a_speaker_left_out_is_in_the_test_split_alone(recordings: Path) -> None:
    parts = speech.divide(speech.read_recordings(recordings), "cy", recordings)
    speakers = {name: {row.speaker for row in part} for name, part in parts.items()}
    assert speakers == {"train": {"bob"}, "validation": {"ann"}, "test": {"cy"}}


@pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")
def test_speech_trains_on_each_split_and_continues(
    recordings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(speech, "SETTINGS", {**speech.SETTINGS, **TINY})
    out = tmp_path / "out"
    assert run(speech.main, monkeypatch, "speech", recordings, "--out", out) == 0
    table = capsys.readouterr().out
    names = [line.split("|")[1].strip() for line in table.strip().splitlines()]
    splits = [name for split in ("customary", "ann", "bob", "cy") for name in (split, split)]
    assert names[2:] == [*splits, "mean of 3 speakers", "mean of 3 speakers"]

    (out / "cells" / "bob-linear.json").unlink()
    monkeypatch.setattr(speech, "train_and_score", None)  # nothing is trained a second time
    assert run(speech.main, monkeypatch, "speech", recordings, "--out", out) == 0
    assert capsys.readouterr().out.count("customary") == 2


def test_image_trains_each_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(image, "SETTINGS", {**image.SETTINGS, **TINY})
    few = (("rows", "attention, none"), ("patches", "cnn"), ("all pixels at once", "svm"))
    monkeypatch.setattr(image, "MODELS", few)
    assert run(image.main, monkeypatch, "image", "--out", tmp_path / "out") == 0
    assert len(capsys.readouterr().out.strip().splitlines()) == 2 + len(few)


def test_a_stopped_training_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(image, "SETTINGS", {**image.SETTINGS, **TINY, "epochs": 3})
    out = tmp_path / "out"
    with ctrl_c_at(30):
        assert run(image.main, monkeypatch, "image", "--out", out) == 130
    reason = "stopped; finished cells are saved; repeat the command to continue"
    assert capsys.readouterr().err.endswith(f"image: {out}: {reason}.\n")
    assert not (out / "cells").exists()


def test_an_image_is_arranged_in_rows_patches_and_pixels() -> None:
    picture = np.arange(64.0).reshape(1, 8, 8)
    assert image.arrange(picture, "rows")[0, 1].tolist() == list(range(8, 16))
    patches = image.arrange(picture, "patches")
    assert patches.shape == (1, 16, 4)
    assert patches[0, 1].tolist() == [2, 3, 10, 11]
    assert patches[0, 4].tolist() == [16, 17, 24, 25]
    assert image.arrange(picture, "pixels")[0, 10].tolist() == [10]
    assert image.arrange(picture, "pixels with coordinates")[0, 10].tolist() == [10, 1, 2]


def test_every_fifth_image_is_for_the_test() -> None:
    split = image.split_rows(20)
    assert split["test"].tolist() == [0, 5, 10, 15]
    assert split["validation"].tolist() == [1, 11]
    assert len(split["train"]) == 14


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"channels": 2}, "has 2 channels"), ({"rate": 16000}, "has 16,000 samples/s")],
)
def test_other_recordings_are_refused(
    options: dict[str, Any],
    problem: str,
    recordings: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_wav(recordings / "3_ann_7.wav", tone(500), **options)
    assert run(speech.main, monkeypatch, "speech", recordings) == 2
    advice = "convert it to wav (PCM), 8 kHz, mono, 8 or 16 bits"
    assert capsys.readouterr().err == f"speech: {path}: {problem}; {advice}.\n"


def test_a_file_that_is_no_wav_is_refused(recordings: Path) -> None:
    path = recordings / "3_ann_7.wav"
    path.write_bytes(b"")
    with pytest.raises(UserError) as error:
        log_mel.read_wav(path)
    advice = "convert it to wav (PCM), 8 kHz, mono, 8 or 16 bits"
    assert str(error.value) == f"{path}: cannot be read (it ends too early); {advice}."


def test_a_recording_without_samples_is_refused(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "3_ann_7.wav", np.zeros(0))
    with pytest.raises(UserError) as error:
        log_mel.read_wav(path)
    assert str(error.value) == f"{path}: holds no samples; remove it."


def test_a_name_of_another_form_is_refused(recordings: Path) -> None:
    path = write_wav(recordings / "seven.wav", tone(500))
    with pytest.raises(UserError) as error:
        speech.read_recordings(recordings)
    expected = f"{path}: is not named digit_speaker_index.wav; rename or remove it."
    assert str(error.value) == expected


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        speech.read_recordings(tmp_path)
    advice = "name a folder with recordings such as 7_jackson_0.wav"
    assert str(error.value) == f"{tmp_path}: holds no wav files; {advice}."


def test_a_split_without_recordings_is_refused(recordings: Path) -> None:
    rows = [row for row in speech.read_recordings(recordings) if row.index >= 5]
    with pytest.raises(UserError) as error:
        speech.divide(rows, "customary", recordings)
    advice = "record three speakers or more, with indices below 5, from 5 to 9 and above"
    expected = f"{recordings}: the split customary has no test recordings; {advice}."
    assert str(error.value) == expected


def test_the_python_of_the_page_on_vectors_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parent.parent / "docs" / "vectors.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    (shown,) = re.findall(r"^print\(.*  # (.*)$", block, flags=re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "vectors.md", "exec"), {})
    assert capsys.readouterr().out == f"{shown}\n"


def test_a_missing_scikit_learn_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find_nothing(name: str) -> None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", find_nothing)
    assert run(image.main, monkeypatch, "image", "--out", tmp_path) == 2
    advice = "pip install 'selfattn_lm[study]'"
    reason = "scikit-learn is missing, which trains the models beside ours"
    assert capsys.readouterr().err == f"image: {reason}; {advice}.\n"
