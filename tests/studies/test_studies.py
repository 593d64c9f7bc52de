import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib.figure  # noqa: F401 - imported here, so that no test is charged with it
import numpy as np
import pytest
import sklearn.svm  # noqa: F401
import torch
from helpers import EXACT, model_config, prediction_settings, sentences, tokenizer_config, write_csv

from selfattn_lm import Interrupted, TextClassifier, study
from selfattn_lm.build import build_model
from selfattn_lm.cli import main
from selfattn_lm.config import Settings, merge, settings_from
from selfattn_lm.features.tokenizer import train_tokenizer
from selfattn_lm.runs import Run
from selfattn_lm.studies import PROBE, StudyResult, probe
from selfattn_lm.studies.grid import Grid
from selfattn_lm.studies.synthetic import DISTANCES, TASKS, generate
from selfattn_lm.tasks import SingleLabel

TINY: dict[str, Any] = {"model": EXACT["model"], "training": {**EXACT["training"], "epochs": 1}}
KINDS = ("attention", "cnn", "lstm", "bag", "tfidf")


@pytest.fixture(scope="module")
def folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of all kinds at 20 and 100 % of the data. No test may change it."""
    out = tmp_path_factory.mktemp("studies") / "small"
    return study(str(data), out=out, shares=(20, 100), **TINY).folder


def read_cell(folder: Path, name: str) -> dict[str, Any]:
    """The values of a cell of a study."""
    values: dict[str, Any] = json.loads((folder / "cells" / f"{name}.json").read_text())
    return values


def test_a_study_has_a_row_for_each_kind_and_share(folder: Path) -> None:
    with (folder / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = [(row["kind"], row["share"], row["rows"]) for row in rows]
    at_20_percent = [(kind, "20", "48") for kind in KINDS]
    at_100_percent = [(kind, "100", "240") for kind in KINDS]
    assert found == at_20_percent + at_100_percent
    for row in rows:
        assert 0 <= float(row["low"]) <= float(row["accuracy"]) <= float(row["high"]) <= 100
        for name in ("parameters", "seconds", "texts_per_s"):
            assert float(row[name]) > 0
    tfidf = rows[-1]
    assert tfidf["kind"] == "tfidf"
    # It reached 100; chance is 33. The others train for one epoch, too little to ask for a score.
    assert float(tfidf["accuracy"]) > 60


def test_a_study_draws_its_picture_and_writes_its_table(folder: Path) -> None:
    assert (folder / "study.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (folder / "study.svg").read_text(encoding="utf-8")
    lines = (folder / "table.md").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("| kind | share, % | rows | accuracy |")
    assert len(lines) == 2 + 2 * len(KINDS)


def test_the_models_differ_in_their_encoders_alone(folder: Path) -> None:
    shared = read_cell(folder, "bag-100-0")["parameters"]
    for kind in ("attention", "cnn", "lstm"):
        assert shared < read_cell(folder, f"{kind}-100-0")["parameters"] < 1.25 * shared


def test_a_study_continues_with_the_missing_cells(
    data: Path, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    values = read_cell(copy, "bag-20-0")
    values["accuracy"]["value"] = 0.123  # shows that the cell is not computed again
    (copy / "cells" / "bag-20-0.json").write_text(json.dumps(values))
    (copy / "cells" / "tfidf-100-0.json").unlink()
    with caplog.at_level("INFO"):
        result = study(str(data), out=copy, shares=(20, 100), **TINY)
    assert "9 of 10 cells are already finished" in caplog.text
    assert (copy / "cells" / "tfidf-100-0.json").is_file()
    assert isinstance(result, StudyResult)
    means = {(row["kind"], row["share"]): row["accuracy"] for row in result.means()}
    assert means["bag", 20] == pytest.approx(12.3)


def test_seeds_are_averaged_and_their_spread_is_given(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "seeds"
    result = study(str(data), out=out, kinds=("bag", "tfidf"), shares=(20,), seeds=2, **TINY)
    assert isinstance(result, StudyResult)
    cells = [cell for cell in result.cells if cell["kind"] == "bag"]
    assert [cell["seed"] for cell in cells] == [0, 1]
    bag, tfidf = result.means()
    each = [100 * cell["accuracy"]["value"] for cell in cells]
    assert bag["accuracy"] == pytest.approx(sum(each) / 2)
    assert bag["spread"] == pytest.approx(max(each) - min(each))
    assert tfidf["seeds"] == 1  # it has no seed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "study: no data; name a file, a folder, a hub name, stdlib-docs, or probe."),
        (["probe", "--shares", "10,100"],
         "study probe: its models are fixed; "
         "--kinds, --shares and --seeds are for a study of data."),
        (["{data}", "--kinds", "bag,rnn"],
         "study: unknown kind 'rnn'; choose from attention, cnn, lstm, bag, tfidf."),
        (["{data}", "--shares", "1,ten"],
         "--shares: '1,ten' is not a list of numbers such as 1,10,100."),
        (["{data}", "--shares", "0,10"], 
         "study: shares must be above 0 % and at most 100 %, got 0 %."),
        (["{data}", "--out", "{data}"],
         "{data}: exists and is not a study; name another folder with --out."),
        (["{data}/train.csv", "--out", "{out}"],
         "{data}/train.csv: a study needs a test split; name a file with --data.test."),
        (["{data}", "--out", "{folder}"],
         "{folder}: holds a study with different settings; name another folder with --out."),
    ],
)  # fmt: skip
def test_what_a_study_cannot_do_is_refused(
    flags: list[str],
    message: str,
    data: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = {"data": data, "folder": folder, "out": tmp_path / "out"}
    assert main(["study", *(flag.format(**paths) for flag in flags)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "selfattn: " + message.format(**paths)
    assert not (tmp_path / "out").exists()


def test_ctrl_c_saves_the_finished_cells(tmp_path: Path) -> None:
    def compute(cell: Any) -> dict[str, Any]:
        if cell["kind"] == "b":
            raise KeyboardInterrupt
        return {"accuracy": {"value": 0.5}, "seconds": 1.0}

    grid = Grid(tmp_path / "grid", {"one": 1})
    with pytest.raises(Interrupted) as stopped:
        grid.fill([{"kind": "a"}, {"kind": "b"}], compute)
    message = "stopped; finished cells are saved; repeat the command to continue."
    assert str(stopped.value) == f"{tmp_path / 'grid'}: {message}"
    assert [file.name for file in (tmp_path / "grid" / "cells").iterdir()] == ["a.json"]


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.parametrize("distance", DISTANCES)
def test_no_count_of_words_determines_the_label(task: str, distance: int) -> None:
    """The deciding words are the same for both labels; only their arrangement differs."""
    split = generate(400, 0, (distance,))[task, distance]
    counts: dict[str, Counter[tuple[str, ...]]] = {}
    for text, label in zip(split.texts, split.targets, strict=True):
        words = tuple(sorted(word for word in text.split() if not word.startswith("w")))
        counts.setdefault(label, Counter())[words] += 1
    one, other = counts.values()
    assert set(one) == set(other)
    for words in one:  # equally frequent up to six standard deviations of a fair coin
        total = one[words] + other[words]
        assert abs(one[words] - other[words]) < 6 * np.sqrt(total)


def first_position(words: list[str], wanted: tuple[str, ...]) -> int:
    """The position of the first of the wanted words."""
    return next(i for i, word in enumerate(words) if word in wanted)


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_deciding_words_are_at_their_distance(distance: int) -> None:
    splits = generate(50, 0, (distance,))
    for text in splits["agreement", distance].texts:
        words = text.split()
        subject = first_position(words, ("sheep", "goats"))
        verb = first_position(words, ("graze", "grazes"))
        assert verb - subject == distance
    for text in splits["negation", distance].texts:
        words = text.split()
        assert words[words.index("not") + distance] in ("good", "bad")
    matching = splits["matching", distance]
    for text, label in zip(matching.texts, matching.targets, strict=True):
        words = text.split()
        position = len(words) - 1 - distance
        assert words[-1] == f"{words[position]}?"
        assert words[position + 1] == label
    ends = splits["ends", distance]
    for text, label in zip(ends.texts, ends.targets, strict=True):
        words = text.split()[1:]
        assert len(words) == distance + 1
        assert (words[0] == words[-1]) == (label == "same")


PAIRS: dict[str, Any] = {
    "negation": ("good", "bad"),
    "agreement": ("sheep", "goats"),
    "matching": ("red", "blue"),
    "ends": ("heads", "tails"),
}


def twin(task: str, text: str) -> str:
    """The same words in an order that has the other label."""
    words = text.split()
    one, other = PAIRS[task]
    if task == "ends":  # swap the last word with one of the other kind between the ends
        opposite = other if words[-1] == one else one
        position = words.index(opposite, 2)
        words[position], words[-1] = words[-1], words[position]
        return " ".join(words)
    swapped = {one: other, other: one}
    return " ".join(swapped.get(word, word) for word in words)


def classifier_of(kind: str, texts: list[str]) -> TextClassifier:
    """A classifier with random weights and a single branch."""
    model = model_config(kind=kind, width=8, heads=1, bag_branch=False, max_length=128)
    words = tokenizer_config("word", vocab_size=1000, min_frequency=1)
    tokenizer = train_tokenizer(texts, words)
    settings = prediction_settings(model, words)
    torch.manual_seed(0)
    built = build_model(settings, tokenizer, 2, in_training=False).eval()
    task = SingleLabel(["negative", "positive"])
    return TextClassifier(Run(Settings(), settings, task, tokenizer, built), precision="32")


@pytest.mark.parametrize("task", list(TASKS))
def test_a_bag_cannot_distinguish_a_text_from_its_twin_of_the_other_label(task: str) -> None:
    for (name, _), split in generate(100, 0).items():
        if name != task:
            continue
        twins = [twin(task, text) for text in split.texts]
        assert all(one != other for one, other in zip(split.texts, twins, strict=True))
        assert [sorted(text.split()) for text in split.texts] == [
            sorted(text.split()) for text in twins
        ]
        bag = classifier_of("bag", split.texts)
        np.testing.assert_allclose(
            bag.predict_proba(split.texts), bag.predict_proba(twins), atol=1e-6
        )


def test_attention_can_detect_a_negation_at_any_distance() -> None:
    """The weights are set by hand: every token attends to the last judgement and copies it."""
    splits = {distance: generate(100, 0)["negation", distance] for distance in DISTANCES}
    texts: list[str] = []
    for split in splits.values():
        texts += split.texts
    classifier = classifier_of("attention", texts)
    model: Any = classifier.run.model
    tokenizer = classifier.run.tokenizer
    # The features of a vector. Feature 4 is minus feature 3: large and constant, so that the norms
    # change the others little.
    good, bad, position, one = range(4)
    (layer,) = model.branches["encoder"].encoder.layers
    with torch.no_grad():
        for parameter in model.branches.parameters():
            if parameter.ndim > 1:
                parameter.zero_()
        tokens = model.embedding.tokens.weight
        tokens.zero_()
        tokens[:, one] = 10
        tokens[:, one + 1] = -10
        tokens[tokenizer.token_to_id("good"), good] = 1
        tokens[tokenizer.token_to_id("bad"), bad] = 1
        model.embedding.positions.table.zero_()
        model.embedding.positions.table[:, position] = torch.arange(128) / 128
        query, key, value = layer.attention.qkv.weight.chunk(3)
        query[0, one] = 1000
        key[0, good] = key[0, bad] = 10  # a judgement outweighs any position
        key[0, position] = 5
        value[good, good] = value[bad, bad] = 10
        layer.attention.out.weight.copy_(torch.eye(8))
        head = model.branches["encoder"].head[1].weight
        head[0, good] = head[1, bad] = 10
    for distance, split in splits.items():
        assert classifier.predict(split.texts) == split.targets, distance
        opposite = {"positive": "negative", "negative": "positive"}
        twins = [twin("negation", text) for text in split.texts]
        assert classifier.predict(twins) == [opposite[label] for label in split.targets], distance


def test_a_probe_scores_each_model_on_each_task_and_finds_the_bag_no_better_than_chance(
    tmp_path: Path,
) -> None:
    small: dict[str, Any] = {
        "model": {"width": 8, "heads": 2, "layers": 1},
        "training": {"epochs": 1},
    }
    settings = settings_from(merge(PROBE, small), "probe")
    kinds = ("attention, rotary", "bag")
    result = probe(settings, tmp_path / "probe", texts=50, distances=(3,), kinds=kinds)
    found = {(row["kind"], row["task"], row["distance"]): row["accuracy"] for row in result.rows()}
    assert set(found) == {(kind, task, 3) for kind in kinds for task in TASKS}
    assert all(0 <= accuracy <= 100 for accuracy in found.values())
    # Each of its 200 answers is right by chance: 15 points are four standard deviations.
    for task in TASKS:
        assert found["bag", task, 3] < 50 + 15
    assert (tmp_path / "probe" / "study.png").is_file()


def test_a_share_with_fewer_than_two_rows_per_label_is_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_csv(tmp_path / "train.csv", sentences(66))  # of which 6 are held out
    write_csv(tmp_path / "test.csv", sentences(30, seed=1))
    result = study(
        str(tmp_path), out=tmp_path / "study", kinds=("tfidf",), shares=(1, 10, 100), **TINY
    )
    assert [cell["rows"] for cell in result.cells] == [6, 60]
    assert "skipping 1 %: fewer than two rows per label" in caplog.text
