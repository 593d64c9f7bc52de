"""The choice of a precision: measured once, cached, recorded in runs."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers import sentences, write_csv
from torch import nn

from selfattn_lm import hardware, measurements, precision, pretrain, train
from selfattn_lm.nn import Bag
from selfattn_lm.training.callbacks import StopOnRequest

TINY: dict[str, Any] = {"width": 8, "heads": 2, "layers": 1, "epochs": 1}
LAYERS = [nn.Linear(16, 64), nn.Linear(64, 16)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a machine on which nothing has been measured, and which has bf16."""
    monkeypatch.setenv("SELFATTN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measurements, "_known", {})
    monkeypatch.setattr(hardware, "supports_bf16", lambda device: device != "mps")
    return tmp_path / "cache"


@pytest.fixture
def texts(tmp_path: Path) -> str:
    """A file of labelled texts."""
    return str(write_csv(tmp_path / "texts.csv", sentences(60)))


def measured(monkeypatch: pytest.MonkeyPatch, fp32_seconds: float, bf16_seconds: float) -> None:
    """The next measurement finds this."""
    monkeypatch.setattr(precision, "measure", lambda products: (fp32_seconds, bf16_seconds))


def never(*arguments: object, **settings: object) -> Any:
    """Must not be called."""
    raise AssertionError("must not be called")


def recorded(folder: Path) -> str:
    """The precision in a run's config.yaml."""
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert config["training"]["precision"] == "auto"
    return str(config["resolved"]["training"]["precision"])


@pytest.mark.parametrize(
    ("fp32", "bf16", "chosen"),
    [
        (1.3, 1.0, "bf16"),
        (1.29, 1.0, "32"),
        (9.0, 1.0, "bf16"),
        (1.0, 1.0, "32"),
        (1.0, 2.0, "32"),
        (0.0, 1.0, "32"),
    ],
)
def test_bf16_is_chosen_only_where_it_is_nearly_a_third_faster(
    fp32: float, bf16: float, chosen: str
) -> None:
    assert precision.faster_precision(fp32, bf16) == chosen


def test_measuring_takes_little_time_and_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    fp32_seconds, bf16_seconds = precision.measure([(32, 32), (32, 128)])
    assert 0 < fp32_seconds < 1
    assert 0 < bf16_seconds < 1
    assert torch.equal(before, torch.get_rng_state())


def test_the_products_are_those_of_linear_convolutional_and_recurrent_layers() -> None:
    conv, lstm = nn.Conv1d(6, 2, 3), nn.LSTM(6, 5, bidirectional=True)
    assert precision.products_of([nn.Sequential(nn.Linear(6, 8), nn.Linear(6, 8)), conv, lstm]) == [
        (5, 20),
        (6, 8),
        (6, 20),
        (18, 2),
    ]


def test_nothing_is_measured_where_nothing_can_be_gained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "measure", never)
    assert precision.choose_precision([Bag()], "cpu") == "32"
    assert precision.choose_precision(LAYERS, "mps") == "32"
    monkeypatch.setattr(hardware, "supports_bf16", lambda device: False)
    assert precision.choose_precision(LAYERS, "cpu") == "32"


@pytest.mark.parametrize(("seconds", "chosen"), [((2.0, 1.0), "bf16"), ((1.0, 2.0), "32")])
def test_what_was_measured_is_kept_in_the_process_and_on_the_disk(
    cache: Path, monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, float], chosen: str
) -> None:
    measured(monkeypatch, *seconds)
    assert precision.choose_precision(LAYERS, "cpu") == chosen
    monkeypatch.setattr(precision, "measure", never)
    assert precision.choose_precision(LAYERS, "cpu") == chosen  # from the process
    measurements._known.clear()
    # From the file, as in another process.
    assert precision.choose_precision(LAYERS, "cpu") == chosen
    (file,) = cache.iterdir()
    assert json.loads(file.read_text())["facts"]["products"] == [[16, 64], [64, 16]]


@pytest.mark.parametrize("change", ["shape", "instructions", "torch", "processor"])
def test_another_machine_or_shape_is_measured_anew(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, 2.0, 1.0)
    assert precision.choose_precision(LAYERS, "cpu") == "bf16"
    measured(monkeypatch, 1.0, 2.0)
    layers = [*LAYERS, nn.Linear(16, 16)] if change == "shape" else LAYERS
    if change == "instructions":
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    if change == "torch":
        monkeypatch.setattr(torch, "__version__", "3.0")
    if change == "processor":
        monkeypatch.setattr(measurements, "_processor", lambda: {"model name": "another"})
    assert precision.choose_precision(layers, "cpu") == "32"
    monkeypatch.undo()


@pytest.mark.parametrize(
    "broken", ["", "{", "[]", "null", '"bf16"', '{"precision": "bf16"}', "\x00"]
)
def test_a_broken_file_is_written_anew(
    broken: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, 2.0, 1.0)
    precision.choose_precision(LAYERS, "cpu")
    (file,) = cache.iterdir()
    whole = file.read_text()
    file.write_text(broken)
    measurements._known.clear()
    assert precision.choose_precision(LAYERS, "cpu") == "bf16"
    assert file.read_text() == whole
    assert list(cache.iterdir()) == [file]


def test_bytes_that_are_no_text_are_written_over(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, 2.0, 1.0)
    precision.choose_precision(LAYERS, "cpu")
    (file,) = cache.iterdir()
    file.write_bytes(b"\xff\xfe\x00")
    measurements._known.clear()
    assert precision.choose_precision(LAYERS, "cpu") == "bf16"


def test_where_nothing_can_be_written_it_is_kept_in_the_process(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file stands where the folder would be")
    measured(monkeypatch, 2.0, 1.0)
    assert precision.choose_precision(LAYERS, "cpu") == "bf16"
    reason = "cannot write the measured precision (File exists)"
    assert caplog.messages == [f"{cache}: {reason}; each process will measure it again"]
    monkeypatch.setattr(precision, "measure", never)
    assert precision.choose_precision(LAYERS, "cpu") == "bf16"


def test_what_another_process_has_chosen_meanwhile_is_adopted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measure_slowly(products: Any) -> tuple[float, float]:
        measurements.remember(products, "32", 1.0, 1.0)  # another process, which was quicker
        measurements._known.clear()
        return 2.0, 1.0

    monkeypatch.setattr(precision, "measure", measure_slowly)
    assert precision.choose_precision(LAYERS, "cpu") == "32"


@pytest.mark.parametrize("chosen", ["bf16", "32"])
def test_a_run_repeated_from_its_config_computes_in_the_recorded_precision(
    chosen: str, texts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {"bf16": (2.0, 1.0), "32": (1.0, 2.0)}
    measured(monkeypatch, *seconds.pop(chosen))
    first = train(texts, out=tmp_path / "first", **TINY).folder
    assert recorded(first) == chosen
    ((other, opposite),) = seconds.items()
    measurements._known.clear()
    monkeypatch.setenv("SELFATTN_CACHE", str(tmp_path / "other"))
    measured(monkeypatch, *opposite)  # as on another machine
    again = train(config=first / "config.yaml", out=tmp_path / "again").folder
    assert (again / "config.yaml").read_text() == (first / "config.yaml").read_text()
    assert (again / "model.safetensors").read_bytes() == (first / "model.safetensors").read_bytes()
    fresh = train(config=first / "config.yaml", out=tmp_path / "fresh", precision="auto").folder
    assert recorded(fresh) == other, "who asks for auto lets it be measured"


def test_a_pretraining_repeated_from_its_config_computes_in_the_recorded_precision(
    texts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, 2.0, 1.0)
    first = pretrain(texts, out=tmp_path / "first", validation_fraction=0.3, **TINY).folder
    assert recorded(first) == "bf16"
    monkeypatch.setattr(precision, "measure", never)
    measurements._known.clear()
    again = pretrain(config=first / "config.yaml", out=tmp_path / "again").folder
    assert recorded(again) == "bf16"
    assert (again / "model.safetensors").read_bytes() == (first / "model.safetensors").read_bytes()


def test_a_recorded_precision_that_the_machine_lacks_is_said_and_fp32_used(
    texts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    measured(monkeypatch, 2.0, 1.0)
    first = train(texts, out=tmp_path / "first", **TINY).folder
    monkeypatch.setattr(hardware, "supports_bf16", lambda device: False)
    again = train(config=first / "config.yaml", out=tmp_path / "again").folder
    warning = "the run was trained in bf16, which this machine does not support; using fp32"
    assert caplog.messages.count(warning) == 1
    assert recorded(again) == "32"


def test_a_precision_that_is_asked_for_is_neither_measured_nor_recorded(
    texts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "measure", never)
    run = train(texts, out=tmp_path / "run", precision="32", **TINY).folder
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert config["training"]["precision"] == "32"
    assert "precision" not in config["resolved"]["training"]


def test_a_resumed_run_goes_on_in_the_recorded_precision(
    texts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = StopOnRequest.on_train_batch_end

    def press_in_the_third_epoch(self: StopOnRequest, trainer: Any, *arguments: Any) -> None:
        if trainer.current_epoch == 2:
            signal.raise_signal(signal.SIGINT)
        stop(self, trainer, *arguments)

    measured(monkeypatch, 2.0, 1.0)
    settings: dict[str, Any] = {**TINY, "epochs": 4, "batch_size": 8, "validations_per_epoch": 2}
    with monkeypatch.context() as pressing:
        pressing.setattr(StopOnRequest, "on_train_batch_end", press_in_the_third_epoch)
        stopped = train(texts, out=tmp_path / "run", **settings)
    assert stopped.resumable
    assert recorded(tmp_path / "run") == "bf16"
    whole = train(texts, out=tmp_path / "whole", **settings).folder
    monkeypatch.setattr(precision, "measure", never)
    measurements._known.clear()
    monkeypatch.setenv("SELFATTN_CACHE", str(tmp_path / "other"))
    train(resume=True, out=tmp_path / "run")
    assert recorded(tmp_path / "run") == "bf16"
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (
        whole / "model.safetensors"
    ).read_bytes()
