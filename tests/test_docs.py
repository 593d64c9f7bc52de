import operator
import os
import re
import runpy
import shlex
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest
from helpers import write_csv

from selfattn_lm.cli import main
from selfattn_lm.config import read_config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
DATA = Path(os.environ.get("SELFATTN_DATA", "../shared/data"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def selfattn_commands() -> list[list[str]]:
    """The arguments of each `selfattn` command in the README's blocks marked `sh`."""
    commands = []
    for block in blocks("sh"):
        for line in block.splitlines():
            if line.startswith("selfattn "):
                commands.append(shlex.split(line, comments=True)[1:])
    return commands


COMMANDS = selfattn_commands()


def test_the_readme_is_short_and_shows_commands_and_python_first() -> None:
    lines = README.splitlines()
    assert len(lines) < 250
    assert lines.index("```sh") < 25
    assert lines.index("```python") < 25


def test_the_prose_of_the_readme_is_wrapped() -> None:
    prose, _, _ = README.partition("## The files")
    assert [line for line in prose.splitlines() if len(line) > 120] == []


def test_the_readme_quotes_the_lines_of_attention() -> None:
    source = (ROOT / "selfattn_lm" / "nn" / "attention.py").read_text(encoding="utf-8")
    lines = [line.strip() for line in source.splitlines()]
    (quoted,) = [block for block in blocks("text") if block.startswith("query = ")]
    for line in quoted.splitlines():
        assert line == "..." or line in lines


def test_the_model_is_as_small_as_the_readme_says() -> None:
    assert "one file of fewer than 80 lines, the whole model fewer than 900" in " ".join(
        README.split()
    )
    lines = 0
    for file in (ROOT / "selfattn_lm" / "nn").glob("*.py"):
        lines += len(file.read_text(encoding="utf-8").splitlines())
    assert lines < 900


def test_the_tables_of_the_docs_are_the_measured_ones() -> None:
    documents = ""
    for file in (ROOT / "docs").glob("*.md"):
        documents += file.read_text(encoding="utf-8")
    for file in (ROOT / "benchmarks" / "results").glob("*.md"):
        table = file.read_text(encoding="utf-8")
        rows = [line for line in table.splitlines() if line.startswith("| ")]
        for row in rows[1:]:  # the first is the header
            assert row in documents, file


def test_the_files_that_contributing_names_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names = re.findall(r"`([\w./]+\.(?:py|md))`", text)
    assert [name for name in names if not (ROOT / name).exists()] == []


@pytest.fixture(scope="module")
def first_command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the README's first command was run."""
    folder = tmp_path_factory.mktemp("readme")
    rows: list[tuple[str, ...]] = [("good good", "5"), ("bad bad", "1")] * 20
    # so simple that training stops early
    for name in ("reviews.csv", "test.csv"):
        write_csv(folder / name, rows, header=("review", "stars"))
    with chdir(folder):
        assert main(COMMANDS[0]) == 0
    return folder


def test_the_commands_of_the_readme_run(first_command: Path) -> None:
    assert len(COMMANDS) >= 5
    with chdir(first_command):
        for command in COMMANDS[1:]:
            assert main(command) == 0, command
    assert len((first_command / "predicted.csv").read_text().splitlines()) == 41
    assert (first_command / "scores" / "metrics.json").is_file()


def test_the_python_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("python")
    exec(compile(block, "README.md", "exec"), {})
    assert (tmp_path / "runs" / "films" / "model.safetensors").is_file()
    assert capsys.readouterr().out == "['pos']\n"


@pytest.mark.slow
@pytest.mark.parametrize("target", ["demo"])
def test_the_make_targets_of_the_readme_run(target: str) -> None:
    subprocess.run(["make", target], cwd=ROOT, check=True)


@pytest.mark.parametrize("config", CONFIGS, ids=operator.attrgetter("stem"))
def test_every_config_loads_and_says_what_was_measured(config: Path) -> None:
    settings, resolved, asked, *_ = read_config(config)
    assert settings.training.epochs == "auto" or settings.training.epochs > 0
    assert not resolved
    assert set(asked) <= {"seed", "data", "tokenizer", "model", "training"}
    told = config.read_text(encoding="utf-8")
    assert re.search(r"^# (.*\d\d\.\d.* rows.* minutes|Not run: )", told, flags=re.MULTILINE)


@pytest.mark.parametrize("verb", ["train", "evaluate", "predict", "finetune"])
def test_the_scripts_are_the_same_verbs(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["RUN", "missing.csv"] if verb != "train" else ["missing.csv"]
    monkeypatch.setattr(sys, "argv", [f"{verb}.py", *flags])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "scripts" / f"{verb}.py"), run_name="__main__")
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert re.fullmatch(r"selfattn: (RUN|missing\.csv): no such .*\n", told), told


@pytest.mark.slow
@pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the development data is not in {DATA} (SELFATTN_DATA)"
)
def test_clinc150_reaches_its_figure(tmp_path: Path) -> None:
    from selfattn_lm import train

    result = train(
        str(DATA / "clinc150"), config=ROOT / "configs" / "clinc150.yaml", out=tmp_path / "run"
    )
    assert result.evaluations["test"].values["accuracy"]["value"] >= 0.89
