"""Prediction in fewer bits and on several cores."""

import copy
import csv
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import model_config, sentences

from selfattn_lm import TextClassifier, UserError, hardware
from selfattn_lm.build import build_classifier
from selfattn_lm.cli import main
from selfattn_lm.hardware import largest_int8_weight, supports_bf16
from selfattn_lm.inference import classifier as inference, low_precision
from selfattn_lm.inference.low_precision import (
    Int8Linear,
    PackedLinear,
    convert_precision,
    fused_in_tiles,
)
from selfattn_lm.inputs import Inputs
from selfattn_lm.nn.attention import SelfAttention
from selfattn_lm.nn.positions import Rotary

TEXTS = [text for text, _ in sentences(90, seed=5)]
needs_bf16 = pytest.mark.skipif(
    not supports_bf16("cpu"), reason="oneDNN does not compute in bf16 here"
)
needs_int8 = pytest.mark.skipif(
    not largest_int8_weight(), reason="oneDNN does not compute in int8 here"
)
INT8 = pytest.param("int8", marks=needs_int8)

Threads = Callable[[int], None]


@pytest.fixture
def threads() -> Iterator[Threads]:
    """Sets the number of threads for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("precision", ["bf16", INT8])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_fewer_bits_change_little(precision: str, positions: str) -> None:
    torch.manual_seed(0)
    config = model_config(width=64, layers=3, heads=4, max_length=40, positions=positions)
    model = build_classifier(config, 100, 4).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    narrow = convert_precision(model, precision, "cpu")  # type: ignore[arg-type]
    tolerance = {"bf16": 0.01, "int8": 0.04}[precision]
    for length in (1, 7, 16, 32, 39):
        inputs = Inputs(torch.randint(4, 100, (6, length)), torch.ones(6, length, dtype=torch.bool))
        inputs.attention_mask[3, length // 2 + 1 :] = False
        with torch.inference_mode():
            exact = model(inputs).softmax(-1)
            found = narrow(inputs).softmax(-1)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, exact, atol=tolerance, rtol=0)
        assert not torch.equal(found, exact), "nothing was computed in fewer bits"


def test_the_model_itself_stays_as_it_is() -> None:
    model = build_classifier(model_config(), 20, 2).eval()
    before = copy.deepcopy(model.state_dict())
    convert_precision(model, "bf16", "cpu")
    if largest_int8_weight():
        convert_precision(model, "int8", "cpu")
    torch.testing.assert_close(model.state_dict(), before, atol=0, rtol=0)
    assert convert_precision(model, "32", "cpu") is model


@needs_bf16
@pytest.mark.parametrize("activation", ["none", "gelu"])
def test_a_packed_layer_computes_what_a_plain_one_does(activation: str) -> None:
    layer = torch.nn.Linear(48, 80).to(torch.bfloat16).requires_grad_(False)
    x = torch.randn(3, 5, 48, dtype=torch.bfloat16)
    exact = torch.nn.functional.linear(x.float(), layer.weight.float(), layer.bias.float())
    exact = torch.nn.functional.gelu(exact) if activation == "gelu" else exact
    found = PackedLinear(layer, activation)(x)
    assert found.shape == (3, 5, 80)
    torch.testing.assert_close(found.float(), exact, atol=0.01, rtol=0.01)


@pytest.mark.parametrize("tokens", [1, 15, 16, 17, 48])
@pytest.mark.parametrize("rotate", [None, Rotary(48, 8)])
def test_the_fused_kernel_attends_as_the_written_out_path_does(
    tokens: int, rotate: Rotary | None
) -> None:
    attention = SelfAttention(32, 4, rotate).eval()
    x, attention_mask = torch.randn(3, tokens, 32), torch.ones(3, tokens, dtype=torch.bool)
    attention_mask[1, tokens // 2 + 1 :] = False
    with torch.inference_mode():
        exact = attention.attend(x, attention_mask)[0]
        attention.backend = fused_in_tiles
        found = attention(x, attention_mask)
    torch.testing.assert_close(found[attention_mask], exact[attention_mask])


@pytest.mark.parametrize("precision", ["32", "auto", "bf16"])
def test_a_batch_on_each_core_gives_what_one_after_the_other_gives(
    run: Path, precision: str, threads: Threads
) -> None:
    texts = [" ".join(TEXTS[: i % 7 + 1]) for i in range(200)]
    classifier = TextClassifier.load(run, precision)  # type: ignore[arg-type]
    threads(1)
    probabilities, vectors = classifier.predict_proba(texts), classifier.embed(texts[:64])
    threads(3)
    again = classifier.predict_proba(texts), classifier.embed(texts[:64])
    tolerance = 0 if precision == "32" else 0.02  # either way a batch is computed on one core alone
    np.testing.assert_allclose(again[0], probabilities, atol=tolerance, rtol=tolerance)
    np.testing.assert_allclose(again[1], vectors, atol=tolerance, rtol=tolerance)
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("precision", ["32", "auto", "bf16"])
def test_the_number_of_threads_of_a_classifier_changes_no_output(run: Path, precision: str) -> None:
    texts = [" ".join(TEXTS[: i % 7 + 1]) for i in range(200)]
    one = TextClassifier.load(run, precision, threads=1)  # type: ignore[arg-type]
    two = TextClassifier.load(run, precision, threads=2)  # type: ignore[arg-type]
    tolerance = 0 if precision == "32" else 0.02  # as above
    np.testing.assert_allclose(
        two.predict_proba(texts), one.predict_proba(texts), atol=tolerance, rtol=tolerance
    )
    np.testing.assert_allclose(two.embed(texts), one.embed(texts), atol=tolerance, rtol=tolerance)
    if precision == "32":
        assert two.predict(texts) == one.predict(texts)


def test_an_error_on_a_core_is_told(
    run: Path, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = TextClassifier.load(run)
    threads(2)
    monkeypatch.setattr(inference, "add_ngrams", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        classifier.predict(TEXTS * 3)
    assert torch.get_num_threads() == 2


def in_threads(functions: list[Callable[[], np.ndarray]]) -> list[np.ndarray]:
    """What the functions return, called at the same time."""
    with ThreadPoolExecutor(len(functions)) as pool:
        return [future.result() for future in [pool.submit(function) for function in functions]]


@pytest.mark.parametrize("precision", ["32", "bf16", INT8])
def test_predictions_at_the_same_time_give_what_one_after_the_other_gives(
    run: Path, precision: str, threads: Threads
) -> None:
    texts = [" ".join(TEXTS[: i % 7 + 1]) for i in range(200)]
    one = TextClassifier.load(run, precision)  # type: ignore[arg-type]
    other = TextClassifier.load(run, precision)  # type: ignore[arg-type]
    threads(2)
    expected = [
        one.predict_proba(texts),
        one.embed(texts),
        other.predict_proba(texts[:90]),
        other.embed(texts[:50]),
    ]
    calls: list[Callable[[], np.ndarray]] = [
        lambda: one.predict_proba(texts),
        lambda: one.embed(texts),
        lambda: other.predict_proba(texts[:90]),
        lambda: other.embed(texts[:50]),
    ]
    for _ in range(3):
        for found, wanted in zip(in_threads(calls), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_predicting_leaves_every_thread_the_number_of_threads_that_it_had(
    run: Path, threads: Threads
) -> None:
    classifier, numbers = TextClassifier.load(run, "32"), []
    threads(4)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(
            torch.set_num_threads, 2
        ).result()  # that thread's own, and that of threads to come
        classifier.predict(TEXTS * 3)
        numbers.append(pool.submit(torch.get_num_threads).result())
        pool.submit(classifier.predict, TEXTS * 3).result()
        numbers.append(pool.submit(torch.get_num_threads).result())
    with ThreadPoolExecutor(1) as pool:
        numbers.append(pool.submit(torch.get_num_threads).result())
    assert numbers == [2, 2, 2]
    assert torch.get_num_threads() == 4


def test_the_threads_of_a_number_are_started_once(run: Path, threads: Threads) -> None:
    classifier = TextClassifier.load(run, "32")
    threads(2)
    classifier.predict(TEXTS * 3)
    before = threading.active_count()
    for _ in range(3):
        classifier.predict(TEXTS * 3)
    assert threading.active_count() == before


def test_several_threads_may_predict_with_one_classifier_at_the_same_time(run: Path) -> None:
    texts = [" ".join(TEXTS[: i % 7 + 1]) for i in range(300)]
    classifier = TextClassifier.load(run, "32", threads=2)
    expected = classifier.predict_proba(texts)
    with ThreadPoolExecutor(4) as users:
        found = list(users.map(classifier.predict_proba, [texts] * 8))
    for probabilities in found:
        np.testing.assert_array_equal(probabilities, expected)


@pytest.mark.parametrize("count", [1, 3])
def test_a_classifier_computes_on_as_many_threads_as_it_is_given(run: Path, count: int) -> None:
    classifier = TextClassifier.load(run, "32", threads=count)
    seen: set[tuple[str, int]] = set()
    forward = classifier.forward

    def look(inputs: Inputs) -> torch.Tensor:
        seen.add((threading.current_thread().name, torch.get_num_threads()))
        return forward(inputs)

    classifier.forward = look  # type: ignore[method-assign]
    classifier.predict(TEXTS * 200)
    assert 1 <= len(seen) <= count
    assert {threads for _, threads in seen} == {1}
    assert threading.current_thread().name not in {name for name, _ in seen}


def test_no_threads_are_too_few(run: Path) -> None:
    with pytest.raises(UserError) as error:
        TextClassifier.load(run, threads=0)
    assert str(error.value) == "threads must be at least 1, got 0."


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_predicts_with_threads_of_its_own(run: Path, threads: Threads) -> None:
    classifier = TextClassifier.load(run, "32")
    threads(2)
    expected = classifier.predict_proba(TEXTS * 3)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply_async(classifier.predict_proba, [TEXTS * 3]).get(timeout=60)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("precision", ["32", "bf16", INT8, "auto"])
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))]
)
def test_a_copy_predicts_what_the_original_does(
    run: Path, precision: str, copied: Callable[[TextClassifier], TextClassifier]
) -> None:
    classifier = TextClassifier.load(run, precision)  # type: ignore[arg-type]
    again = copied(copied(classifier))
    assert again.labels == classifier.labels
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    np.testing.assert_array_equal(again.embed(TEXTS), classifier.embed(TEXTS))


def test_a_copy_keeps_the_precision_that_was_measured(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(low_precision, "choose_precision", lambda modules, device: "bf16")
    classifier = TextClassifier.load(run)
    # As with other threads.
    monkeypatch.setattr(low_precision, "choose_precision", lambda modules, device: "32")
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert not np.array_equal(
        again.predict_proba(TEXTS), TextClassifier.load(run).predict_proba(TEXTS)
    )


def test_a_worker_process_that_is_sent_a_classifier_predicts_the_same(run: Path) -> None:
    classifier = TextClassifier.load(run, "bf16")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(classifier.predict_proba, [TEXTS[:20]])
    np.testing.assert_allclose(found, classifier.predict_proba(TEXTS[:20]), atol=1e-3)


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
@pytest.mark.parametrize("how", ["not built in", "switched off"])
def test_without_onednn_bf16_works_and_int8_is_refused(
    how: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = TextClassifier.load(run, "32").predict_proba(TEXTS)
    if how == "not built in":
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        monkeypatch.setattr(torch.ops, "mkldnn", object())  # which has no operation
        monkeypatch.setattr(torch.ops, "onednn", object())
    with torch.backends.mkldnn.flags(enabled=how != "switched off"):
        found = TextClassifier.load(run, "bf16").predict_proba(TEXTS)
        np.testing.assert_allclose(found, exact, atol=0.02)
        assert not np.array_equal(found, exact), "nothing was computed in fewer bits"
        np.testing.assert_allclose(TextClassifier.load(run).predict_proba(TEXTS), exact, atol=1e-5)
        with pytest.raises(UserError) as caught:
            TextClassifier.load(run, "int8")
    wanted = (
        "precision: int8 needs oneDNN, which this torch lacks or this processor; give bf16 or 32."
    )
    assert str(caught.value) == wanted


@needs_int8
@pytest.mark.parametrize("largest", ["found", 63])
def test_products_in_8_bits_do_not_overflow(
    largest: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if largest != "found":
        monkeypatch.setattr(hardware, "largest_int8_weight", lambda: largest)
    layer = torch.nn.Linear(96, 40).requires_grad_(False)
    layer.weight.fill_(0.25)
    layer.weight[1::2] = -0.25
    x = torch.full((7, 96), 3.0)  # the largest sums that there can be
    torch.testing.assert_close(Int8Linear(layer)(x), layer(x), rtol=0.01, atol=0.01)
    layer.weight.normal_()
    x = torch.randn(200, 96)
    error = (Int8Linear(layer)(x) - layer(x)).norm() / layer(x).norm()
    assert error < 0.03  # 0.01 with 8 bits and with 7, 0.1 with sums that overflow


def test_weights_of_8_bits_are_used_only_where_their_sums_are_exact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for exact, largest in (((127, 63), 127), ((63,), 63), ((), 0)):
        monkeypatch.setattr(hardware, "_int8_is_exact", lambda weight, exact=exact: weight in exact)
        assert hardware.largest_int8_weight() == largest


def test_int8_is_refused_elsewhere(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_classifier(model_config(), 20, 2)
    with pytest.raises(UserError) as caught:
        convert_precision(model, "int8", "cuda")
    assert (
        str(caught.value)
        == "precision: int8 needs a CPU with oneDNN, and this is cuda; give bf16 or 32."
    )


@pytest.mark.parametrize("precision", ["32", "bf16", INT8, "auto"])
def test_the_command_predicts_in_a_precision(
    run: Path, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(run), "--text", "gold iron", "--precision", precision]) == 0
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert row["prediction"] == "metal"
    assert float(row["probability"]) == pytest.approx(0.96, abs=0.03)  # as the weights are set


@pytest.mark.gpu
def test_a_gpu_predicts_what_the_cpu_does(run: Path) -> None:
    classifier = TextClassifier.load(run)
    assert next(classifier.run.model.parameters()).device.type == "cuda"
    on_gpu = classifier.predict_proba(TEXTS)
    classifier.run.model.cpu()
    on_cpu = TextClassifier(classifier.run, "32").predict_proba(TEXTS)
    np.testing.assert_allclose(on_gpu, on_cpu, atol=0.02)


@pytest.mark.gpu
def test_a_gpu_learns(data: Path, tmp_path: Path) -> None:
    from selfattn_lm import train

    training = {"epochs": 3, "batch_size": 16, "learning_rate": 0.02, "accelerator": "gpu"}
    found = train(
        str(data),
        out=tmp_path / "run",
        model={"width": 16, "heads": 2, "layers": 1},
        training=training,
    )
    rows = sentences(60, seed=9)
    texts = [text for text, _ in rows]
    labels = [label for _, label in rows]
    right = np.equal(found.classifier.predict(texts), labels)
    assert np.mean(right) > 0.8
