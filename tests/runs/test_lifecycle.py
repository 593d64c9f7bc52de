"""A run folder holds the old run, the new one, or is refused; what others put there stays."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import (
    call_before_each_step,
    ctrl_c_at,
    run_killed_at,
    sentences,
    write_csv,
    write_run_with_set_weights,
)

from selfattn_lm import Interrupted, TextClassifier, UserError, pretrain, train
from selfattn_lm.cli import main
from selfattn_lm.runs import RunFolder, read_run, write_run
from selfattn_lm.tasks import SingleLabel

REPORTS = ("metrics.json", "README.md", "log.csv", "data.json")
NEW_LABELS = ["a", "b", "c"]
TINY: dict[str, Any] = {"width": 8, "heads": 2, "layers": 1, "precision": "32", "batch_size": 16}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_csv(tmp_path_factory.mktemp("lifecycle") / "data.csv", sentences(90)))


@pytest.fixture(scope="module")
def old_and_new(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs that differ in weights and labels; only the old one has checkpoints and notes."""
    folder = tmp_path_factory.mktemp("two")
    old = write_run_with_set_weights(folder / "old", Path("old.csv"))
    run = read_run(old)
    run.model.branches["bag"].head[1].weight.data.mul_(-1)
    run.model.branches["encoder"].head[1].weight.data.mul_(-1)
    new = folder / "new"
    write_run(new, replace(run, task=SingleLabel(NEW_LABELS)))
    for name in REPORTS:
        (old / name).write_text("old", encoding="utf-8")
        (new / name).write_text("new", encoding="utf-8")
    (old / "checkpoints").mkdir()
    (old / "checkpoints" / "last.ckpt").write_text("old", encoding="utf-8")
    (old / "checkpoints" / "mine.txt").write_text("kept", encoding="utf-8")
    (old / "notes.txt").write_text("kept", encoding="utf-8")
    return old, new


class Killed(BaseException):
    """Stands for a kill: nothing catches it, so nothing is cleaned up."""


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Give a function that has a commit end before the step of a number, counted from 0."""
    steps_left = 10**9

    def before() -> None:
        nonlocal steps_left
        if steps_left == 0:
            raise Killed
        steps_left -= 1

    def at(number: int) -> None:
        nonlocal steps_left
        steps_left = number

    call_before_each_step(monkeypatch, before)
    return at


def state_of(folder: Path) -> str:
    """Whether a folder is the old run, the new one, or refused."""
    try:
        labels = TextClassifier.load(folder, precision="32").labels
    except UserError:
        return "refused"
    if labels == NEW_LABELS:
        return "new"
    return "old"


def assert_refused_and_completed(place: RunFolder) -> None:
    """Check what is said of a commit that ended early, and that the next command completes it."""
    with pytest.raises(UserError) as caught:
        TextClassifier.load(place.target)
    advice = f"`selfattn train --resume --out {place.target}` completes it."
    assert str(caught.value).endswith(f"a newer run is half in its place; {advice}")
    message = "the run was finished but only half in its place, and is complete now"
    with pytest.raises(UserError, match=message):
        place.unfinished()
    assert state_of(place.target) == "new"


def test_a_commit_killed_at_any_step_leaves_one_run_or_is_refused_and_completed(
    old_and_new: tuple[Path, Path], tmp_path: Path, kill_at: Callable[[int], None]
) -> None:
    old, new = old_and_new
    states = []
    for number in range(40):
        place = RunFolder(tmp_path / str(number))
        shutil.copytree(old, place.target)
        shutil.copytree(new, place.work)
        kill_at(number)
        finished = False
        with suppress(Killed):
            place.commit()
            finished = True
        states.append(state_of(place.target))
        kill_at(10**9)
        if states[-1] == "refused":
            assert_refused_and_completed(place)
        if state_of(place.target) == "new":
            for name in REPORTS:
                assert (place.target / name).read_text() == "new"
        assert (place.target / "notes.txt").read_text() == "kept"
        assert (place.target / "checkpoints" / "mine.txt").read_text() == "kept"
        if finished:
            break
    assert states[0] == "old"
    assert states[-1] == "new"
    assert set(states[1:-1]) == {"refused"}
    assert len(states) > 8
    assert not (place.target / "checkpoints" / "last.ckpt").exists()
    assert not place.work.exists()


@pytest.mark.parametrize("number", [0, 1, 2, 3, 10**9])
def test_a_run_without_bert_removes_the_shape_of_a_bert_before_it(
    number: int, old_and_new: tuple[Path, Path], tmp_path: Path, kill_at: Callable[[int], None]
) -> None:
    old, new = old_and_new
    place = RunFolder(tmp_path / "run")
    shutil.copytree(old, place.target)
    (place.target / "bert.json").write_text("{}", encoding="utf-8")
    shutil.copytree(new, place.work)
    kill_at(number)
    with suppress(Killed):
        place.commit()
    kill_at(10**9)
    if place.work.exists():
        place.commit()
    assert state_of(place.target) == "new"
    assert not (place.target / "bert.json").exists()


@pytest.mark.parametrize("name", ["labels.json", "tokenizer.json", "model.safetensors"])
def test_files_of_two_runs_are_refused(
    name: str, old_and_new: tuple[Path, Path], tmp_path: Path
) -> None:
    old, new = old_and_new
    run = tmp_path / "run"
    shutil.copytree(old, run)
    other = (new / name).read_bytes()
    if name == "tokenizer.json":
        other += b" "
    (run / name).write_bytes(other)
    with pytest.raises(UserError) as caught:
        TextClassifier.load(run)
    reason = f"{run}: {name} is not the one that config.yaml belongs to (sha256)"
    assert str(caught.value) == f"{reason}; restore it, or train the run again."


def test_overwriting_keeps_what_a_run_did_not_write(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(str(write_csv(tmp_path / "data.csv", sentences(60))), out=run, epochs=1, **TINY)
    (run / "notes.txt").write_text("mine", encoding="utf-8")
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "other.ckpt").write_text("mine", encoding="utf-8")
    mine = write_csv(run / "mine" / "data.csv", sentences(90))
    train(str(mine), out=run, overwrite=True, epochs=1, **TINY)
    assert json.loads((run / "data.json").read_text())["train"]["rows"] == 81
    assert (run / "notes.txt").read_text() == "mine"
    assert (run / "checkpoints" / "other.ckpt").read_text() == "mine"
    assert mine.is_file()
    assert TextClassifier.load(run).predict(["apple"])


def test_a_run_folder_may_be_a_symbolic_link(data: str, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "run"
    link.symlink_to(tmp_path / "disk" / "real", target_is_directory=True)
    train(data, out=link, epochs=1, **TINY)
    rows = [(text, f"new {label}") for text, label in sentences(60)]
    other = write_csv(tmp_path / "other.csv", rows)
    with ctrl_c_at(5):
        result = train(str(other), out=link, overwrite=True, epochs=9, **TINY)
    assert result.stopped.startswith("by Ctrl-C")
    assert link.is_symlink()
    assert TextClassifier.load(link).labels == ["new fruit", "new metal", "new water"]
    assert sorted(os.listdir(tmp_path / "disk")) == ["real"]


def test_a_replacement_that_is_interrupted_leaves_the_run_that_it_should_replace(
    data: str, tmp_path: Path
) -> None:
    run = train(data, out=tmp_path / "run", epochs=1, **TINY).folder
    before = (run / "model.safetensors").read_bytes()
    with ctrl_c_at(1), pytest.raises(Interrupted, match="stopped before the first validation"):
        train(data, out=run, overwrite=True, seed=1, epochs=3, **TINY)
    assert (run / "model.safetensors").read_bytes() == before
    assert TextClassifier.load(run).predict(["apple"])
    assert os.listdir(tmp_path) == ["run"]


def test_a_run_that_was_killed_is_neither_lost_nor_replaced_unasked(
    data: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    model = ["--model.width", "8", "--model.heads", "2"]
    training = ["--training.precision", "32", "--training.epochs", "2"]
    batches = ["--training.validations-per-epoch", "2", "--training.batch-size", "16"]
    command = ["train", data, *model, *training, *batches, "--out", str(run)]
    run_killed_at(4, command)
    assert sorted(os.listdir(tmp_path)) == ["run.partial"]
    with pytest.raises(UserError) as caught:
        train(data, out=run, epochs=1, **TINY)
    advice = "--resume goes on with it, --overwrite replaces it"
    assert str(caught.value) == f"{run}: an unfinished run is in run.partial; {advice}."
    (tmp_path / "run.partial" / "notes.txt").write_text("mine", encoding="utf-8")
    train(data, out=run, overwrite=True, epochs=1, **TINY)
    assert sorted(os.listdir(tmp_path)) == ["run"]
    assert (run / "notes.txt").read_text() == "mine"
    assert json.loads((run / "metrics.json").read_text())["training"]["steps"] == 6


def test_a_run_stopped_twice_continues_from_where_it_was_last(data: str, tmp_path: Path) -> None:
    with ctrl_c_at(8):
        run = train(data, out=tmp_path / "run", epochs=4, **TINY).folder
    committed = set(run.rglob("*"))
    with ctrl_c_at(14):
        assert train(resume=True, out=run).stopped.startswith("by Ctrl-C at step 14")
    assert set(run.rglob("*")) == committed
    assert not train(resume=True, out=run).stopped
    whole = train(data, out=tmp_path / "whole", epochs=4, **TINY).folder
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert not (run / "checkpoints").exists()


def test_sigterm_stops_as_ctrl_c_does(data: str, tmp_path: Path) -> None:
    with ctrl_c_at(8, signal.SIGTERM):
        result = train(data, out=tmp_path / "run", epochs=4, **TINY)
    assert result.stopped.startswith("by SIGTERM at step 8 of ")
    assert result.resumable
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_pretraining_has_the_same_life_cycle(data: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with ctrl_c_at(8):
        pretrain(data, out=run, epochs=3, **TINY)
    message = r"run: exists; --overwrite replaces it, --out names another folder\.$"
    with pytest.raises(UserError, match=message):
        pretrain(data, out=run, epochs=3, **TINY)
    (run / "notes.txt").write_text("mine", encoding="utf-8")
    assert not pretrain(resume=True, out=run).stopped
    whole = pretrain(data, out=tmp_path / "whole", epochs=3, **TINY).folder
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert (run / "notes.txt").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["run", "whole"]


def test_what_is_not_a_folder_is_refused(data: str, tmp_path: Path) -> None:
    (tmp_path / "run.partial").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        train(data, out=tmp_path / "run", epochs=1, **TINY)
    message = "exists and is not a folder; name another run folder with --out."
    assert str(caught.value) == f"{tmp_path / 'run.partial'}: {message}"
    assert (tmp_path / "run.partial").read_text() == "mine"


@pytest.mark.parametrize("place", ["file/run", "x" * 300])
def test_a_folder_that_cannot_be_made_is_refused_in_a_sentence(
    place: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    run = tmp_path / place
    flags = ["--out", str(run), "--model.width", "8", "--training.epochs", "1"]
    assert main(["train", data, *flags]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"selfattn: {run}")
    assert os.listdir(tmp_path) == ["file"]


def test_a_circle_of_links_and_the_root_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    refused = {
        tmp_path / "a": "its symbolic links lead in a circle",
        Path("/"): "it is the root of the disk",
    }
    for folder, reason in refused.items():
        with pytest.raises(UserError) as caught:
            RunFolder(folder)
        message = f"{folder}: cannot be a run folder ({reason}); name another with --out."
        assert str(caught.value) == message
