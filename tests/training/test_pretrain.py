import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import (
    EXACT,
    model_config,
    prediction_settings,
    run_killed_at,
    same_bytes,
    sentences,
    tokenizer_config,
    write_csv,
)

from selfattn_lm import MaskedModel, TextClassifier, UserError, pretrain, train
from selfattn_lm.build import build_model
from selfattn_lm.cli import main
from selfattn_lm.config import DataConfig, Settings
from selfattn_lm.data.sources import stream_texts
from selfattn_lm.features.sequences import TokenizedTexts
from selfattn_lm.features.tokenizer import train_tokenizer
from selfattn_lm.runs import Run

PAIRS = [("red", "rose"), ("blue", "sky"), ("green", "leaf"), ("white", "snow")]
TINY: dict[str, Any] = {"model": EXACT["model"], "training": {**EXACT["training"], "epochs": 8}}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text a line: a colour is always followed by its own thing, so that each can be guessed from the other."""
    file = tmp_path_factory.mktemp("texts") / "texts.txt"
    lines = [f"the {colour} {thing} is {colour}" for _ in range(100) for colour, thing in PAIRS]
    file.write_text("\n".join([*lines, "", "   "]) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def pretrained(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(str(texts), out=tmp_path_factory.mktemp("pretrained") / "run", **TINY).folder


@pytest.fixture(scope="module")
def knowing() -> MaskedModel:
    """A model with set weights: a masked token takes the mean of all tokens, and the head what is missing.

    Each colour and each thing has a feature of its own; the head answers a colour by its thing and the reverse.
    """
    lines = [f"the {colour} {thing} is" for colour, thing in PAIRS]
    words = tokenizer_config("word", vocab_size=100, min_frequency=1)
    tokenizer = train_tokenizer(lines, words)
    model = model_config(positions="none", char_ngrams=False)
    settings = prediction_settings(model, words)
    torch.manual_seed(0)
    built: Any = build_model(settings, tokenizer, 0, in_training=False).eval()
    branch = built.branches["encoder"]
    (layer,), head = branch.encoder.layers, branch.head[1]
    with torch.no_grad():
        tokens = built.embedding.tokens
        for weights in (tokens.weight, layer.attention.qkv.weight, layer.feed_forward[2].weight):
            weights.zero_()  # every query and key is the same
        layer.attention.qkv.weight.chunk(3)[2].copy_(torch.eye(16))
        layer.attention.out.weight.copy_(torch.eye(16))
        head.weight.mul_(0.01)  # the other tokens differ a little
        for number, pair in enumerate(PAIRS):
            colour, thing = (tokenizer.token_to_id(word) for word in pair)
            tokens.weight[colour, 2 * number] = 1
            tokens.weight[thing, 2 * number + 1] = 1
            head.weight[thing, 2 * number] = head.weight[colour, 2 * number + 1] = 1
    return MaskedModel(Run(Settings(), settings, None, tokenizer, built))


def test_hidden_words_are_guessed_from_their_context(knowing: MaskedModel) -> None:
    for colour, thing in PAIRS:
        (guesses,) = knowing.fill(f"the {colour} [MASK] is {colour}", top_k=3)
        assert guesses[0][0] == thing
        assert 1 > guesses[0][1] > guesses[1][1] > guesses[2][1] > 0
    first, second = knowing.fill("the [MASK] sky is [MASK]", top_k=1)
    assert first[0][0] == second[0][0] == "blue"
    assert knowing.fill("nothing is hidden") == []


def test_a_pretrained_run_tells_how_well_it_guesses(pretrained: Path) -> None:
    metrics = json.loads((pretrained / "metrics.json").read_text())
    # Seen with 10 seeds: 0.93 to 1.0; the most frequent word: 0.2.
    assert metrics["masked_tokens"]["accuracy"] > 0.6
    # Seen: 1.0 to 1.8; by chance: 74, the size of the vocabulary.
    assert 1 <= metrics["masked_tokens"]["perplexity"] < 10
    rows = (pretrained / "log.csv").read_text().splitlines()
    assert (
        rows[0] == "epoch,step,minutes,train_loss,tokens_per_s,validation_loss,validation_accuracy"
    )
    best = max((row.split(",") for row in rows[1:]), key=lambda row: float(row[6]))
    assert metrics["masked_tokens"]["perplexity"] == pytest.approx(math.exp(float(best[5])))
    names = {
        "config.yaml",
        "data.json",
        "labels.json",
        "log.csv",
        "metrics.json",
        "model.safetensors",
        "tokenizer.json",
    }
    assert {file.name for file in pretrained.iterdir()} == names


def test_training_starts_from_what_was_pretrained(pretrained: Path, tmp_path: Path) -> None:
    rows = [
        (f"the {word} {word}", label)
        for word, label in (("red", "warm"), ("blue", "cold"))
        for _ in range(20)
    ]
    file = write_csv(tmp_path / "rows.csv", rows)
    result = train(
        str(file),
        init=pretrained,
        out=tmp_path / "tuned",
        epochs=1,
        learning_rate=1e-9,
        ema_decay=0,
    )
    ours: Any = result.classifier.run
    theirs: Any = MaskedModel.load(pretrained).run
    assert ours.labels == ["cold", "warm"]
    assert ours.tokenizer.to_str() == theirs.tokenizer.to_str()
    ids = torch.arange(theirs.tokenizer.get_vocab_size())
    ours_embedded, theirs_embedded = (run.model.embedding.tokens(ids) for run in (ours, theirs))
    torch.testing.assert_close(ours_embedded, theirs_embedded, atol=2e-3, rtol=0)
    name = "branches.encoder.encoder.layers.0.attention.qkv.weight"
    torch.testing.assert_close(
        ours.model.state_dict()[name], theirs.model.state_dict()[name], atol=1e-3, rtol=0
    )


def test_a_pretrained_run_is_no_classifier_and_a_classifier_guesses_no_words(
    pretrained: Path, run: Path
) -> None:
    advice = f"`selfattn train DATA --init {pretrained}` makes a classifier of it"
    with pytest.raises(UserError) as error:
        TextClassifier.load(pretrained)
    assert str(error.value) == f"{pretrained}: pretrained on texts without labels; {advice}."
    with pytest.raises(UserError) as error:
        MaskedModel.load(run)
    reason = "is a classifier, not a masked language model"
    message = f"{run}: {reason}; `selfattn pretrain` trains one."
    assert str(error.value) == message


@pytest.mark.slow
def test_a_killed_pretraining_is_resumed_to_the_same_bytes(texts: Path, tmp_path: Path) -> None:
    flags = ["pretrain", str(texts), "--model.width", "16", "--training.epochs", "8"]
    run_killed_at(24, [*flags, "--out", str(tmp_path / "killed")])
    assert main(["pretrain", "--resume", "--out", str(tmp_path / "killed")]) == 0
    pretrain(str(texts), out=tmp_path / "whole", width=16, epochs=8)
    assert same_bytes(tmp_path / "killed", tmp_path / "whole")


def test_the_texts_of_any_labelled_file_serve_and_its_test_split_stays_unseen(data: Path) -> None:
    streamed = list(stream_texts(DataConfig(str(data))))
    assert streamed == [text for text, _ in sentences(240)]


def test_token_ids_in_a_file_are_those_in_memory(tmp_path: Path) -> None:
    texts = [text for text, _ in sentences(2500)]
    tokenizer = train_tokenizer(iter(texts), tokenizer_config("word"))
    held = TokenizedTexts.from_texts(tokenizer, texts, 100)
    filed = TokenizedTexts.from_texts(tokenizer, iter(texts), 100, tmp_path / "ids")
    assert isinstance(filed.ids, np.memmap)
    np.testing.assert_array_equal(held.ids, filed.ids)
    np.testing.assert_array_equal(held.lengths, filed.lengths)


def test_a_long_text_is_split_and_nothing_of_it_lost() -> None:
    texts = ["apple " * 9, "pear", "plum " * 4]
    tokenizer = train_tokenizer(texts, tokenizer_config("word", min_frequency=1))
    tokens = TokenizedTexts.from_texts(tokenizer, texts, 100)
    assert tokens.lengths.tolist() == [10, 2, 5]
    chunks, owner = tokens.chunk(4)
    assert chunks.lengths.tolist() == [4, 4, 2, 2, 4, 1]
    assert owner.tolist() == [0, 0, 0, 1, 2, 2]
    for number in range(3):
        parts = [chunks[i] for i in np.flatnonzero(owner == number).tolist()]
        np.testing.assert_array_equal(np.concatenate(parts), tokens[number])
    assert tokens.lengths.tolist() == [10, 2, 5]  # the texts are as they were


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        (None, [], "pretrain: no texts; name a file, a folder, or a hub name."),
        ("a\n", [], "{file}: all of its few texts were held out;"
         " give more texts, or change --data.validation-fraction."),
        ("a\nb\n", ["--data.validation-fraction", "0.001"],
         "{file}: none of its few texts is left to validate by;"
         " give more texts, or change --data.validation-fraction."),
        ("\n \n", [], "{file}: no row has a text."),
    ],
)  # fmt: skip
def test_texts_that_cannot_be_used_are_refused(
    content: str | None,
    flags: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, out = tmp_path / "texts.txt", tmp_path / "out"
    if content is not None:
        file.write_text(content)
        flags = [str(file), *flags]
    if content == "a\n":
        flags += ["--data.validation-fraction", "0.9"]
    assert main(["pretrain", *flags, "--out", str(out)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "selfattn: " + message.format(file=file)
    assert not out.exists()
