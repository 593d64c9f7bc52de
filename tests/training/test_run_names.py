"""What a run is called when `--out` does not say it, and how commands to type next are printed."""

import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from helpers import file_name, write_csv

from selfattn_lm.cli import main
from selfattn_lm.inference import TextClassifier
from selfattn_lm.run_names import run_name
from selfattn_lm.training import PretrainResult, TrainResult


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("v1.2-reviews.csv", "v1.2-reviews"),
        ("v1.3-reviews.csv", "v1.3-reviews"),
        ("v1.2-reviews.jsonl.gz", "v1.2-reviews"),
        ("a.b.c.NDJSON", "a.b.c"),
        ("reviews.CSV.GZ", "reviews"),
        ("notes.txt.csv", "notes.txt"),
        ("mit leer.zeichen.parquet", "mit leer.zeichen"),
        (file_name("评论.v2.tsv"), file_name("评论.v2")),
        (".hidden.csv", "hidden"),
        (".csv", "csv"),
        ("films v1.2/train.csv", "films v1.2"),
        ("films.v1/TRAIN.csv.gz", "films.v1"),
        (".cache/train.csv", "cache"),
        ("films/../train.json", "here"),
        ("films.v1.csv/", "films.v1.csv"),
        ("films/train/", "films"),
        ("films/.", "films"),
        (".", "here"),
        ("./", "here"),
        ("films/..", "here"),
        ("owner/films-v1.2", "films-v1.2"),
    ],
)
@pytest.mark.parametrize("command", ["train", "pretrain"])
def test_a_run_is_called_like_its_data(
    command: str,
    source: str,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = tmp_path / "here"
    (here / "films").mkdir(parents=True)
    monkeypatch.chdir(here)
    is_hub_name = source.startswith("owner")
    is_folder = source.endswith(("/", "..")) or not Path(source).suffix
    if is_folder and not is_hub_name:
        (here / source).mkdir(parents=True, exist_ok=True)
    elif not is_hub_name:
        write_csv(here / source, [("a", "x"), ("b", "y")])
    folder = Path("runs") / name
    if command == "pretrain":
        folder = Path("runs") / f"{name}-pretrained"
    (here / folder).mkdir(parents=True)
    (here / folder / "notes").touch()
    assert main([command, source]) == 2
    shown = os.fsencode(folder).decode("utf-8")
    assert capsys.readouterr().err.startswith(f"selfattn: {shown}: exists")


def test_a_file_that_is_a_link_gives_the_name_of_the_link(tmp_path: Path) -> None:
    blob = write_csv(tmp_path / "blobs" / "0fab", [("a", "x")])
    (tmp_path / "films").mkdir()
    os.symlink(blob, tmp_path / "films" / "train.csv")
    assert run_name(str(tmp_path / "films" / "train.csv")) == "films"


@pytest.mark.parametrize(
    "folder", ["my runs/films", "runs/it's", "runs/$HOME;`ls`", "runs/films", "läufe/文"]
)
def test_commands_to_type_next_name_the_folder_as_a_shell_reads_it(folder: str, run: Path) -> None:
    some: Any = None
    classifier = TextClassifier.load(run)
    trained = TrainResult(Path(folder), classifier, {"test": some}, resumable=True)
    pretrained = PretrainResult(Path(folder), some, 0.5, 2.0, resumable=True)
    commands = []
    for line in f"{trained}\n{pretrained}".splitlines():
        _, found, arguments = line.partition(" selfattn ")
        if found:
            commands.append(shlex.split(arguments))
    names = [command[0] for command in commands]
    assert names == ["train", "predict", "pretrain", "train"]
    for command in commands:
        assert folder in command
