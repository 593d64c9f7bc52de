import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib.figure  # noqa: F401 - it and the next take seconds, which no test shall be charged for
import numpy as np
import pytest
import sklearn.svm  # noqa: F401
import torch
from helpers import EXACT, sentences, write_csv

from selfattn_lm import TextClassifier, study
from selfattn_lm.cli import main
from selfattn_lm.config import ModelConfig, Settings, TokenizerConfig, merge, settings_from
from selfattn_lm.features.tokenizer import train_tokenizer
from selfattn_lm.runs import Run, new_model
from selfattn_lm.study import PROBE, probe
from selfattn_lm.study.grid import Grid
from selfattn_lm.study.synthetic import DISTANCES, TASKS, generate

TINY = {"model": EXACT["model"], "training": {**EXACT["training"], "epochs": 1}}
KINDS = ("attention", "cnn", "lstm", "bag", "tfidf")


@pytest.fixture(scope="module")
def folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of each kind at a fifth and all of the data; tests read it and never change it."""
    return study(str(data), out=tmp_path_factory.mktemp("studies") / "small", shares=(20, 100), **TINY).folder


def test_a_study_has_a_row_for_each_kind_and_share(folder: Path) -> None:
    with (folder / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], row["share"], row["rows"]) for row in rows] == [
        (kind, share, count) for share, count in (("20", "48"), ("100", "240")) for kind in KINDS
    ]
    for row in rows:
        low, accuracy, high = (float(row[name]) for name in ("low", "accuracy", "high"))
        assert 0 <= low <= accuracy <= high <= 100
        assert all(float(row[name]) > 0 for name in ("parameters", "seconds", "texts_per_s"))
    best = {row["kind"]: float(row["accuracy"]) for row in rows if row["share"] == "100"}
    assert best["tfidf"] > 60  # seen: 100; by chance: 33. The others have one epoch, in which little is learned


def test_a_study_draws_its_picture_and_writes_its_table(folder: Path) -> None:
    assert (folder / "study.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (folder / "study.svg").read_text(encoding="utf-8")
    lines = (folder / "table.md").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("| kind | share, % | rows | accuracy |")
    assert len(lines) == 2 + 2 * len(KINDS)


def test_the_models_differ_in_their_encoders_alone(folder: Path) -> None:
    sizes = {kind: json.loads((folder / "cells" / f"{kind}-100-0.json").read_text())["parameters"] for kind in KINDS}
    shared = sizes["bag"]
    assert all(shared < sizes[kind] < 1.25 * shared for kind in ("attention", "cnn", "lstm"))


def test_a_study_goes_on_with_the_cells_that_are_missing(
    data: Path, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    kept = json.loads((copy / "cells" / "bag-20-0.json").read_text())
    kept["accuracy"]["value"] = 0.123  # as only a cell that is not computed again can hold
    (copy / "cells" / "bag-20-0.json").write_text(json.dumps(kept))
    (copy / "cells" / "tfidf-100-0.json").unlink()
    with caplog.at_level("INFO"):
        result = study(str(data), out=copy, shares=(20, 100), **TINY)
    assert "9 of 10 cells are there already" in caplog.text
    assert (copy / "cells" / "tfidf-100-0.json").is_file()
    means = {(row["kind"], row["share"]): row["accuracy"] for row in result.means()}
    assert means["bag", 20] == pytest.approx(12.3)


def test_seeds_are_averaged_and_their_spread_told(data: Path, tmp_path: Path) -> None:
    result = study(str(data), out=tmp_path / "seeds", kinds=("bag", "tfidf"), shares=(20,), seeds=2, **TINY)
    cells = [cell for cell in result.cells if cell["kind"] == "bag"]
    assert [cell["seed"] for cell in cells] == [0, 1]
    (bag, tfidf) = result.means()
    each = [100 * cell["accuracy"]["value"] for cell in cells]
    assert bag["accuracy"] == pytest.approx(sum(each) / 2)
    assert bag["spread"] == pytest.approx(max(each) - min(each))
    assert tfidf["seeds"] == 1  # it has no seed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "study: no data; name a file, a folder, a hub name, stdlib-docs, or probe."),
        (["probe", "--shares", "10,100"],
         "study probe: its models are fixed; --kinds, --shares and --seeds are for a study of data."),
        (["{data}", "--kinds", "bag,rnn"], "study: no kind 'rnn'; there are attention, cnn, lstm, bag, tfidf."),
        (["{data}", "--shares", "1,ten"], "--shares: '1,ten' is not a list of numbers such as 1,10,100."),
        (["{data}", "--shares", "0,10"], "study: a share of 0 % is not above 0 and at most 100."),
        (["{data}", "--out", "{data}"], "{data}: exists and is not a study; name another folder with --out."),
        (["{data}/train.csv", "--out", "{out}"],
         "{data}/train.csv: a study needs a test split; name a file with --data.test."),
        (["{data}", "--out", "{folder}"],
         "{folder}: a study with another settings was begun there; name another folder with --out."),
    ],
)  # fmt: skip
def test_what_a_study_cannot_do_is_refused(
    flags: list[str], message: str, data: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"data": data, "folder": folder, "out": tmp_path / "out"}
    assert main(["study", *(flag.format(**places) for flag in flags)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "selfattn: " + message.format(**places)
    assert not (tmp_path / "out").exists()


def test_ctrl_c_keeps_the_finished_cells(tmp_path: Path) -> None:
    def compute(cell: Any) -> dict[str, Any]:
        if cell["kind"] == "b":
            raise KeyboardInterrupt
        return {"accuracy": {"value": 0.5}, "seconds": 1.0}

    grid = Grid(tmp_path / "grid", {"one": 1})
    with pytest.raises(KeyboardInterrupt) as stopped:
        grid.fill([{"kind": "a"}, {"kind": "b"}], compute)
    assert str(stopped.value) == f"{tmp_path / 'grid'}: stopped; its finished cells are kept, the same command goes on."
    assert [file.name for file in (tmp_path / "grid" / "cells").iterdir()] == ["a.json"]


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.parametrize("distance", DISTANCES)
def test_no_count_of_words_tells_the_label(task: str, distance: int) -> None:
    """Each arrangement of the deciding words has, whatever its label, the same words."""
    split = generate(400, 0, (distance,))[task, distance]
    counts: dict[str, Counter[tuple[str, ...]]] = {}
    for text, label in zip(split.texts, split.labels, strict=True):
        words = tuple(sorted(word for word in text.split() if not word.startswith("w")))
        counts.setdefault(label, Counter())[words] += 1
    one, other = counts.values()
    assert set(one) == set(other)
    for words in one:  # equally frequent but for chance: six standard deviations of a coin
        total = one[words] + other[words]
        assert abs(one[words] - other[words]) < 6 * np.sqrt(total)


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_deciding_words_stand_at_their_distance(distance: int) -> None:
    splits = generate(50, 0, (distance,))
    for text in splits["agreement", distance].texts:
        words = text.split()
        subject = next(i for i, word in enumerate(words) if word in ("sheep", "goats"))
        verb = next(i for i, word in enumerate(words) if word in ("graze", "grazes"))
        assert verb - subject == distance
    for text in splits["negation", distance].texts:
        words = text.split()
        assert words[words.index("not") + distance] in ("good", "bad")
    for text, label in zip(splits["matching", distance].texts, splits["matching", distance].labels, strict=True):
        words = text.split()
        place = len(words) - 1 - distance
        assert words[-1] == f"{words[place]}?"
        assert words[place + 1] == label
    for text, label in zip(splits["ends", distance].texts, splits["ends", distance].labels, strict=True):
        words = text.split()[1:]
        assert len(words) == distance + 1
        assert (words[0] == words[-1]) == (label == "same")


def twin(task: str, text: str) -> str:
    """The same words in another order, by which the label is the other one."""
    words = text.split()
    if task == "ends":  # the last word changes places with one of the other kind in between
        place = next(i for i in range(2, len(words)) if words[i] in ("heads", "tails") and words[i] != words[-1])
        words[place], words[-1] = words[-1], words[place]
        return " ".join(words)
    one, other = {"negation": ("good", "bad"), "agreement": ("sheep", "goats"), "matching": ("red", "blue")}[task]
    return " ".join({one: other, other: one}.get(word, word) for word in words)


def classifier_of(kind: str, texts: list[str]) -> TextClassifier:
    """A classifier with random weights, of one view."""
    model = ModelConfig(
        kind=kind,
        width=8,
        heads=1,
        layers=1,
        max_ngram=1,
        bag_branch=False,
        char_ngrams=False,
        max_length=128,
        pooling="mean",
    )  # type: ignore[arg-type]
    settings = Settings(model=model, tokenizer=TokenizerConfig("word", 1000, min_frequency=1))
    tokenizer = train_tokenizer(texts, settings.tokenizer)
    torch.manual_seed(0)
    built = new_model(settings, tokenizer, 2, with_char_ngrams=False).eval()
    return TextClassifier(Run(settings, {}, ["negative", "positive"], tokenizer, built), precision="32")


@pytest.mark.parametrize("task", list(TASKS))
def test_a_bag_cannot_tell_a_text_from_its_twin_of_the_other_label(task: str) -> None:
    for (name, _), split in generate(100, 0).items():
        if name != task:
            continue
        twins = [twin(task, text) for text in split.texts]
        assert all(one != other for one, other in zip(split.texts, twins, strict=True))
        assert [sorted(text.split()) for text in split.texts] == [sorted(text.split()) for text in twins]
        bag = classifier_of("bag", split.texts)
        np.testing.assert_allclose(bag.predict_proba(split.texts), bag.predict_proba(twins), atol=1e-6)


def test_attention_can_tell_whether_the_judgement_is_negated_at_any_distance() -> None:
    """Its weights are set: every token looks for the last judgement, and takes over what it says."""
    splits = {distance: split for (task, distance), split in generate(100, 0).items() if task == "negation"}
    classifier = classifier_of("attention", [text for split in splits.values() for text in split.texts])
    model, tokenizer = classifier.run.model, classifier.run.tokenizer
    good, bad, place, one = range(4)  # the features of a vector; 4 is the negative of 3, so that norms keep the rest
    (layer,) = model.branches["encoder"].encoder.layers
    with torch.no_grad():
        for parameter in model.branches.parameters():
            if parameter.ndim > 1:
                parameter.zero_()
        model.embedding.tokens.weight.zero_()
        model.embedding.tokens.weight[:, one], model.embedding.tokens.weight[:, one + 1] = 10, -10
        model.embedding.tokens.weight[tokenizer.token_to_id("good"), good] = 1
        model.embedding.tokens.weight[tokenizer.token_to_id("bad"), bad] = 1
        model.embedding.positions.table.zero_()
        model.embedding.positions.table[:, place] = torch.arange(128) / 128
        query, key, value = layer.attention.qkv.weight.chunk(3)
        query[0, one] = 1000
        key[0, good] = key[0, bad] = 10  # a judgement outweighs any place
        key[0, place] = 5
        value[good, good] = value[bad, bad] = 10
        layer.attention.out.weight.copy_(torch.eye(8))
        head = model.branches["encoder"].head[1].weight
        head[0, good] = head[1, bad] = 10
    for distance, split in splits.items():
        assert classifier.predict(split.texts) == split.labels, distance
        others = ["positive" if label == "negative" else "negative" for label in split.labels]
        assert classifier.predict([twin("negation", text) for text in split.texts]) == others, distance


def test_a_probe_scores_each_model_on_each_task_and_finds_the_bag_no_better_than_chance(tmp_path: Path) -> None:
    settings = settings_from(
        merge(PROBE, {"model": {"width": 8, "heads": 2, "layers": 1}, "training": {"epochs": 1}}), "probe"
    )
    kinds = ("attention, rotary", "bag")
    result = probe(settings, tmp_path / "probe", texts=50, distances=(3,), kinds=kinds)
    found = {(row["kind"], row["task"], row["distance"]): row["accuracy"] for row in result.rows()}
    assert set(found) == {(kind, task, 3) for kind in kinds for task in TASKS}
    assert all(0 <= accuracy <= 100 for accuracy in found.values())
    # Whatever it learned, each of its 200 answers is right by chance: 15 percent are four standard deviations.
    assert all(found["bag", task, 3] < 50 + 15 for task in TASKS)
    assert (tmp_path / "probe" / "study.png").is_file()


def test_a_share_with_less_than_two_rows_a_label_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_csv(tmp_path / "train.csv", sentences(66))  # of which 6 are held out
    write_csv(tmp_path / "test.csv", sentences(30, seed=1))
    result = study(str(tmp_path), out=tmp_path / "study", kinds=("tfidf",), shares=(1, 10, 100), **TINY)
    assert [cell["rows"] for cell in result.cells] == [6, 60]
    message = "of 1 % there are not two rows a label, so they are left out"
    assert message in caplog.text
