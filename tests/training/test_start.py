"""What a run starts from: presets, runs and BERT checkpoints; recorded, and repeated from there."""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import ctrl_c_at, sentences, write_csv

from selfattn_lm import TextClassifier, UserError, fit, pretrain, train
from selfattn_lm.cli import main
from selfattn_lm.config import read_config
from selfattn_lm.runs import read_run

TINY: dict[str, Any] = {"width": 8, "heads": 2, "layers": 1, "epochs": 1, "precision": "32"}
FILES = ("model.safetensors", "tokenizer.json", "labels.json", "config.yaml")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_csv(tmp_path_factory.mktemp("starting") / "data.csv", sentences(60)))


@pytest.fixture(scope="module")
def attention(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(data, out=tmp_path_factory.mktemp("runs") / "attention", **TINY).folder


@pytest.fixture(scope="module")
def bag(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(
        data, out=tmp_path_factory.mktemp("runs") / "bag", preset="quick", width=8, epochs=1
    ).folder


@pytest.fixture(scope="module")
def pretrained(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(data, out=tmp_path_factory.mktemp("runs") / "pretrained", **TINY).folder


RULES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"kind": "attention", "batch_size": 64, "learning_rate": 3e-3}),
    ({"kind": "bag"}, {"kind": "bag", "batch_size": 64, "learning_rate": 3e-3}),
    ({"preset": "quick"}, {"kind": "bag", "batch_size": 256, "learning_rate": 1e-2}),
    (
        {"preset": "quick", "kind": "bag", "learning_rate": 5e-3},
        {"kind": "bag", "batch_size": 256, "learning_rate": 5e-3},
    ),
    ({"init": "attention"}, {"kind": "attention", "batch_size": 64, "learning_rate": 3e-3}),
    ({"init": "pretrained"}, {"kind": "attention", "batch_size": 64, "learning_rate": 3e-3}),
    (
        {"init": "pretrained", "batch_size": 8},
        {"kind": "attention", "batch_size": 8, "learning_rate": 3e-3},
    ),
    ({"init": "bag"}, {"kind": "bag", "batch_size": 64, "learning_rate": 3e-3}),
    ({"init": "bag", "preset": "quick"}, {"kind": "bag", "batch_size": 256, "learning_rate": 1e-2}),
]


@pytest.mark.parametrize(("asked", "expected"), RULES)
def test_preset_init_and_flags_decide_by_one_rule(
    asked: dict[str, Any],
    expected: dict[str, Any],
    data: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    asked = dict(asked)
    if "init" in asked:
        asked["init"] = request.getfixturevalue(asked["init"])
    else:
        asked["width"] = 8
    settings: Any = train(data, out=tmp_path / "run", epochs=1, **asked).classifier.run.resolved
    found = {
        "kind": settings.model.kind,
        "batch_size": settings.training.batch_size,
        "learning_rate": settings.training.learning_rate,
    }
    assert found == expected


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"init": "attention"}, "{init} is of the kind attention"),
        ({"init": "pretrained"}, "{init} is of the kind attention"),
        ({"kind": "attention"}, "model.kind is attention"),
        ({"kind": "cnn"}, "model.kind is cnn"),
        (
            {"pretrain": True},
            "--pretrain learns words from their context, which a bag does not see",
        ),
    ],
)
def test_what_contradicts_a_preset_is_refused(
    asked: dict[str, Any], reason: str, data: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    asked = dict(asked)
    if "init" in asked:
        asked["init"] = request.getfixturevalue(asked["init"])
    with pytest.raises(UserError) as caught:
        train(data, out=tmp_path / "run", preset="quick", **asked)
    expected = reason.format(init=asked.get("init"))
    begins = f"--preset quick: trains a bag of embeddings, but {expected}"
    assert str(caught.value) == f"{begins}; leave one of them out."
    assert not (tmp_path / "run").exists()


def test_a_run_records_what_it_started_from_and_its_config_repeats_it(
    data: str, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pretrained.parent)
    run = train(data, init="pretrained", out=tmp_path / "run", epochs=1, precision="32").folder
    digest = hashlib.sha256((pretrained / "model.safetensors").read_bytes()).hexdigest()
    recorded = yaml.safe_load((run / "config.yaml").read_text())["init"]
    assert recorded == {
        "source": "pretrained",
        "path": str(pretrained),
        "revision": "",
        "sha256": digest,
    }
    assert (
        f"It started from `pretrained` (sha256 of its weights: `{digest}`)."
        in (run / "README.md").read_text()
    )
    monkeypatch.chdir(tmp_path)
    again = train(config=run / "config.yaml", out=tmp_path / "again").folder
    for name in FILES:
        assert (run / name).read_bytes() == (again / name).read_bytes()


def test_pretraining_first_is_recorded_and_repeated_too(data: str, tmp_path: Path) -> None:
    run = train(data, out=tmp_path / "run", pretrain=True, **TINY).folder
    assert read_config(run / "config.yaml").init["path"] == str(tmp_path / "run-pretrained")
    again = train(config=run / "config.yaml", out=tmp_path / "again").folder
    for name in FILES:
        assert (run / name).read_bytes() == (again / name).read_bytes()
    with pytest.raises(
        UserError, match=r"^train: --pretrain and the init in .*config\.yaml both say"
    ):
        train(config=run / "config.yaml", out=tmp_path / "other", pretrain=True)


@pytest.fixture
def tuned(data: str, pretrained: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A run, and the pretrained run that it started from, which the test may change."""
    start = tmp_path / "start"
    shutil.copytree(pretrained, start)
    return train(data, init=start, out=tmp_path / "run", epochs=1, precision="32").folder, start


def test_a_config_whose_start_is_gone_is_refused(tuned: tuple[Path, Path], tmp_path: Path) -> None:
    run, start = tuned
    config = run / "config.yaml"
    shutil.rmtree(start)
    message = f"{config}: it starts from {start}, which is gone; name another start with --init."
    with pytest.raises(UserError) as caught:
        train(config=config, out=tmp_path / "again")
    assert str(caught.value) == message
    assert TextClassifier.load(run).predict(["apple"])  # the run itself needs it no more


def test_a_config_whose_start_has_changed_is_refused_unless_another_is_named(
    tuned: tuple[Path, Path], pretrained: Path, tmp_path: Path
) -> None:
    run, start = tuned
    config = run / "config.yaml"
    weights = bytearray((start / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (start / "model.safetensors").write_bytes(weights)
    reason = f"it starts from {start}, whose weights are no longer those recorded (sha256)"
    with pytest.raises(UserError) as caught:
        train(config=config, out=tmp_path / "again")
    assert str(caught.value) == f"{config}: {reason}; name another start with --init."
    again = train(config=config, init=pretrained, out=tmp_path / "again").folder
    assert (again / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_a_start_that_was_moved_is_found_by_the_name_that_was_given(
    data: str, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(pretrained, tmp_path / "one" / "start")
    monkeypatch.chdir(tmp_path / "one")
    run = train(data, init="start", out=tmp_path / "run", epochs=1, precision="32").folder
    (tmp_path / "one").rename(tmp_path / "two")
    monkeypatch.chdir(tmp_path / "two")
    assert train(config=run / "config.yaml", out=tmp_path / "again").folder.is_dir()


def test_a_config_file_may_name_what_to_start_from(
    data: str, pretrained: Path, tmp_path: Path
) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(f"init: {pretrained}\ntraining:\n  epochs: 1\n")
    run = train(data, config=config, out=tmp_path / "run").folder
    origin = read_run(run).origin
    assert origin is not None
    assert origin.path == str(pretrained)


NUMBER = "{source: x, path: 3, revision: '', sha256: ''}"


@pytest.mark.parametrize("init", ["[1, 2]", "{source: x}", "3", "true", "''", NUMBER])
def test_an_init_that_says_nothing_is_refused(init: str, data: str, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(f"init: {init}\n")
    with pytest.raises(UserError) as caught:
        train(data, config=config, out=tmp_path / "run")
    keys = "source, path, revision, sha256"
    assert (
        str(caught.value) == f"{config}: init must be a folder, a hub name, or a mapping of {keys}."
    )


def test_pretraining_and_studies_start_from_scratch(data: str, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("init: some/where\n")
    with pytest.raises(
        UserError,
        match=r"^pretrain: .*mine\.yaml says what to start from \(init\), but pretraining ",
    ):
        pretrain(data, config=config, out=tmp_path / "run")
    assert (
        main(["study", str(data), "--config", str(config), "--out", str(tmp_path / "study")]) == 2
    )


def test_fit_records_its_start_too(pretrained: Path, tmp_path: Path) -> None:
    texts, labels = zip(*sentences(60), strict=True)
    fit(texts, labels, init=pretrained, out=tmp_path / "run", epochs=1)
    assert json.loads(json.dumps(read_config(tmp_path / "run" / "config.yaml").init))[
        "source"
    ] == str(pretrained)


def test_a_run_goes_on_from_itself_with_its_own_config(attention: Path, tmp_path: Path) -> None:
    run = train(config=attention / "config.yaml", init=attention, out=tmp_path / "run").folder
    assert read_config(run / "config.yaml").init["path"] == str(attention)


@pytest.mark.parametrize("preset", ["accurate", "quick"])
def test_an_init_that_is_no_run_is_refused_with_every_preset(
    preset: Any, data: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        train(data, init="nowhere", preset=preset, out=tmp_path / "run")
    assert (
        str(caught.value)
        == "nowhere: no such run folder; `selfattn train DATA --out nowhere` makes one."
    )


@pytest.mark.parametrize("init", ["attention", "bag", "pretrained"])
def test_the_opening_lines_name_no_setting_that_only_follows_from_the_start(
    init: str,
    data: str,
    tmp_path: Path,
    said: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    start = request.getfixturevalue(init)
    with said.at_level(logging.INFO, "selfattn_lm"):
        train(data, init=start, out=tmp_path / "run", epochs=1, precision="32")
    lines = "\n".join(said.messages).splitlines()
    assert "settings    training.epochs 1, training.precision 32" in lines
    (model,) = [line for line in lines if line.startswith("model  ")]
    assert (" 1 layer," in model) == (init != "bag")  # a bag has none


def test_a_resumed_run_takes_its_start_by_any_of_its_names(
    data: str, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pretrained.parent)
    with ctrl_c_at(2):
        train(data, init="pretrained", out=tmp_path / "run", epochs=3, precision="32")
    with pytest.raises(
        UserError,
        match=r"^--init other contradicts the .* started from pretrained; leave it out\.$",
    ):
        train(init="other", out=tmp_path / "run", resume=True)
    assert not train(init=pretrained, out=tmp_path / "run", resume=True).stopped


def test_a_file_that_is_not_read_is_no_part_of_the_start(
    tuned: tuple[Path, Path], tmp_path: Path
) -> None:
    run, start = tuned
    (start / "model_quantized.safetensors").write_bytes(b"8-bit weights")
    assert train(config=run / "config.yaml", out=tmp_path / "again").folder.is_dir()


def test_a_preset_that_there_is_not_is_refused(data: str, tmp_path: Path) -> None:
    unknown: Any = "fast"
    with pytest.raises(UserError, match=r"^preset: 'fast' is not 'accurate' or 'quick'\.$"):
        train(data, out=tmp_path / "run", preset=unknown)


def test_a_resumed_run_refuses_a_preset_that_it_did_not_begin_with(
    data: str, tmp_path: Path
) -> None:
    with ctrl_c_at(2):
        train(data, out=tmp_path / "run", **{**TINY, "epochs": 3})
    message = "model.kind='bag' contradicts .*, which has 'attention'; leave it out"
    with pytest.raises(UserError, match=message):
        train(out=tmp_path / "run", resume=True, preset="quick")
    assert not train(out=tmp_path / "run", resume=True).stopped
