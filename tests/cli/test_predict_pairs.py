"""Pairs of texts on the command line and in Python."""

from pathlib import Path

import numpy as np
import pytest
from command_line import Capture, predicted, refusal
from helpers import EXACT, write_csv

from selfattn_lm import TextClassifier, evaluate, fit, train
from selfattn_lm.errors import UserError

pytestmark = pytest.mark.usefixtures("in_own_folder")
HEADER = ("premise", "hypothesis", "label")
WORDS = ("dog", "cat", "bird", "fish")
OF_PAIRS = (
    "the run was trained on pairs of texts; give the second text of each with --pair or"
    " --data.pair-column (Python: pairs=)."
)
OF_SINGLE = (
    "the run was trained on single texts, not on pairs; leave out --pair or --data.pair-column"
    " (Python: pairs=)."
)


def rows(count: int) -> list[tuple[str, str, str]]:
    """Pairs that are the same or not: the words of both sides together do not tell."""
    found = []
    for i in range(count):
        first = WORDS[i % 4]
        second = WORDS[(i + i // 4 % 2) % 4]
        label = "same" if first == second else "other"
        found.append((f"the {first} runs", f"a {second} runs", label))
    return found


@pytest.fixture(scope="module")
def pairs_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    write_csv(folder / "data" / "train.csv", rows(320), HEADER)
    write_csv(folder / "data" / "test.csv", rows(64), HEADER)
    return train(str(folder / "data"), out=folder / "run", **EXACT).folder


def test_a_model_learns_to_compare_the_texts_of_a_pair(pairs_run: Path) -> None:
    write_csv(Path("test.csv"), rows(64), HEADER)
    scores = evaluate(pairs_run, "test.csv").values
    assert scores["accuracy"]["value"] > 0.95


def test_pairs_are_predicted_from_a_file_and_bad_rows_are_reported(
    pairs_run: Path, capsys: Capture
) -> None:
    write_csv(
        Path("a.csv"),
        [
            ("the dog runs", "a dog runs"),
            ("the cat runs", " "),
            ("", "a cat"),
            ("the cat runs", "a bird runs"),
        ],
        HEADER[:2],
    )
    found, said = predicted(capsys, pairs_run, "a.csv")
    assert [row["prediction"] for row in found] == ["same", "", "", "other"]
    assert "a.csv, row 2 (line 3): an empty text in column 'hypothesis', so no prediction" in said
    assert "a.csv, row 3 (line 4): an empty text in column 'premise', so no prediction" in said


def test_pairs_of_the_command_line_are_predicted(pairs_run: Path, capsys: Capture) -> None:
    texts = ("--text", "the dog runs", "--pair", "a dog runs", "--text", "x", "--pair", "a cat")
    found, _ = predicted(capsys, pairs_run, *texts)
    assert [row["pair"] for row in found] == ["a dog runs", "a cat"]
    assert found[0]["prediction"] == "same"
    message = "predict: --text is given 2 times, but --pair 1 times; give one --pair per --text."
    assert refusal(capsys, "predict", pairs_run, *texts[:-2]) == message


def test_single_texts_are_refused_by_a_run_of_pairs_and_the_reverse(
    pairs_run: Path, run: Path, capsys: Capture
) -> None:
    assert refusal(capsys, "predict", pairs_run, "--text", "a dog") == OF_PAIRS
    assert refusal(capsys, "predict", run, "--text", "a dog", "--pair", "a cat") == OF_SINGLE
    write_csv(Path("single.csv"), [("a dog", "same")])
    message = (
        "single.csv: no column 'hypothesis' with the second text of a pair; found 'text', 'label'."
        " Use --data.pair-column."
    )
    assert refusal(capsys, "evaluate", pairs_run, "single.csv") == message
    assert refusal(capsys, "predict", pairs_run, "single.csv") == message
    Path("lines.txt").write_text("a dog\n", encoding="utf-8")
    assert refusal(capsys, "predict", pairs_run, "lines.txt") == OF_PAIRS


def test_pairs_in_python_are_predicted_embedded_and_checked(pairs_run: Path, run: Path) -> None:
    classifier = TextClassifier.load(pairs_run)
    texts, pairs = ["the dog runs", "the dog runs"], ["a dog runs", "a cat runs"]
    assert classifier.predict(texts, pairs=pairs) == ["same", "other"]
    assert classifier.predict_proba(texts, pairs).shape == (2, 2)
    vectors = classifier.embed(texts, pairs)
    assert not np.allclose(vectors[0], vectors[1])
    with pytest.raises(UserError, match="2 texts but 1 pair; give one second text per text"):
        classifier.predict(texts, pairs[:1])
    with pytest.raises(UserError) as error:
        classifier.predict(texts)
    assert str(error.value) == OF_PAIRS
    with pytest.raises(UserError) as error:
        TextClassifier.load(run).predict(texts, pairs)
    assert str(error.value) == OF_SINGLE


def test_fit_learns_pairs_in_memory_and_a_saved_run_reads_a_file_of_pairs() -> None:
    texts, pairs, labels = zip(*rows(64), strict=True)
    held_out = (texts[:16], labels[:16], pairs[:16])
    classifier = fit(texts, labels, pairs=pairs, validation=held_out, **EXACT)
    classifier.save("saved")
    loaded = TextClassifier.load("saved")
    expected = classifier.predict_proba(texts, pairs)
    np.testing.assert_allclose(loaded.predict_proba(texts, pairs), expected, atol=2e-3)
    write_csv(Path("test.csv"), rows(16), HEADER)
    assert evaluate("saved", "test.csv").values["rows"] == 16
    with pytest.raises(TypeError, match=r"give a tuple, \(texts, labels, pairs\)"):
        fit(texts, labels, pairs=pairs, validation=(texts, labels), **EXACT)


def test_a_start_from_a_run_of_single_texts_is_refused(run: Path, capsys: Capture) -> None:
    write_csv(Path("train.csv"), rows(32), HEADER)
    message = (
        "train.csv: pairs of texts, but the run to start from reads single texts; start from a BERT"
        " or from scratch."
    )
    assert refusal(capsys, "train", "train.csv", "--init", run) == message


def test_a_study_of_pairs_is_refused(capsys: Capture) -> None:
    for name in ("train", "test"):
        write_csv(Path("data") / f"{name}.csv", rows(32), HEADER)
    message = (
        "study: compares classifiers of single texts, not of pairs; --data.pair-column none reads"
        " the first texts alone."
    )
    assert refusal(capsys, "study", "data") == message


def test_a_length_without_room_for_two_texts_is_refused() -> None:
    texts, pairs, labels = zip(*rows(32), strict=True)
    with pytest.raises(UserError) as error:
        fit(texts, labels, pairs=pairs, max_length=4)
    message = "model.max_length: 4 tokens are too few for a pair of texts; give at least 5."
    assert str(error.value) == message


def test_pretraining_before_a_classifier_of_pairs_is_refused(capsys: Capture) -> None:
    write_csv(Path("train.csv"), rows(32), HEADER)
    message = (
        "train: pretraining reads single texts, and no classifier of pairs starts from it; leave"
        " out --pretrain."
    )
    assert refusal(capsys, "train", "train.csv", "--pretrain") == message
