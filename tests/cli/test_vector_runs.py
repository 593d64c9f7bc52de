"""Runs on sequences of vectors: training, evaluation and prediction, from files and in Python."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Capture, predicted, refusal
from helpers import EXACT, write_csv

from selfattn_lm import TextClassifier, evaluate, fit, train
from selfattn_lm.errors import UserError
from selfattn_lm.inputs import Inputs

pytestmark = pytest.mark.usefixtures("in_own_folder")


def examples(count: int, seed: int = 0) -> tuple[list[np.ndarray], list[str]]:
    """Sequences that rise or fall: the order of their vectors tells, and no single vector does."""
    random = np.random.default_rng(seed)
    sequences, labels = [], []
    for i in range(count):
        length = random.integers(4, 9)
        steps = np.linspace(-1, 1, length)
        label = "rises" if i % 2 else "falls"
        if label == "falls":
            steps = -steps
        noise = random.normal(0, 0.1, (length, 3))
        sequences.append((1000 * (steps[:, None] + noise)).astype(np.float32))
        labels.append(label)
    return sequences, labels


def write_npz(path: Path, count: int, seed: int = 0) -> Path:
    sequences, labels = examples(count, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    lengths = [len(item) for item in sequences]
    np.savez(path, vectors=np.concatenate(sequences), lengths=lengths, label=labels)
    return path


@pytest.fixture(scope="module")
def vector_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vectors")
    write_npz(folder / "data" / "train.npz", 400)
    write_npz(folder / "data" / "test.npz", 100, seed=1)
    settings: dict[str, Any] = {
        "model": {**EXACT["model"], "dropout": 0.0, "embedding_dropout": 0.0},
        "training": {**EXACT["training"], "epochs": 12},
    }
    return train(folder / "data", out=folder / "run", **settings).folder


def test_a_model_learns_the_order_of_vectors(vector_run: Path) -> None:
    write_npz(Path("new.npz"), 100, seed=2)
    assert evaluate(vector_run, "new.npz").values["accuracy"]["value"] > 0.9


def test_the_run_folder_holds_the_standardisation_and_no_tokenizer(vector_run: Path) -> None:
    names = {file.name for file in vector_run.iterdir()}
    assert "features.json" in names
    assert "tokenizer.json" not in names
    assert len(json.loads((vector_run / "features.json").read_text())["mean"]) == 3
    card = (vector_run / "README.md").read_text()
    assert "A model of sequences of vectors (attention, 16 wide, 1 layer)" in card
    assert "Each vector has 3 features, which are standardised" in card
    facts = json.loads((vector_run / "data.json").read_text())
    assert facts["train"]["rows"] == 360


def test_files_folders_and_python_predict_the_same(vector_run: Path, capsys: Capture) -> None:
    sequences, labels = examples(4, seed=3)
    Path("folder").mkdir()
    for i, item in enumerate(sequences):
        np.save(f"folder/{i}.npy", item)
    rows = [{"id": i, "sequence": item.tolist()} for i, item in enumerate(sequences)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_npz(Path("same.npz"), 4, seed=3)
    expected = TextClassifier.load(vector_run).predict(sequences)
    assert expected == labels
    for source in ("folder", "rows.jsonl", "same.npz"):
        found, _ = predicted(capsys, vector_run, source)
        assert [row["prediction"] for row in found] == expected
        assert "sequence" not in found[0]
    named, _ = predicted(capsys, vector_run, "folder")
    assert named[0]["file"] == "0.npy"
    single, _ = predicted(capsys, vector_run, "folder/1.npy")
    assert [row["prediction"] for row in single] == ["rises"]


def test_bad_rows_are_reported_and_get_no_prediction(vector_run: Path, capsys: Capture) -> None:
    good = examples(1)[0][0].tolist()
    cells: list[Any] = [good, [[1.0, float("nan"), 1.0]], [[1.0, 2.0]], "text", []]
    lines = [json.dumps({"sequence": cell}) for cell in cells]
    Path("rows.jsonl").write_text("\n".join(lines) + "\n")
    from selfattn_lm.cli import main

    assert main(["predict", str(vector_run), "rows.jsonl"]) == 0
    out, err = capsys.readouterr()
    assert [bool(line.split(",")[0]) for line in out.splitlines()[1:]] == [True] + [False] * 4
    other = "not a sequence of vectors, on which the run was trained, so no prediction"
    assert err.splitlines()[-4:] == [
        "rows.jsonl, row 2: nan in vector 0, feature 1, so no prediction",
        "rows.jsonl, row 3: vectors of 2 features, but the run was trained on vectors of 3, so no"
        " prediction",
        f"rows.jsonl, row 4: {other}",
        f"rows.jsonl, row 5: {other}",
    ]


def test_padding_changes_no_prediction(vector_run: Path) -> None:
    sequences, _ = examples(9)
    classifier = TextClassifier.load(vector_run, "32")
    together = classifier.outputs(sequences)
    alone = np.concatenate([classifier.outputs([item]) for item in sequences])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert classifier.embed(sequences).shape == (9, 32)


@pytest.mark.parametrize("kind", ["attention", "bag", "cnn", "lstm"])
@pytest.mark.parametrize("positions", ["learned", "none"])
def test_only_a_model_without_order_reads_a_set(kind: str, positions: str) -> None:
    sequences, labels = examples(20)
    model = {**EXACT["model"], "kind": kind, "positions": positions, "bag_branch": False}
    training = {**EXACT["training"], "epochs": 1}
    classifier = fit(sequences, labels, model=model, training=training)
    turned = [item[::-1] for item in sequences]
    is_same = np.allclose(classifier.outputs(sequences), classifier.outputs(turned), atol=1e-5)
    reads_a_set = kind == "bag" or (kind == "attention" and positions == "none")
    assert is_same == reads_a_set


def test_the_projection_is_a_linear_map_of_each_vector(vector_run: Path) -> None:
    model = TextClassifier.load(vector_run).run.model
    vectors = torch.randn(2, 5, 3)
    inputs = Inputs(vectors, torch.ones(2, 5, dtype=torch.bool))
    weights = model.state_dict()
    projection = weights["embedding.tokens.weight"], weights["embedding.tokens.bias"]
    expected = vectors @ projection[0].T + projection[1]
    expected = expected + weights["embedding.positions.table"][:5]
    torch.testing.assert_close(model.embedding(inputs), expected)
    assert isinstance(model.embedding.tokens, torch.nn.Linear)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [([["x"], ["x", "y"], []] * 8, list), ([0.5 + i for i in range(24)], float)],
    ids=["several labels", "numbers"],
)
def test_vectors_have_several_labels_or_numbers_too(targets: list[Any], expected: type) -> None:
    training = {**EXACT["training"], "epochs": 1}
    sequences, _ = examples(24)
    classifier = fit(sequences, targets, model=EXACT["model"], training=training)
    assert isinstance(classifier.predict(sequences[:1])[0], expected)


def test_a_run_on_vectors_starts_another_one(vector_run: Path, capsys: Capture) -> None:
    write_npz(Path("more.npz"), 40, seed=4)
    result = train("more.npz", init=vector_run, out="next", epochs=1, learning_rate=1e-5)
    assert evaluate("next", "more.npz").values["accuracy"]["value"] > 0.8
    first = (vector_run / "features.json").read_text()
    assert (result.folder / "features.json").read_text() == first
    np.savez(
        "other.npz",
        sequences=np.zeros((8, 3, 5)) + np.arange(8)[:, None, None],
        label=list("abababab"),
    )
    message = (
        "other.npz: vectors of 5 features, but the run was trained on vectors of 3; leave it out,"
        " or train from scratch."
    )
    assert refusal(capsys, "train", "other.npz", "--init", vector_run) == message


def test_texts_and_vectors_are_not_exchanged(vector_run: Path, run: Path, capsys: Capture) -> None:
    write_csv(Path("texts.csv"), [("an apple", "a"), ("a river", "b")] * 8)
    write_npz(Path("vectors.npz"), 16)
    start = "texts.csv: single texts, but the run to start from reads vectors"
    message = f"{start}; start from a BERT or from scratch."
    assert refusal(capsys, "train", "texts.csv", "--init", vector_run) == message
    start = "vectors.npz: vectors, but the run to start from reads single texts"
    assert refusal(capsys, "train", "vectors.npz", "--init", run) == f"{start}; start from scratch."
    message = "sequences of vectors, but the run was trained on texts; give texts."
    with pytest.raises(UserError) as caught:
        TextClassifier.load(run).predict(examples(1)[0])
    assert str(caught.value) == message
    message = (
        "sequences[0]: of the type str, not a sequence of vectors; give a matrix (T, F) for each."
    )
    with pytest.raises(UserError) as caught:
        TextClassifier.load(vector_run).predict(["a text"])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--tokenizer.vocab-size", 100), "tokenizer: sequences of vectors have no tokens; leave its settings out."),
        (("--model.max-ngram", 3), "model.max_ngram: sequences of vectors have no n-grams; leave it out."),
        (("--model.pooling", "cls"), "model.pooling: cls reads the [CLS] of a text, which sequences of vectors do not have; choose mean or max."),
        (("--model.long-texts", "windows"), "model.long_texts: windows is for single texts, but these are sequences; leave it out."),
    ],
)  # fmt: skip
def test_settings_of_texts_are_refused(
    capsys: Capture, flags: tuple[Any, ...], message: str
) -> None:
    write_npz(Path("vectors.npz"), 40)
    assert refusal(capsys, "train", "vectors.npz", *flags) == message


def test_long_sequences_are_subsampled_and_it_is_said(capsys: Capture) -> None:
    from selfattn_lm.cli import main

    write_npz(Path("vectors.npz"), 60)
    flags = ["--model.max-length", "4", "--training.epochs", "1", "--out", "short"]
    assert main(["train", "vectors.npz", *flags]) == 0
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if line.startswith("vectors ")]
    assert line.startswith("vectors     3 features, standardised; ")
    assert line.endswith(
        " % of the sequences have more than 4 vectors and are subsampled to that number"
    )


def test_a_study_compares_no_models_of_vectors(capsys: Capture) -> None:
    write_npz(Path("data/train.npz"), 40)
    write_npz(Path("data/test.npz"), 20)
    message = "study: compares classifiers of texts, not of vectors; name other data."
    assert refusal(capsys, "study", "data") == message
