"""Device and precision, decided in one place."""

import json
import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers import sentences, write_csv
from lightning.pytorch import Trainer
from torch import nn

from selfattn_lm import UserError, hardware, measurements, pretrain, train
from selfattn_lm.config import ModelConfig
from selfattn_lm.inference import TextClassifier
from selfattn_lm.nn import Bag, build_classifier
from selfattn_lm.training import fitting, modules
from selfattn_lm.training.callbacks import StopOnRequest
from selfattn_lm.training.fitting import Training
from selfattn_lm.training.optimizer import build_optimizer, clip_gradients, use_dense_gradients

TINY = {"width": 8, "heads": 2, "layers": 1, "epochs": 1}
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
    monkeypatch.setattr(hardware, "measure", lambda products: (fp32_seconds, bf16_seconds))


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
    [(1.3, 1.0, "bf16"), (1.29, 1.0, "32"), (9.0, 1.0, "bf16"), (1.0, 1.0, "32"), (1.0, 2.0, "32"), (0.0, 1.0, "32")],
)
def test_bf16_is_chosen_only_where_it_is_nearly_a_third_faster(fp32: float, bf16: float, chosen: str) -> None:
    assert hardware.choose(fp32, bf16) == chosen


def test_measuring_takes_little_time_and_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    fp32_seconds, bf16_seconds = hardware.measure([(32, 32), (32, 128)])
    assert 0 < fp32_seconds < 1
    assert 0 < bf16_seconds < 1
    assert torch.equal(before, torch.get_rng_state())


def test_the_products_are_those_of_linear_convolutional_and_recurrent_layers() -> None:
    conv, lstm = nn.Conv1d(6, 2, 3), nn.LSTM(6, 5, bidirectional=True)
    assert hardware.products_of([nn.Sequential(nn.Linear(6, 8), nn.Linear(6, 8)), conv, lstm]) == [
        (5, 20),
        (6, 8),
        (6, 20),
        (18, 2),
    ]


def test_nothing_is_measured_where_nothing_can_be_gained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "measure", never)
    assert hardware.choose_precision([Bag()], "cpu") == "32"
    assert hardware.choose_precision(LAYERS, "mps") == "32"
    monkeypatch.setattr(hardware, "supports_bf16", lambda device: False)
    assert hardware.choose_precision(LAYERS, "cpu") == "32"


@pytest.mark.parametrize(("seconds", "chosen"), [((2.0, 1.0), "bf16"), ((1.0, 2.0), "32")])
def test_what_was_measured_is_kept_in_the_process_and_on_the_disk(
    cache: Path, monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, float], chosen: str
) -> None:
    measured(monkeypatch, *seconds)
    assert hardware.choose_precision(LAYERS, "cpu") == chosen
    monkeypatch.setattr(hardware, "measure", never)
    assert hardware.choose_precision(LAYERS, "cpu") == chosen  # from the process
    measurements._known.clear()
    assert hardware.choose_precision(LAYERS, "cpu") == chosen  # from the file, as in another process
    (file,) = cache.iterdir()
    assert json.loads(file.read_text())["facts"]["products"] == [[16, 64], [64, 16]]


@pytest.mark.parametrize("change", ["shape", "instructions", "torch", "processor"])
def test_another_machine_or_shape_is_measured_anew(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, 2.0, 1.0)
    assert hardware.choose_precision(LAYERS, "cpu") == "bf16"
    measured(monkeypatch, 1.0, 2.0)
    layers = [*LAYERS, nn.Linear(16, 16)] if change == "shape" else LAYERS
    if change == "instructions":
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    if change == "torch":
        monkeypatch.setattr(torch, "__version__", "3.0")
    if change == "processor":
        monkeypatch.setattr(measurements, "_processor", lambda: {"model name": "another"})
    assert hardware.choose_precision(layers, "cpu") == "32"
    monkeypatch.undo()


@pytest.mark.parametrize("broken", ["", "{", "[]", "null", '"bf16"', '{"precision": "bf16"}', "\x00"])
def test_a_broken_file_is_written_anew(broken: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, 2.0, 1.0)
    hardware.choose_precision(LAYERS, "cpu")
    (file,) = cache.iterdir()
    whole = file.read_text()
    file.write_text(broken)
    measurements._known.clear()
    assert hardware.choose_precision(LAYERS, "cpu") == "bf16"
    assert file.read_text() == whole
    assert list(cache.iterdir()) == [file]


def test_bytes_that_are_no_text_are_written_over(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, 2.0, 1.0)
    hardware.choose_precision(LAYERS, "cpu")
    (file,) = cache.iterdir()
    file.write_bytes(b"\xff\xfe\x00")
    measurements._known.clear()
    assert hardware.choose_precision(LAYERS, "cpu") == "bf16"


def test_where_nothing_can_be_written_it_is_kept_in_the_process(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file stands where the folder would be")
    measured(monkeypatch, 2.0, 1.0)
    assert hardware.choose_precision(LAYERS, "cpu") == "bf16"
    told = f"{cache}: the measured precision cannot be kept there (File exists), so each process measures it anew"
    assert caplog.messages == [told]
    monkeypatch.setattr(hardware, "measure", never)
    assert hardware.choose_precision(LAYERS, "cpu") == "bf16"


def test_what_another_process_has_chosen_meanwhile_is_adopted(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure_slowly(products: Any) -> tuple[float, float]:
        measurements.remember(products, "32", 1.0, 1.0)  # another process, which was quicker
        measurements._known.clear()
        return 2.0, 1.0

    monkeypatch.setattr(hardware, "measure", measure_slowly)
    assert hardware.choose_precision(LAYERS, "cpu") == "32"


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
    monkeypatch.setattr(hardware, "measure", never)
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
    told = "the run was begun in bf16, which this machine does not compute in; it goes on in fp32"
    assert caplog.messages.count(told) == 1
    assert recorded(again) == "32"


def test_a_precision_that_is_asked_for_is_neither_measured_nor_recorded(
    texts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "measure", never)
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
    settings = {**TINY, "epochs": 4, "batch_size": 8, "validations_per_epoch": 2}
    with monkeypatch.context() as pressing:
        pressing.setattr(StopOnRequest, "on_train_batch_end", press_in_the_third_epoch)
        stopped = train(texts, out=tmp_path / "run", **settings)
    assert stopped.resumable
    assert recorded(tmp_path / "run") == "bf16"
    whole = train(texts, out=tmp_path / "whole", **settings).folder
    monkeypatch.setattr(hardware, "measure", never)
    measurements._known.clear()
    monkeypatch.setenv("SELFATTN_CACHE", str(tmp_path / "other"))
    train(resume=True, out=tmp_path / "run")
    assert recorded(tmp_path / "run") == "bf16"
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_worker_computes_on_one_core_and_others_begin_with_what_they_had() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        x = torch.rand(2000, 20)
        for _ in range(2):
            counts = [hardware.workers(2).submit(torch.get_num_threads) for _ in range(4)]
            assert [count.result() for count in counts] == [1, 1, 1, 1]
            hardware.workers(2).submit(lambda: (x @ x.T).sum()).result()
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("asked", "cuda", "mps", "device"),
    [
        ("auto", False, False, "cpu"),
        ("auto", True, False, "cuda"),
        ("auto", False, True, "cpu"),
        ("cpu", True, True, "cpu"),
        ("gpu", True, True, "cuda"),
        ("gpu", False, True, "mps"),
        ("cuda", True, True, "cuda"),
        ("mps", True, True, "mps"),
    ],
)
def test_the_device_is_the_one_asked_for(
    asked: str, cuda: bool, mps: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert hardware.choose_device(asked) == device


@pytest.mark.parametrize("asked", ["gpu", "cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(
    asked: str, texts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError) as told:
        train(texts, out=tmp_path / "run", accelerator=asked, **TINY)
    sentence = f"training.accelerator: {asked} is asked for, and torch finds none here; use cpu or auto."
    assert str(told.value) == sentence
    assert not (tmp_path / "run").exists()


def test_the_opening_lines_tell_the_device_that_is_used(
    texts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def begin(command: Any, accelerator: str) -> str:
        caplog.clear()
        with monkeypatch.context() as patched, caplog.at_level(logging.INFO):
            patched.setattr(torch.cuda, "is_available", lambda: False)
            patched.setattr(torch.backends.mps, "is_available", lambda: True)
            patched.setattr(Training, "_trainer", lambda self, *arguments: Trainer(accelerator="cpu", logger=False))
            patched.setattr(Training, "run", never)  # only its beginning is looked at
            with pytest.raises(AssertionError, match="must not be called"):
                command(texts, out=tmp_path / "run", accelerator=accelerator, precision="32", overwrite=True, **TINY)
        (line,) = [line for line in "\n".join(caplog.messages).splitlines() if line.startswith("training ")]
        return line

    for command in (train, pretrain):
        assert ", cpu, 32, " in begin(command, "auto")
        assert ", mps, 32, " in begin(command, "gpu")
        assert ", cpu, 32, " in begin(command, "cpu")


@pytest.mark.parametrize(
    ("device", "processes", "sparse"),
    [("cpu", 1, True), ("cpu", 2, True), ("cuda", 1, True), ("cuda", 2, False), ("mps", 1, False)],
)
def test_gradients_are_sparse_only_where_they_can_be_added_up(device: str, processes: int, sparse: bool) -> None:
    assert hardware.can_reduce_sparse_gradients(device, processes) == sparse


def test_dense_gradients_move_the_touched_rows_as_sparse_ones_do() -> None:
    """In the first step: later ones move all rows by their momentum."""
    after = {}
    for way in ("sparse", "dense"):
        torch.manual_seed(0)
        char_ngrams = torch.randint(0, 40, (30, 3))
        config = ModelConfig(width=8, heads=2, layers=1, max_length=6, max_ngram=2, ngram_buckets=64, pooling="mean")
        model = build_classifier(config, 30, 3, char_ngrams)
        if way == "dense":
            use_dense_gradients(model)
        optimizer = build_optimizer(model, 0.01, 0.1)
        ids = torch.randint(4, 30, (5, 6), generator=torch.Generator().manual_seed(1))
        torch.manual_seed(2)  # of dropout
        model.train()(ids, torch.ones_like(ids, dtype=torch.bool)).square().sum().backward()
        embedding: Any = model.embedding
        tables = [embedding.tokens.tokens, embedding.tokens.characters, embedding.ngrams.table]
        assert [table.weight.grad.is_sparse for table in tables] == [way == "sparse"] * 3
        clip_gradients(model.parameters(), 1.0)
        optimizer.step()
        after[way] = model.state_dict()
    torch.testing.assert_close(after["dense"], after["sparse"])


def test_where_sparse_gradients_do_not_work_a_run_trains_with_dense_ones(
    texts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "can_reduce_sparse_gradients", lambda device, processes: False)
    seen = []
    clip = modules.clip_gradients

    def look(parameters: Any, norm: float) -> float:
        given = list(parameters)
        seen.extend(parameter.grad.is_sparse for parameter in given if parameter.grad is not None)
        return clip(given, norm)

    monkeypatch.setattr(modules, "clip_gradients", look)
    train(texts, out=tmp_path / "run", precision="32", **TINY)
    assert seen
    assert not any(seen)


def test_one_device_is_used_unless_more_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert hardware.choose_device_count("auto") == 1
    assert hardware.choose_device_count(3) == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # torchrun has started two processes here
    assert hardware.choose_device_count("auto") == 2


def test_scoring_stays_where_training_was_and_in_its_precision(
    texts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []
    load = TextClassifier.load

    def remember_and_load(folder: Path, *arguments: Any) -> TextClassifier:
        asked.append(arguments)
        return load(folder, *arguments)

    monkeypatch.setattr(TextClassifier, "load", remember_and_load)
    result = train(texts, out=tmp_path / "run", accelerator="cpu", precision="32", **TINY)
    assert asked == [("32", "cpu")]
    assert next(result.classifier.run.model.parameters()).device.type == "cpu"
