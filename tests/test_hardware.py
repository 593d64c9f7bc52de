"""Devices, and what they support."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import model_config, sentences, write_csv
from lightning.pytorch import Trainer

from selfattn_lm import UserError, hardware, pretrain, train
from selfattn_lm.build import build_classifier
from selfattn_lm.features.ngrams import add_ngrams
from selfattn_lm.inference import TextClassifier
from selfattn_lm.inputs import Inputs
from selfattn_lm.training import (
    classify,
    fitting,
    modules,
    pretrain as pretraining,
    trainer as trainers,
)
from selfattn_lm.training.optimizer import build_optimizer, clip_gradients, use_dense_gradients

TINY: dict[str, Any] = {"width": 8, "heads": 2, "layers": 1, "epochs": 1}


@pytest.fixture
def texts(tmp_path: Path) -> str:
    """A file of labelled texts."""
    return str(write_csv(tmp_path / "texts.csv", sentences(60)))


def never(*arguments: object, **settings: object) -> Any:
    """Must not be called."""
    raise AssertionError("must not be called")


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
    with pytest.raises(UserError) as error:
        train(texts, out=tmp_path / "run", accelerator=asked, **TINY)
    message = f"training.accelerator: torch finds no {asked} device; use cpu or auto."
    assert str(error.value) == message
    assert not (tmp_path / "run").exists()


def test_the_opening_lines_tell_the_device_that_is_used(
    texts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def cpu_trainer(*arguments: Any) -> Trainer:
        return Trainer(accelerator="cpu", logger=False)

    def begin(command: Any, accelerator: str) -> str:
        caplog.clear()
        with monkeypatch.context() as patched, caplog.at_level(logging.INFO):
            patched.setattr(torch.cuda, "is_available", lambda: False)
            patched.setattr(torch.backends.mps, "is_available", lambda: True)
            patched.setattr(trainers, "_lightning_trainer", cpu_trainer)
            for module in (classify, pretraining):  # only the beginning is looked at
                patched.setattr(module, "fit_module", never)
            with pytest.raises(AssertionError, match="must not be called"):
                command(
                    texts,
                    out=tmp_path / "run",
                    accelerator=accelerator,
                    precision="32",
                    overwrite=True,
                    **TINY,
                )
        (line,) = [
            line for line in "\n".join(caplog.messages).splitlines() if line.startswith("training ")
        ]
        return line

    for command in (train, pretrain):
        assert ", cpu, 32, " in begin(command, "auto")
        assert ", mps, 32, " in begin(command, "gpu")
        assert ", cpu, 32, " in begin(command, "cpu")


@pytest.mark.parametrize(
    ("device", "processes", "sparse"),
    [("cpu", 1, True), ("cpu", 2, True), ("cuda", 1, True), ("cuda", 2, False), ("mps", 1, False)],
)
def test_gradients_are_sparse_only_where_they_can_be_added_up(
    device: str, processes: int, sparse: bool
) -> None:
    assert hardware.can_reduce_sparse_gradients(device, processes) == sparse


def test_dense_gradients_move_the_touched_rows_as_sparse_ones_do() -> None:
    """In the first step: later ones move all rows by their momentum."""
    after = {}
    for way in ("sparse", "dense"):
        torch.manual_seed(0)
        char_ngrams = torch.randint(0, 40, (30, 3))
        config = model_config(width=8, max_length=6, max_ngram=2, ngram_buckets=64)
        model = build_classifier(config, 30, 3, char_ngrams)
        if way == "dense":
            use_dense_gradients(model)
        optimizer = build_optimizer(model, 0.01, 0.1)
        ids = torch.randint(4, 30, (5, 6), generator=torch.Generator().manual_seed(1))
        torch.manual_seed(2)  # of dropout
        inputs = add_ngrams(Inputs(ids, torch.ones_like(ids, dtype=torch.bool)), 2, 64)
        model.train()(inputs).square().sum().backward()
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
    seen: list[bool] = []
    clip = clip_gradients

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


def test_numbers_below_the_smallest_normal_one_are_zero_in_training_alone() -> None:
    tiny, normal = torch.tensor([1e-30]), torch.tensor([1e-9])
    assert (tiny * normal).item() > 0
    with hardware.flushed_denormals():
        if torch.set_flush_denormal(True):  # the processor can
            assert (tiny * normal).item() == 0
    assert (tiny * normal).item() > 0
