"""Long texts by their head and tail, and in windows: what is read, in training and in prediction."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import EXACT, ctrl_c_at, model_config, resolved_settings, write_csv

from selfattn_lm import TextClassifier, UserError, evaluate, train
from selfattn_lm.features.batching import pad
from selfattn_lm.features.sequences import TokenizedTexts
from selfattn_lm.features.weighted_ngrams import WithNgrams
from selfattn_lm.features.windows import (
    NO_LIMIT,
    WindowedTexts,
    Windows,
    by_text,
    fit_length,
    join_head_and_tail,
    tokens_in_windows,
)
from selfattn_lm.inputs import Inputs, pool_documents
from selfattn_lm.training.data import TokenizedDataset, train_loader, validation_loader
from selfattn_lm.training.modules import ClassifierModule
from selfattn_lm.training.resolve import resolve_model
from selfattn_lm.training.summary import long_texts

CLS, SEP = 1, 2
LENGTHS = [3, 10, 11, 12, 40, 200, 9]
WORDS = {"fruit": "apple pear plum cherry", "metal": "iron copper zinc silver"}
LONG: dict[str, Any] = {**EXACT, "training": {**EXACT["training"], "epochs": 3}}


def whole_texts(lengths: list[int], sep_id: int | None = SEP) -> TokenizedTexts:
    """Texts of these numbers of tokens, each token but [CLS] and [SEP] another one."""
    ids: list[int] = []
    for length in lengths:
        first = 100 + len(ids)
        if sep_id is None:
            ids += [CLS, *range(first, first + length - 1)]
        else:
            ids += [CLS, *range(first, first + length - 2), sep_id]
    return TokenizedTexts.from_flat(
        np.array(ids, np.int32), np.array(lengths, np.int64), NO_LIMIT, sep_id
    )


def long_sentences(rows: int, seed: int = 0) -> list[tuple[str, str]]:
    """(text, label) pairs of 1 to 60 words; only some words near the end say the label."""
    chance = random.Random(seed)
    pairs = []
    for i in range(rows):
        label = sorted(WORDS)[i % 2]
        filler = chance.choices(["the", "of", "and", "some", "near"], k=chance.randrange(58))
        pairs.append((" ".join([*filler, *chance.choices(WORDS[label].split(), k=2)]), label))
    return pairs


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("long") / "data.csv", long_sentences(120))


@pytest.fixture(scope="module")
def windowed(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that reads windows of 12 tokens."""
    folder = tmp_path_factory.mktemp("runs") / "windows"
    return train(str(file), out=folder, max_length=12, long_texts="windows", **LONG).folder


def test_head_and_tail_are_the_first_quarter_and_the_last_three() -> None:
    texts = whole_texts([5, 8, 20])
    joined = join_head_and_tail(texts, 8)
    assert [joined[i].tolist() for i in range(2)] == [texts[0].tolist(), texts[1].tolist()]
    assert joined[2].tolist() == [*texts[2][:2], *texts[2][-6:]]
    assert joined[2][-1] == SEP
    assert joined.truncation() == {"texts_cut": 1 / 3, "tokens_lost": 12 / 33}


@pytest.mark.parametrize("sep_id", [SEP, None])
@pytest.mark.parametrize("max_length", [3, 4, 7, 10, 64])
def test_windows_read_every_token_and_begin_and_end_as_texts_do(
    sep_id: int | None, max_length: int
) -> None:
    texts = whole_texts(LENGTHS, sep_id)
    windows = Windows.over(texts, max_length)
    for number in range(len(texts)):
        rows, documents = windows.of_documents([number])
        read: set[int] = set()
        for row in rows:
            assert len(row) == min(max_length, LENGTHS[number])
            assert row[0] == CLS
            if sep_id is not None:
                assert row[-1] == sep_id
            read.update(row.tolist())
        assert documents.tolist() == [0] * len(rows)
        assert read == set(texts[number].tolist())
        if LENGTHS[number] <= max_length:
            assert [row.tolist() for row in rows] == [texts[number].tolist()]
    assert windows.truncation() == {"texts_cut": 0.0, "tokens_lost": 0.0}
    assert windows.total == WindowedTexts(windows).lengths.sum()


def test_windows_overlap_by_a_quarter() -> None:
    texts = whole_texts([26])
    windows = Windows.over(texts, 10)  # of 8 tokens each, without [CLS] and [SEP]
    inner = texts[0][1:-1]
    assert [windows[i][1:-1].tolist() for i in range(4)] == [
        inner[start : start + 8].tolist() for start in (0, 6, 12, 16)
    ]
    assert len(windows) == 4


@pytest.mark.parametrize("most", [1, 2, 3, 8])
@pytest.mark.parametrize("sep_id", [SEP, None])
def test_a_training_text_has_few_windows_and_the_facts_say_what_is_lost(
    most: int, sep_id: int | None
) -> None:
    texts = whole_texts(LENGTHS, sep_id)
    every = Windows.over(texts, 10)
    some = Windows.over(texts, 10, most)
    assert some.counts.tolist() == np.minimum(every.counts, most).tolist()
    lost = []
    for number in range(len(texts)):
        rows, _ = some.of_documents([number])
        read = {int(token) for row in rows for token in row}
        lost.append(len(set(texts[number].tolist()) - read))
        all_rows, _ = every.of_documents([number])
        assert rows[0].tolist() == all_rows[0].tolist()
        if most > 1:
            assert rows[-1].tolist() == all_rows[-1].tolist()
    expected = {"texts_cut": np.mean(np.array(lost) > 0), "tokens_lost": sum(lost) / sum(LENGTHS)}
    assert some.truncation() == pytest.approx(expected)


def test_the_tokens_of_windows_are_counted_without_them() -> None:
    texts = whole_texts(LENGTHS)
    expected = Windows.over(texts, 10, 8).total
    assert tokens_in_windows(texts.full_lengths, 10, has_sep=True) == expected


def test_logits_are_pooled_by_their_mean() -> None:
    values = torch.randn(2, 4, 3)
    pooled = pool_documents(values, torch.tensor([0, 1, 1, 1]))
    by_hand = torch.stack([values[:, 0], (values[:, 1] + values[:, 2] + values[:, 3]) / 3], dim=1)
    torch.testing.assert_close(pooled, by_hand)
    windows = Windows.over(whole_texts([10, 17]), 10)
    assert windows.counts.tolist() == [1, 3]
    of_arrays = windows.pool(values[0].numpy())
    torch.testing.assert_close(torch.from_numpy(of_arrays), by_hand[0])
    assert Windows.over(whole_texts([]), 10).pool(np.zeros((0, 3), np.float32)).shape == (0, 3)


def test_a_batch_is_divided_in_its_order() -> None:
    ids = torch.arange(10).view(5, 2)
    parts = Inputs(ids, ids > 3, documents=torch.tensor([0, 0, 1, 1, 2])).split(2)
    assert [len(part.tokens) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat([part.tokens for part in parts]), ids)
    assert parts[1].documents is not None
    assert parts[1].documents.tolist() == [1, 1]
    assert parts[0].types is None


def test_no_batch_of_training_is_larger_than_the_token_budget() -> None:
    config = resolved_settings(model_config(max_length=10), batch_tokens=100).training
    windows = Windows.over(whole_texts(LENGTHS * 5), 10, most=8)
    dataset = TokenizedDataset(by_text(windows), np.arange(len(LENGTHS) * 5))
    seen = []
    for batch in train_loader(dataset, config, seed=0):
        assert batch.inputs.tokens.numel() <= 100
        assert batch.inputs.documents is not None
        assert int(batch.inputs.documents.max()) + 1 == len(batch.targets)
        seen += batch.targets.tolist()
    assert sorted(seen) == list(range(len(LENGTHS) * 5))
    for batch in validation_loader(dataset, config):
        assert batch.inputs.tokens.numel() <= 100


def test_windows_too_short_for_a_token_are_refused() -> None:
    settings = model_config(max_length=2, long_texts="windows")
    expected = "model.max_length=2 leaves no token of the text between the"
    with pytest.raises(UserError, match=expected):
        resolve_model(settings, resolved_settings(settings).tokenizer, np.array([9]), 100)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (
            "head",
            "50.0 % of the texts and 33.3 % of all tokens are cut, beyond 10 tokens per text;"
            " --model.long-texts windows would read them in 2.00 times the tokens",
        ),
        (
            "head-tail",
            "50.0 % of the texts and 33.3 % of all tokens are cut, in the middle, beyond 10 tokens"
            " per text",
        ),
        (
            "windows",
            "50.0 % of the texts are read in several windows of 10 tokens, 2.00 times the tokens of"
            " head; 0.0 % of the texts and 0.0 % of all tokens are cut, beyond at most 8 windows"
            " per text in training",
        ),
    ],
)
def test_the_start_says_what_is_cut_and_what_windows_cost(mode: Any, expected: str) -> None:
    config = model_config(max_length=10, long_texts=mode)
    assert long_texts(by_text(fit_length(whole_texts([10, 20]), config)), config) == expected


def test_evaluate_and_predict_agree_and_the_run_keeps_the_setting(
    windowed: Path, file: Path
) -> None:
    classifier = TextClassifier.load(windowed)
    assert classifier.run.resolved.model.long_texts == "windows"
    texts, labels = zip(*long_sentences(120), strict=True)
    hits = np.mean([p == t for p, t in zip(classifier.predict(texts), labels, strict=True)])
    assert evaluate(windowed, file).values["accuracy"]["value"] == pytest.approx(hits)
    assert "read in overlapping windows" in (windowed / "README.md").read_text()
    facts = json.loads((windowed / "data.json").read_text())
    assert facts["train"]["texts_cut"] == 0.0


def test_the_run_scores_in_prediction_what_it_scored_in_validation(windowed: Path) -> None:
    metrics = json.loads((windowed / "metrics.json").read_text())
    assert metrics["validation"]["macro_f1"]["value"] == pytest.approx(
        metrics["training"]["best"], abs=1e-4
    )


def test_predictions_are_the_softmax_of_the_mean_logits_in_any_number_of_threads(
    windowed: Path,
) -> None:
    texts = [text for text, _ in long_sentences(40, seed=2)]
    classifier = TextClassifier.load(windowed, "32", "cpu", threads=1)
    probabilities = classifier.predict_proba(texts)
    threads = TextClassifier.load(windowed, "32", "cpu", threads=2)
    np.testing.assert_allclose(threads.predict_proba(texts), probabilities, atol=1e-6)
    encoded = classifier.encode(texts)
    assert isinstance(encoded, WithNgrams)
    windows = encoded.tokens
    assert isinstance(windows, Windows)
    assert windows.counts.max() > 3
    run = classifier.run
    for number, by_classifier in enumerate(probabilities):
        rows, _ = windows.of_documents([number])
        of_windows = []
        for row in rows:
            ids = torch.from_numpy(row.astype(np.int64))[None]
            inputs = classifier._with_ngrams(Inputs(ids, torch.ones_like(ids, dtype=torch.bool)))
            of_text = encoded.weighted_ngrams.select([number])
            inputs = inputs._replace(weighted_ngrams=of_text)
            with torch.inference_mode():
                of_windows.append(run.model(inputs)[0])
        by_hand = torch.stack(of_windows).mean(0).softmax(0)
        np.testing.assert_allclose(by_classifier, by_hand.numpy(), atol=1e-5)
    assert classifier.embed(texts).shape == (40, 32)
    assert classifier.predict_proba([]).shape == (0, 2)


@pytest.mark.parametrize("mode", ["head-tail", "windows"])
def test_a_text_that_fits_is_predicted_as_by_its_head(windowed: Path, mode: str) -> None:
    classifier = TextClassifier.load(windowed, "32", "cpu")
    texts = [text for text, _ in long_sentences(60) if len(text.split()) <= 10]
    results = []
    for name in ("head", mode):
        object.__setattr__(classifier.run.resolved.model, "long_texts", name)
        results.append((classifier.predict_proba(texts), classifier.embed(texts)))
    np.testing.assert_array_equal(results[0][1], results[1][1])
    np.testing.assert_allclose(results[0][0], results[1][0], atol=1e-7)


def test_no_batch_is_larger_than_the_token_budget_however_long_a_text_is(
    windowed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = TextClassifier.load(windowed, "32", "cpu")
    sizes = []

    def model(inputs: Inputs) -> torch.Tensor:
        sizes.append(inputs.tokens.numel())
        return torch.ones(len(inputs.tokens), 2)

    monkeypatch.setattr(classifier, "_model", model)
    classifier.predict(["iron and copper " * 3000, "plum"])
    assert sum(sizes) > 9000
    assert max(sizes) <= 2048


def test_validation_divides_the_windows_of_a_text_into_batches(
    windowed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = TextClassifier.load(windowed, "32", "cpu").run
    settings = resolved_settings(run.resolved.model, batch_tokens=24)
    assert run.task is not None
    module = ClassifierModule(run.model, settings, run.task, np.array([0, 1]))
    windows = Windows.over(whole_texts([60, 9]), 12)
    rows, documents = windows.of_documents([0, 1])
    small = [np.minimum(row, 9) for row in rows]  # ids that the tokenizer has
    inputs = pad(small)._replace(documents=torch.from_numpy(documents))
    sizes = []
    original = run.model.trained_logits

    def counted(part: Inputs) -> torch.Tensor:
        sizes.append(len(part.tokens))
        return original(part)

    monkeypatch.setattr(run.model, "trained_logits", counted)
    with torch.no_grad():
        in_parts = module.eval().trained_logits(inputs)
        assert max(sizes) == 2
        assert sum(sizes) == len(rows)
        at_once = original(module.prepare(inputs))
        expected = torch.stack([at_once[:, :-1].mean(1), at_once[:, -1]], dim=1)
    torch.testing.assert_close(in_parts, expected)
    sizes.clear()
    assert module.train().trained_logits(inputs).shape == in_parts.shape
    assert sizes == [len(rows)]


def test_the_head_is_read_as_one_row_per_text() -> None:
    config = model_config(max_length=10)
    tokens = by_text(fit_length(whole_texts(LENGTHS), config))
    assert isinstance(tokens, TokenizedTexts)
    batch = TokenizedDataset(tokens, np.arange(len(LENGTHS)))[[1, 5]]
    assert batch.inputs.documents is None
    assert batch.inputs.tokens.shape == (2, 10)


def test_windows_are_predicted_in_low_precision(windowed: Path) -> None:
    texts = [text for text, _ in long_sentences(20, seed=3)]
    exact = TextClassifier.load(windowed, "32", "cpu").predict_proba(texts)
    rounded = TextClassifier.load(windowed, "bf16", "cpu").predict_proba(texts)
    np.testing.assert_allclose(exact, rounded, atol=0.05)


def test_a_resumed_run_in_windows_is_the_uninterrupted_one(
    windowed: Path, file: Path, tmp_path: Path
) -> None:
    with ctrl_c_at(16):  # of 15 to 24 steps
        stopped = train(
            str(file), out=tmp_path / "run", max_length=12, long_texts="windows", **LONG
        )
    assert stopped.stopped.startswith("by Ctrl-C")
    resumed = train(resume=True, out=stopped.folder).folder
    weights = [(folder / "model.safetensors").read_bytes() for folder in (resumed, windowed)]
    assert weights[0] == weights[1]


def test_a_run_that_starts_from_another_may_read_otherwise(
    windowed: Path, file: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"epochs": 1, "precision": "32", "long_texts": "head-tail"}
    folder = train(str(file), out=tmp_path / "run", init=windowed, **settings).folder
    assert TextClassifier.load(folder).run.resolved.model.long_texts == "head-tail"
    facts = json.loads((folder / "data.json").read_text())
    assert facts["train"]["texts_cut"] > 0.5
    assert "the first quarter and the last three" in (folder / "README.md").read_text()
