"""Two processes that train together, each started by itself as `torchrun` does it: none waits for ever."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers import same_bytes, sentences, write_csv

from selfattn_lm import TextClassifier

pytestmark = pytest.mark.slow
FLAGS = ["--model.width", "16", "--training.precision", "32", "--training.accelerator", "cpu"]
FLAGS += ["--training.strategy", "ddp", "--training.devices", "2"]
LONG = ["--training.epochs", "300", "--training.patience", "300"]
_SECONDS = 120  # which a run of two epochs never takes
# A process whose loss is not finite at a step, if it is not the first one.
_NOT_FINITE = """
import os, sys
from selfattn_lm.cli import main
from selfattn_lm.training.modules import ClassifierModule, MaskedModule

def spoiled(kind):
    original = kind.training_step
    def training_step(self, batch, number):
        loss = original(self, batch, number)
        is_bad = os.environ["RANK"] == "1" and self.trainer.global_step == int(sys.argv[1])
        return loss * float("nan") if is_bad else loss
    kind.training_step = training_step

spoiled(ClassifierModule)
spoiled(MaskedModule)
sys.exit(main(sys.argv[2:]))
"""


class Pair:
    """Two processes of a run, with the variables that `torchrun` sets, and what they print."""

    def __init__(
        self, folder: Path, *commands: Sequence[str], python: Sequence[str] = ("-m", "selfattn_lm")
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        common = {
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        self.logs = [folder / f"log-{rank}" for rank in range(2)]
        self.processes = []
        for rank, log in enumerate(self.logs):
            command = [sys.executable, *python, *commands[rank % len(commands)]]
            environment = {**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            with log.open("w") as file:
                self.processes.append(
                    subprocess.Popen(command, env=environment, stdout=file, stderr=file)
                )

    def wait_until(self, words: str) -> None:
        """Wait until the first process prints some words."""
        until = time.monotonic() + _SECONDS
        while words not in self.logs[0].read_text():
            assert time.monotonic() < until, self.said()
            assert self.processes[0].poll() is None, self.said()
            time.sleep(0.05)

    def send(self, number: int, *ranks: int) -> None:
        """Send a signal to some of the processes."""
        for rank in ranks:
            self.processes[rank].send_signal(number)

    def codes(self, seconds: float = _SECONDS) -> list[int]:
        """The exit codes, when both have ended."""
        until = time.monotonic() + seconds
        try:
            return [process.wait(max(0.1, until - time.monotonic())) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
                process.wait()

    def said(self) -> list[str]:
        """All that each process has printed."""
        texts = [log.read_text() for log in self.logs]
        assert not any("Traceback" in text for text in texts), texts
        return texts


def together(folder: Path, *commands: Sequence[str], **how: Any) -> tuple[list[int], list[str]]:
    """Run a command in two processes; the exit code and all words of each."""
    pair = Pair(folder, *commands, **how)
    return pair.codes(), pair.said()


def test_two_processes_train_replace_and_refuse_to_replace(data: Path, tmp_path: Path) -> None:
    command = ["train", str(data), *FLAGS, "--training.epochs", "2", "--out", str(tmp_path / "run")]
    codes, (first, second) = together(tmp_path, command)
    assert codes == [0, 0], first
    assert "run folder" in first
    assert "run folder" not in second
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["training"]["steps"] == 4
    codes, texts = together(tmp_path, command)
    assert codes == [2, 2]
    for text in texts:
        assert text.endswith("run: exists; --overwrite replaces it, --out names another folder.\n")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    codes, _ = together(tmp_path, [*command, "--overwrite", "--seed", "1"])
    assert codes == [0, 0]
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["log-0", "log-1", "run"]


def test_two_processes_pretrain_and_start_from_it(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "pretrained"
    flags = [*FLAGS, "--training.epochs", "1"]
    codes, (first, second) = together(
        tmp_path, ["pretrain", str(data / "train.csv"), *flags, "--out", str(run)]
    )
    assert codes == [0, 0], first
    assert "run folder" in first
    assert "run folder" not in second
    assert "checkpoints" not in os.listdir(run)
    codes, _ = together(
        tmp_path, ["train", str(data), *flags, "--init", str(run), "--out", str(tmp_path / "run")]
    )
    assert codes == [0, 0]
    assert TextClassifier.load(tmp_path / "run").labels == ["fruit", "metal", "water"]
    assert sorted(os.listdir(tmp_path)) == ["log-0", "log-1", "pretrained", "run"]


@pytest.mark.parametrize("command", ["train", "pretrain"])
def test_processes_that_were_killed_are_resumed_to_the_same_bytes(
    command: str, data: Path, tmp_path: Path
) -> None:
    source = str(data / "train.csv")
    flags = [command, source, *FLAGS, "--training.epochs", "6", "--training.batch-size", "16"]
    pair = Pair(tmp_path, [*flags, "--out", str(tmp_path / "killed")])
    pair.wait_until("epoch 2/")
    pair.send(signal.SIGKILL, 0, 1)
    pair.codes()
    assert sorted(os.listdir(tmp_path)) == ["killed.partial", "log-0", "log-1"]
    codes, texts = together(tmp_path, [command, "--resume", "--out", str(tmp_path / "killed")])
    assert codes == [0, 0], texts
    codes, _ = together(tmp_path, [*flags, "--out", str(tmp_path / "whole")])
    assert codes == [0, 0]
    assert same_bytes(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize("texts", [1, 3])
def test_fewer_texts_to_validate_by_than_processes_are_refused(texts: int, tmp_path: Path) -> None:
    train = write_csv(tmp_path / "data" / "train.csv", sentences(12))
    held_out = write_csv(tmp_path / "data" / "held_out.csv", sentences(texts))
    flags = [
        "--data.validation",
        str(held_out),
        "--training.epochs",
        "1",
        "--out",
        str(tmp_path / "run"),
    ]
    codes, said = together(tmp_path, ["train", str(train), *FLAGS, *flags])
    if texts == 3:  # 2 for one process and 1 for the other, and a single batch to train on
        assert codes == [0, 0], said
        return
    assert codes == [2, 2], said
    for text in said:
        reason = "selfattn: 2 processes need at least 2 texts to validate by, got 1"
        assert text.splitlines()[-1] == f"{reason}; give more, or lower --training.devices."
    assert sorted(os.listdir(tmp_path)) == ["data", "log-0", "log-1"]


def test_processes_may_have_other_numbers_of_batches_to_validate_by(
    data: Path, tmp_path: Path
) -> None:
    # 33 and 32 texts: 2 batches and 1.
    held_out = write_csv(tmp_path / "held_out.csv", sentences(65, seed=1))
    flags = [
        "--data.validation",
        str(held_out),
        "--training.batch-size",
        "32",
        "--training.epochs",
        "2",
    ]
    command = ["train", str(data / "train.csv"), *FLAGS, *flags, "--out", str(tmp_path / "run")]
    codes, said = together(tmp_path, command)
    assert codes == [0, 0], said
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    best = scores["training"]["best"]  # of the texts of both processes, each once
    assert best == pytest.approx(
        scores["validation"][scores["training"]["monitor"]]["value"], abs=1e-4
    )


def test_the_score_of_numbers_is_that_of_the_texts_of_both_processes(tmp_path: Path) -> None:
    for name, rows in (("train", 64), ("validation", 33)):
        texts = [text for text, _ in sentences(rows)]
        numbers = [str(len(text) + 0.5) for text in texts]
        write_csv(tmp_path / "data" / f"{name}.csv", zip(texts, numbers, strict=True))
    flags = [*FLAGS, "--training.epochs", "2", "--data.task", "regression"]
    command = ["train", str(tmp_path / "data"), *flags, "--out", str(tmp_path / "run")]
    codes, said = together(tmp_path, command)
    assert codes == [0, 0], said
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert scores["training"]["monitor"] == "r2"
    best = scores["training"]["best"]
    assert best == pytest.approx(scores["validation"]["r2"]["value"], abs=1e-4)


@pytest.mark.parametrize("step", [1, 12])
@pytest.mark.parametrize("command", ["train", "pretrain"])
def test_a_loss_that_is_not_finite_in_one_process_stops_both(
    command: str, step: int, data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    source = str(data / "train.csv")
    flags = [command, source, *FLAGS, *LONG, "--training.batch-size", "32", "--out", str(run)]
    codes, (first, _) = together(tmp_path, [str(step), *flags], python=["-c", _NOT_FINITE])
    assert codes[0] == 2
    message = (
        f"selfattn: {run}: the loss or its gradient was not a finite number at step {step + 1}; "
    )
    assert first.splitlines()[-1].startswith(message)
    assert run.exists() == (step == 12)  # after a validation it has the best weights from before
    assert not (tmp_path / "run.partial").exists()


@pytest.mark.parametrize(
    ("number", "ranks"),
    [(signal.SIGINT, [0]), (signal.SIGINT, [1]), (signal.SIGINT, [0, 1]), (signal.SIGTERM, [1]),
     (signal.SIGTERM, [0, 1])],
)  # fmt: skip
def test_a_signal_to_any_process_stops_both_and_keeps_the_best(
    number: int, ranks: list[int], data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    pair = Pair(tmp_path, ["train", str(data), *FLAGS, *LONG, "--out", str(run)])
    pair.wait_until("epoch 2/")
    pair.send(number, *ranks)
    assert pair.codes(40) == [0, 0], pair.said()
    assert "resume      selfattn train --resume --out" in pair.said()[0]
    assert TextClassifier.load(run).labels


def test_ctrl_c_twice_ends_both_at_once(data: Path, tmp_path: Path) -> None:
    pair = Pair(tmp_path, ["train", str(data), *FLAGS, *LONG, "--out", str(tmp_path / "run")])
    pair.wait_until("epoch 2/")
    pair.send(signal.SIGINT, 0, 1)
    pair.send(signal.SIGINT, 0, 1)
    codes = pair.codes(40)
    pair.said()
    # 0: the step was done before the second one came; 2: the other was gone.
    assert set(codes) <= {0, 2, 130}
    assert (tmp_path / "run").exists() or (
        tmp_path / "run.partial" / "checkpoints" / "last.ckpt"
    ).exists()


@pytest.mark.parametrize("wrong", [0, 1])
def test_an_error_of_one_process_ends_the_other(wrong: int, data: Path, tmp_path: Path) -> None:
    commands = []
    for rank in range(2):
        source = str(tmp_path / "nothing.csv") if rank == wrong else str(data)
        commands.append(
            ["train", source, *FLAGS, "--training.epochs", "2", "--out", str(tmp_path / "run")]
        )
    codes, said = together(tmp_path, *commands)
    assert codes == [2, 2]
    ended = "another process of the run has ended, and its last words say why; nothing was saved; start a new run."
    assert said[1 - wrong].splitlines()[-1] == f"selfattn: {tmp_path / 'run'}: {ended}"
    assert sorted(os.listdir(tmp_path)) == ["log-0", "log-1"]


@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_that_is_killed_ends_the_other(killed: int, data: Path, tmp_path: Path) -> None:
    pair = Pair(tmp_path, ["train", str(data), *FLAGS, *LONG, "--out", str(tmp_path / "run")])
    pair.wait_until("epoch 2/")
    pair.send(signal.SIGKILL, killed)
    codes = pair.codes(40)
    assert codes[killed] == -signal.SIGKILL
    assert codes[1 - killed] == 2
    last = pair.said()[1 - killed].splitlines()[-1]
    left = f"`--resume` goes on from the last checkpoint, in {tmp_path / 'run.partial'}."
    ended = "another process of the run has ended, and its last words say why"
    assert last == f"selfattn: {tmp_path / 'run'}: {ended}; {left}"
