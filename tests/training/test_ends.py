"""However a command ends (a full disk, a signal), it says so in a sentence, and nothing is half written or lost."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import call_before_each_step, ctrl_c_at, same_bytes, sentences, write_csv

from selfattn_lm import Interrupted, TextClassifier, UserError, train
from selfattn_lm.cli import main
from selfattn_lm.runs import RunFolder
from selfattn_lm.training.callbacks import BestCheckpoint, StopOnRequest

TINY: dict[str, Any] = {"width": 8, "heads": 2, "layers": 1, "precision": "32", "batch_size": 16}
FLAGS = [
    "--model.width",
    "8",
    "--model.heads",
    "2",
    "--training.precision",
    "32",
    "--training.batch-size",
    "16",
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("ends") / "data.csv", sentences(90))


def _run_on_full_disk(step: int, size: int, arguments: list[str], log: Path) -> None:
    import resource

    original = StopOnRequest.on_train_batch_end

    def fill(self: StopOnRequest, trainer: Any, *args: Any) -> None:
        if trainer.global_step == step:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        original(self, trainer, *args)

    if step == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    StopOnRequest.on_train_batch_end = fill  # type: ignore[method-assign]
    with log.open("w") as out, redirect_stdout(out), redirect_stderr(out):
        code = main(arguments)
    os._exit(code)


def run_on_full_disk(
    arguments: list[str], log: Path, *, size: int, step: int = 0
) -> tuple[int | None, str]:
    """Run the command line in a process that from a training step on can write no file of more bytes than `size`.

    Returns the exit code and the last line.
    """
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=_run_on_full_disk, args=(step, size, arguments, log))
    process.start()
    process.join()
    text = log.read_text()
    assert "Traceback" not in text
    return process.exitcode, text.splitlines()[-1]


@pytest.mark.parametrize("command", ["train", "pretrain"])
def test_a_disk_too_full_for_the_first_checkpoint_leaves_nothing(
    command: str, file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs" / "run"
    out.parent.mkdir()
    code, last = run_on_full_disk(
        [command, str(file), *FLAGS, "--out", str(out)], tmp_path / "log", size=20_000
    )
    assert code == 2
    place = out.with_name("run.partial")
    assert last.startswith(f"selfattn: {place}")
    assert "cannot be written (" in last
    assert last.endswith("; name another place with --out.")
    assert os.listdir(out.parent) == []


@pytest.mark.parametrize("command", ["train", "pretrain"])
def test_a_disk_that_is_full_later_leaves_a_checkpoint_to_go_on_from(
    command: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    flags = [command, str(file), *FLAGS, "--training.epochs", "3"]
    code, last = run_on_full_disk(
        [*flags, "--out", str(out)], tmp_path / "log", size=20_000, step=8
    )
    assert code == 2
    place = tmp_path / "run.partial"
    checkpoint = place / "checkpoints"
    assert last.startswith(f"selfattn: {place}{os.sep}")
    assert last.endswith(f"; `--resume` goes on from the last checkpoint, in {place}.")
    assert sorted(os.listdir(checkpoint))[:2] == ["best.ckpt", "last.ckpt"]
    torch.load(checkpoint / "last.ckpt", weights_only=True)
    assert main([command, "--resume", "--out", str(out)]) == 0
    assert main([*flags, "--out", str(tmp_path / "whole")]) == 0
    assert same_bytes(out, tmp_path / "whole")


def test_a_full_disk_leaves_the_run_that_was_to_be_replaced(file: Path, tmp_path: Path) -> None:
    run = train(str(file), out=tmp_path / "run", epochs=1, **TINY).folder
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    flags = ["train", str(file), *FLAGS, "--out", str(run), "--overwrite"]
    code, _ = run_on_full_disk(flags, tmp_path / "log", size=20_000)
    assert code == 2
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert sorted(os.listdir(tmp_path)) == ["log", "run"]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet", "out.csv.gz"])
def test_predictions_that_do_not_fit_on_the_disk_are_not_begun(
    name: str, run: Path, tmp_path: Path
) -> None:
    texts = write_csv(tmp_path / "in.csv", sentences(600))
    out = tmp_path / name
    code, last = run_on_full_disk(
        ["predict", str(run), str(texts), "--out", str(out)], tmp_path / "log", size=2000
    )
    assert code == 2
    assert last.startswith(f"selfattn: {out}: cannot be written (")
    assert sorted(os.listdir(tmp_path)) == ["in.csv", "log"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "RUN", "DATA"],
        ["predict", "RUN", "--text", "iron"],
        ["evaluate", "RUN", "DATA"],
        ["--version"],
    ],
)
def test_a_standard_output_that_is_full_is_told(
    arguments: list[str],
    run: Path,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = {"RUN": str(run), "DATA": str(file)}
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert main([named.get(argument, argument) for argument in arguments]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("selfattn: standard output: the system cannot read or write (")
    assert last.endswith("); free the disk or name another place.")


@pytest.mark.parametrize("verb", ["predict", "export", "evaluate"])
def test_a_name_that_is_too_long_is_told(
    verb: str, run: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "x" * 300 + (".csv" if verb == "predict" else "")
    given = [] if verb == "export" else [str(file)]
    assert main([verb, str(run), *given, "--out", str(tmp_path / name)]) == 2
    assert f"selfattn: {tmp_path / name}" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_a_signal_ends_a_command_with_nothing_written(
    verb: str, number: int, run: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    original = TextClassifier.outputs

    def press(self: TextClassifier, *args: Any, **settings: Any) -> Any:
        signal.raise_signal(number)
        return original(self, *args, **settings)

    monkeypatch.setattr(TextClassifier, "outputs", press)
    before = signal.getsignal(signal.SIGTERM)
    assert main([verb, str(run), str(file), "--out", str(tmp_path / "out.csv")]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "selfattn: interrupted; nothing was written."
    assert signal.getsignal(signal.SIGTERM) == before
    assert os.listdir(tmp_path) == []


def test_ctrl_c_while_the_best_weights_are_scored_says_how_to_go_on(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"

    def press(self: TextClassifier, *args: Any, **settings: Any) -> Any:
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(TextClassifier, "outputs", press)
        assert (
            main(["train", str(file), *FLAGS, "--training.epochs", "1", "--out", str(out)]) == 130
        )
    left = f"`--resume` goes on from the last checkpoint, in {tmp_path / 'run.partial'}."
    assert capsys.readouterr().err.splitlines()[-1] == f"selfattn: {out}: interrupted; {left}"
    assert main(["train", "--resume", "--out", str(out)]) == 0
    assert sorted(os.listdir(tmp_path)) == ["run"]


@pytest.fixture
def complete(run: Path, tmp_path: Path) -> RunFolder:
    """A run folder whose new run is complete but not yet moved, with an old run in its place."""
    place = RunFolder(tmp_path / "run")
    shutil.copytree(run, place.target)
    shutil.copytree(run, place.work)
    (place.target / "log.csv").write_text("old")
    (place.work / "log.csv").write_text("new")
    return place


def at_third_step(monkeypatch: pytest.MonkeyPatch, action: Callable[[], None]) -> None:
    """Have something happen before the third step of a commit."""
    steps = 0

    def before() -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            action()

    call_before_each_step(monkeypatch, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_for_the_end_of_a_commit(
    number: int, complete: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_third_step(monkeypatch, lambda: signal.raise_signal(number))
    with pytest.raises(
        Interrupted, match=r"run: interrupted when the run was done; it is in its place\.$"
    ):
        complete.commit()
    assert (complete.target / "log.csv").read_text() == "new"
    assert not complete.work.exists()
    assert TextClassifier.load(complete.target).labels


def test_a_commit_that_the_disk_stops_is_told_and_can_go_on(
    complete: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    at_third_step(monkeypatch, fail)
    with pytest.raises(UserError) as caught:
        complete.commit()
    reason = f"{complete.name}: the complete run in {complete.work} cannot be moved there ({os.strerror(errno.ENOSPC)})"
    assert str(caught.value) == f"{reason}; when it can be, `--resume` moves it."
    with pytest.raises(
        UserError, match="the run was finished but only half in its place, and is complete now"
    ):
        complete.unfinished()
    assert (complete.target / "log.csv").read_text() == "new"
    assert TextClassifier.load(complete.target).labels


@pytest.mark.parametrize("replaces", [False, True])
def test_a_complete_run_that_was_never_moved_is_not_lost(
    replaces: bool, complete: RunFolder, file: Path
) -> None:
    if not replaces:
        shutil.rmtree(complete.target)
        with pytest.raises(UserError, match="training has not finished; go on with"):
            TextClassifier.load(complete.name)
        with pytest.raises(
            UserError, match=r"an unfinished run is in run\.partial; --resume goes on with it"
        ):
            train(str(file), out=complete.name, epochs=1, **TINY)
    with pytest.raises(
        UserError, match="the run was finished but only half in its place, and is complete now"
    ):
        train(resume=True, out=complete.name)
    assert (complete.target / "log.csv").read_text() == "new"
    assert not complete.work.exists()


def test_what_a_killed_process_had_half_written_is_deleted(tmp_path: Path) -> None:
    place = RunFolder(tmp_path / "run")
    place.begin()
    (place.work / ".model.safetensors.17.tmp").write_text("half")
    (place.work / "checkpoints" / ".last.ckpt.17.tmp").write_text("half")
    (place.work / "config.yaml.copy").write_text("half")
    place.discard()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("moved", ["elsewhere/of a longer name", "r"])
def test_a_run_that_was_moved_goes_on_with_the_same_best_score(
    moved: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {**TINY, "epochs": 6, "learning_rate": 0.02}
    whole = train(str(file), out=tmp_path / "whole", **settings).folder
    with ctrl_c_at(14):
        train(str(file), out=tmp_path / "stopped", **settings)
    there = tmp_path / moved
    there.parent.mkdir(exist_ok=True)
    (tmp_path / "stopped").rename(there)
    monkeypatch.chdir(there.parent)
    assert not train(resume=True, out=there.name).stopped
    scores = [
        json.loads((folder / "metrics.json").read_text())["training"]["best"]
        for folder in (there, whole)
    ]
    assert scores[0] == scores[1]
    assert same_bytes(there, whole)


def test_the_last_checkpoint_is_of_the_last_validation_also_if_it_was_no_better(
    file: Path, tmp_path: Path
) -> None:
    with ctrl_c_at(20):
        run = train(str(file), out=tmp_path / "run", epochs=6, learning_rate=1e-9, **TINY).folder
    validations = (run / "log.csv").read_text().splitlines()[1:]
    steps = [int(row.split(",")[1]) for row in validations]
    saved = [
        torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)
        for name in ("best", "last")
    ]
    assert saved[0]["global_step"] == steps[0]
    assert saved[1]["global_step"] == steps[-1] > steps[0]


def test_a_run_of_many_validations_does_not_write_a_last_checkpoint_at_each(tmp_path: Path) -> None:
    few, many = (
        BestCheckpoint(tmp_path, "validation/accuracy", validations) for validations in (20, 100)
    )
    assert (few.save_last_every, many.save_last_every) == (1, 5)
