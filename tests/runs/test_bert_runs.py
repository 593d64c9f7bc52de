"""Runs that start from a BERT: trained, resumed, frozen in part, and exported."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bert_checkpoints import TEXTS, checkpoint, transformers
from helpers import assert_says, sentences

from selfattn_lm import TextClassifier, export, fit, train
from selfattn_lm.cli import main
from selfattn_lm.runs import read_bert
from selfattn_lm.training.callbacks import StopOnRequest, StopRequested
from selfattn_lm.training.optimizer import build_optimizer, freeze


def fit_sentences(rows: int, **options: Any) -> TextClassifier:
    texts, labels = zip(*sentences(rows), strict=True)
    return fit(texts, labels, **options)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that started from a tiny BERT, in `model` beside it; no test changes it."""
    folder = tmp_path_factory.mktemp("bert")
    checkpoint(folder / "model", "BertForPreTraining")
    fit_sentences(60, init=folder / "model", out=folder / "run", epochs=2, learning_rate=0.01)
    return folder / "run"


@pytest.mark.parametrize("name", ["BertModel", "DistilBertModel"])
def test_an_exported_run_has_the_same_probabilities_in_transformers(
    name: str, tmp_path: Path
) -> None:
    checkpoint(tmp_path / "model", name)
    run, exported = tmp_path / "run", tmp_path / "exported"
    labels = fit_sentences(60, init=tmp_path / "model", out=run, epochs=1, pooling="cls").labels
    message = export(run, out=exported)
    files = "config.json, model.safetensors, tokenizer.json, tokenizer_config.json, vocab.txt"
    assert message == f"written to {exported}: {files}"
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(exported)
    assert theirs.config.id2label == {0: "fruit", 1: "metal", 2: "water"}
    ours = TextClassifier.load(run, precision="32").predict_proba(TEXTS)
    pipeline = transformers.pipeline("text-classification", str(exported), top_k=None)
    rows = pipeline(TEXTS, truncation=True)
    for probabilities, row in zip(ours, rows, strict=True):
        scores = {found["label"]: found["score"] for found in row}
        expected = [scores[label] for label in labels]
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    inputs = ["input_ids", "attention_mask"]
    if name == "BertModel":
        inputs = ["input_ids", "token_type_ids", "attention_mask"]
    assert list(pipeline.tokenizer(TEXTS[0])) == inputs
    again = TextClassifier.load(exported, precision="32").predict_proba(TEXTS)
    np.testing.assert_array_equal(again, ours)


def test_added_tokens_and_limits_of_a_checkpoint_stay_from_the_first_file_to_the_exported_one(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "model"
    checkpoint(folder)
    options = {
        "do_lower_case": False,
        "model_max_length": 16,
        "additional_special_tokens": ["river", "##s"],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(options))
    fit_sentences(30, init=folder, out=tmp_path / "run", epochs=1)
    export(tmp_path / "run", out=tmp_path / "exported")
    ours = TextClassifier.load(tmp_path / "run").run
    assert ours.resolved.model.max_length == 16
    first = transformers.AutoTokenizer.from_pretrained(folder)
    last = transformers.AutoTokenizer.from_pretrained(tmp_path / "exported")
    assert first.model_max_length == last.model_max_length == 16
    for text in ["the rivers##s of Iron iron", *TEXTS]:
        ids = ours.tokenizer.encode(text).ids
        assert ids == first(text)["input_ids"] == last(text)["input_ids"]
    assert "river" in ours.tokenizer.encode("rivers").tokens


def test_a_run_of_bert_can_be_loaded_evaluated_and_started_from(
    tuned: Path, data: Path, tmp_path: Path
) -> None:
    assert TextClassifier.load(tuned).run.bert == read_bert(tuned.parent / "model").bert
    assert main(["evaluate", str(tuned), str(data)]) == 0
    again = train(
        str(data),
        init=tuned,
        out=tmp_path / "again",
        epochs=1,
        learning_rate=1e-9,
        ema_decay=0,
        precision="32",
    )
    texts = [text for text, _ in sentences(20)]
    before = TextClassifier.load(tuned, precision="32").predict_proba(texts)
    after = TextClassifier.load(again.folder, precision="32").predict_proba(texts)
    np.testing.assert_allclose(after, before, atol=0.01)
    assert again.classifier.run.settings.training.layer_decay < 1  # the default for a BERT
    assert again.classifier.run.settings.model.dropout == 0.1


def test_a_stopped_fine_tuning_is_resumed_to_the_same_bytes(
    tuned: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init, whole, run = tuned.parent / "model", tmp_path / "whole", tmp_path / "run"
    options: dict[str, Any] = {"epochs": 2, "learning_rate": 0.01, "precision": "32"}
    train(str(data), init=init, out=whole, **options)

    def stop_in_second_epoch(self: StopOnRequest, trainer: Any, *args: Any) -> None:
        if trainer.global_step == 10:
            raise StopRequested

    with monkeypatch.context() as patch:
        patch.setattr(StopOnRequest, "on_train_batch_end", stop_in_second_epoch)
        assert train(str(data), init=init, out=run, **options).resumable
    assert train(resume=True, out=run).classifier.run.bert is not None
    expected = (whole / "model.safetensors").read_bytes()
    assert (run / "model.safetensors").read_bytes() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"model_type": "bert"}', "does not hold the shape of a BERT; train the run again."),
        ("[]", "holds no JSON object."),
    ],
)
def test_a_broken_shape_is_refused_by_all_who_read_it(
    text: str,
    message: str,
    tuned: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tuned, broken)
    (broken / "bert.json").write_text(text)
    predict = ["predict", str(broken), "--text", "a"]
    train_again = ["train", str(data), "--init", str(broken), "--out", str(tmp_path / "out")]
    for command in (predict, train_again):
        assert main(command) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert last == f"selfattn: {broken / 'bert.json'}: {message}"


def test_what_cannot_be_exported_is_refused(
    tuned: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(folder: Path, out: Path) -> str:
        assert main(["export", str(folder), "--out", str(out)]) == 2
        return capsys.readouterr().err.splitlines()[-1].removeprefix("selfattn: ")

    out = tmp_path / "out"
    assert refusal(run, out) == (
        "export: this run uses the encoder of selfattn_lm, which is not a BERT; "
        "only runs that started with --init BERT can be exported as one."
    )
    checkpoint(tmp_path / "masked", "BertForMaskedLM")
    assert refusal(tmp_path / "masked", out) == (
        "export: this run is not a classifier; `selfattn train` makes a classifier of it."
    )
    fit_sentences(30, init=tmp_path / "masked", out=tmp_path / "mean", epochs=1)
    assert refusal(tmp_path / "mean", out) == (
        "export: this run pools by mean, which BertForSequenceClassification cannot; "
        "train it with --model.pooling cls."
    )
    assert refusal(tuned, tuned) == f"{tuned}: exists; name another folder with --out."
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--preset", "quick"],
            "--preset quick: trains a bag of embeddings, but {init} is a BERT; "
            "leave one of them out.",
        ),
        (
            ["--pretrain"],
            "train: --pretrain and --init both say what to start from; leave one of them out.",
        ),
        (
            ["--model.width", "64"],
            "model.width=64 contradicts {init}, the run to start from, which has 32; leave it out.",
        ),
        (
            ["--model.max-length", "41"],
            "model.max_length=41 contradicts {init}, the run to start from, which has 40; "
            "leave it out.",
        ),
        (["--training.freeze", "half"], 'Invalid value for --training.freeze: …"half"…'),
    ],
)
def test_what_a_bert_cannot_be_is_refused(
    flags: list[str],
    message: str,
    tuned: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    init, out = tuned.parent / "model", tmp_path / "out"
    assert main(["train", str(data), "--init", str(init), "--out", str(out), *flags]) == 2
    last = capsys.readouterr().err.splitlines()[-1].removeprefix("selfattn: ")
    assert_says(last, message.format(init=init))
    assert not out.exists()


@pytest.mark.parametrize(
    ("frozen", "frozen_layers"), [("none", 0), ("embeddings", 0), (1, 1), ("all", 2)]
)
def test_what_is_frozen_stays_as_it_was(
    frozen: int | str, frozen_layers: int, tuned: Path, tmp_path: Path
) -> None:
    init = tuned.parent / "model"
    classifier = fit_sentences(
        30,
        init=init,
        out=tmp_path / "run",
        epochs=1,
        learning_rate=0.01,
        freeze=frozen,
        ema_decay=0,
        precision="32",
    )
    before = read_bert(init).model.state_dict()
    after = classifier.run.model.state_dict()

    def is_same(name: str) -> bool:
        return torch.equal(before[name].half(), after[name].half())

    for layer in range(2):
        prefix = f"branches.encoder.encoder.layers.{layer}."
        for name in before:
            # The keys' part of qkv.bias has no gradient.
            if name.startswith(prefix) and not name.endswith("qkv.bias"):
                assert is_same(name) is (layer < frozen_layers), name
    assert is_same("embedding.tokens.weight") is (frozen != "none")
    assert not is_same("branches.encoder.head.1.weight")


def test_a_layer_learns_at_a_fraction_of_the_rate_of_the_one_above(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    model = read_bert(tmp_path).model
    freeze(model, "embeddings")
    optimizer = build_optimizer(model, 1.0, 0.1, 0.5)
    names = {parameter: name for name, parameter in model.named_parameters()}
    found = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            found[names[parameter]] = (group["lr"], group["weight_decay"])
    assert "embedding.tokens.weight" not in found
    assert found["branches.encoder.encoder.layers.0.attention.qkv.weight"] == (0.25, 0.1)
    assert found["branches.encoder.encoder.layers.1.norm2.weight"] == (0.5, 0.0)
    assert found["branches.encoder.pool.dense.weight"] == (1.0, 0.1)
    assert found["branches.encoder.head.1.weight"] == (1.0, 0.1)


def test_shots_are_the_rows_of_each_label_in_train_and_validation(
    data: Path, tmp_path: Path
) -> None:
    digests = []
    for seed in (0, 1):
        out = tmp_path / str(seed)
        train(str(data), out=out, shots=4, seed=seed, epochs=1, width=16, heads=2, layers=1)
        facts = json.loads((out / "data.json").read_text())
        digests.append(facts["train"]["sha256"])
        for split in ("train", "validation"):
            assert facts[split]["labels"] == {"fruit": 4, "metal": 4, "water": 4}
        assert facts["test"]["rows"] == 60
    assert digests[0] != digests[1]
