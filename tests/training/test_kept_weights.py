"""The weights that are kept are those that were chosen, with the score that the log promised."""

import csv
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import WORDS, ctrl_c_at, model_config, resolved_settings, sentences, write_csv
from torch import nn
from torch.nn import functional as F

from selfattn_lm import TextClassifier, UserError, fit, pretrain, train
from selfattn_lm.build import build_classifier
from selfattn_lm.cli import main
from selfattn_lm.inputs import Batch, Inputs
from selfattn_lm.nn import Classifier
from selfattn_lm.tasks import SingleLabel
from selfattn_lm.tasks.single_label import LabelLoss, balanced_weights
from selfattn_lm.training.callbacks import MovingAverage
from selfattn_lm.training.modules import ClassifierModule
from selfattn_lm.training.resolve import validation_interval

SMALL: dict[str, Any] = {
    "width": 8,
    "heads": 2,
    "layers": 1,
    "precision": "32",
    "epochs": 3,
    "batch_size": 16,
    "ngram_buckets": 1024,
}
SMALL["patience"] = 100


def noisy(rows: int, seed: int) -> list[tuple[str, str]]:
    """Sentences of which two in five have a label at random, so that no score is 0 or 1."""
    chance = random.Random(seed)
    pairs = []
    for text, label in sentences(rows, seed):
        if chance.random() < 0.4:
            label = chance.choice(sorted(WORDS))
        pairs.append((text, label))
    return pairs


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noise")
    write_csv(folder / "train.csv", noisy(96, seed=1))
    write_csv(folder / "validation.csv", noisy(90, seed=2))
    return folder


def check_that_the_run_scores_what_its_log_says(
    run: Path, noise: Path, monitor: str = "macro_f1"
) -> None:
    with (run / "log.csv").open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    best = max(rows, key=lambda row: row[f"validation_{monitor}"])  # the first of the best
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["training"]["best"] == best[f"validation_{monitor}"]

    texts, labels = zip(*noisy(90, seed=2), strict=True)
    classifier = TextClassifier.load(run, precision="32")
    probabilities = classifier.predict_proba(texts)
    two_best = np.sort(probabilities, axis=1)[:, -2:]
    # Tables are stored in half precision.
    unsure = np.count_nonzero(two_best[:, 1] - two_best[:, 0] < 1e-3)
    right = np.count_nonzero(
        np.array(classifier.labels)[probabilities.argmax(1)] == np.array(labels)
    )
    assert abs(right - best["validation_accuracy"] * len(texts)) <= unsure + 1e-3
    if unsure == 0:
        assert metrics["validation"][monitor]["value"] == pytest.approx(
            best[f"validation_{monitor}"], abs=1e-6
        )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ema_decay": 0},
        {"ema_decay": 0.9, "epochs": 2},
        {"epochs": 1},
        {"validations_per_epoch": 4, "ema_decay": 0.8, "monitor": "accuracy"},
        {"batch_size": 1, "epochs": 1, "validations_per_epoch": 3, "ema_decay": 0.98},
        {"accumulate_batches": 2, "class_weights": "balanced"},
        {"kind": "bag"},
        {"kind": "cnn", "bag_branch": False},
    ],
)
def test_the_saved_run_scores_what_its_log_says(
    settings: dict[str, Any], noise: Path, tmp_path: Path
) -> None:
    run = train(str(noise), out=tmp_path / "run", **{**SMALL, **settings}).folder
    check_that_the_run_scores_what_its_log_says(run, noise, settings.get("monitor", "macro_f1"))


def test_an_interrupted_and_a_resumed_run_score_what_their_logs_say(
    noise: Path, tmp_path: Path
) -> None:
    with ctrl_c_at(10):  # of 6 steps an epoch
        stopped = train(str(noise), out=tmp_path / "run", validations_per_epoch=2, **SMALL)
    assert stopped.stopped.startswith("by Ctrl-C")
    check_that_the_run_scores_what_its_log_says(stopped.folder, noise)
    moved = stopped.folder.rename(tmp_path / "moved")  # what was best so far is still known there
    assert not train(resume=True, out=moved).stopped
    check_that_the_run_scores_what_its_log_says(moved, noise)
    whole = train(str(noise), out=tmp_path / "whole", validations_per_epoch=2, **SMALL).folder
    assert (moved / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    best = [
        json.loads((run / "metrics.json").read_text())["training"]["best"] for run in (moved, whole)
    ]
    assert best[0] == best[1]


def test_a_run_with_one_batch_an_epoch_can_be_resumed(noise: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {**SMALL, "batch_size": 1000, "epochs": 4}
    with ctrl_c_at(2):
        stopped = train(str(noise), out=tmp_path / "run", **settings)
    check_that_the_run_scores_what_its_log_says(stopped.folder, noise)
    resumed = train(resume=True, out=tmp_path / "run").folder
    check_that_the_run_scores_what_its_log_says(resumed, noise)
    whole = train(str(noise), out=tmp_path / "whole", **settings).folder
    assert (resumed / "model.safetensors").read_bytes() == (
        whole / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize(
    ("batches", "validations", "accumulate", "every"),
    [
        (6, 1, 1, 6),
        (6, 2, 1, 3),
        (7, 2, 1, 3),
        (6, 1000, 1, 1),  # no more than steps
        (1, 5, 1, 1),
        (6, 1, 4, 6),  # not after the first of its two steps
        (6, 1000, 2, 2),
        (12, 2, 4, 4),
        (3, 2, 50, 3),
    ],
)
def test_validations_fall_between_steps_and_the_only_one_at_the_end(
    batches: int, validations: int, accumulate: int, every: int
) -> None:
    assert validation_interval(batches, validations, accumulate) == every


TINY = model_config(width=8, max_length=4)


def module_of(model: Classifier, labels: int) -> ClassifierModule:
    """A module that learns some labels."""
    task = SingleLabel([str(number) for number in range(labels)])
    return ClassifierModule(model, resolved_settings(TINY), task, np.arange(labels))


@pytest.mark.parametrize("decay", [0.95, 0.9959, 0.998])
def test_the_moving_average_copies_whole_numbers(decay: float) -> None:
    char_ngrams = torch.randint(1, 30_000, (200, 6))
    model: Any = build_classifier(TINY, 200, 2, char_ngrams.clone())
    module: Any = module_of(model, 2)
    module.register_buffer("flags", torch.tensor([True, False]))
    callback = MovingAverage(decay)
    callback.setup(None, module, "fit")  # type: ignore[arg-type]
    average: Any = callback._average_model
    weight = module.model.embedding.tokens.tokens.weight
    for _ in range(20):
        with torch.no_grad():
            weight += 1
        average.update_parameters(module)
    averaged = average.module.model.embedding.tokens
    assert torch.equal(averaged.char_ngrams, char_ngrams)
    assert torch.equal(average.module.flags, module.flags)
    # The weights are averaged.
    assert 1 < float((weight - averaged.tokens.weight).detach().mean()) < 20


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
@pytest.mark.parametrize("label", [0, 1])
def test_the_branches_are_weighed_by_what_validates_best(label: int) -> None:
    model = build_classifier(TINY, vocab_size=10, outputs=3)
    # The words say 0, the context says 1.
    for says, branch in enumerate(model.branches.values()):
        nn.init.zeros_(branch.head[1].weight)
        branch.head[1].bias.data = F.one_hot(torch.tensor(says), 3).float()
    module = module_of(model, 3).eval()
    ids = torch.randint(4, 10, (100, 4))
    inputs = Inputs(ids, torch.ones_like(ids, dtype=torch.bool))
    for _ in range(2):  # what one validation found is forgotten in the next
        for _ in range(3):
            with torch.inference_mode():
                module.validation_step(Batch(inputs, torch.full((100,), label)), 0)
        with torch.inference_mode():
            module.on_validation_epoch_end()
        # The weights in training stay as they are.
        assert model.branch_weights.tolist() == [0.5, 0.5]
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    module.load_best(checkpoint)
    weights = model.branch_weights
    assert weights[label] > 10 * weights[1 - label]
    assert model(inputs).argmax(1).tolist() == [label] * 100


def test_the_weighted_loss_is_that_of_torch_where_nothing_is_smoothed() -> None:
    logits, labels, weights = (
        torch.randn(12, 3),
        torch.randint(3, (12,)),
        torch.tensor([0.5, 1.0, 3.0]),
    )
    ours = LabelLoss(0.0, weights)(logits, labels)
    torch.testing.assert_close(ours, F.cross_entropy(logits, labels, weights))
    torch.testing.assert_close(
        LabelLoss(0.1, None)(logits, labels), F.cross_entropy(logits, labels, label_smoothing=0.1)
    )


def test_the_weighted_and_smoothed_loss_weighs_rows_and_not_the_smoothing() -> None:
    logits, labels, weights = (
        torch.randn(12, 3),
        torch.randint(3, (12,)),
        torch.tensor([0.5, 1.0, 3.0]),
    )
    total = sum(
        weights[label] * F.cross_entropy(row[None], label[None], label_smoothing=0.1)
        for row, label in zip(logits, labels, strict=True)
    )
    torch.testing.assert_close(
        LabelLoss(0.1, weights)(logits, labels), total / weights[labels].sum()
    )


def test_balanced_weights_let_a_text_without_evidence_have_any_label() -> None:
    """The best constant logits are those that predict each label as often as the others, smoothed or not."""
    labels = torch.tensor([0] * 1960 + [1] * 40)
    weights = balanced_weights(labels.numpy(), 2)
    for smoothing in (0.0, 0.1, 0.3):
        logits = torch.zeros(2, requires_grad=True)
        LabelLoss(smoothing, weights)(logits.expand(2000, 2), labels).backward()
        torch.testing.assert_close(logits.grad, torch.zeros(2), atol=1e-6, rtol=0)


def test_balanced_weights_let_each_label_count_the_same() -> None:
    labels = np.array([0, 0, 0, 1])
    weights = balanced_weights(labels, 2)
    torch.testing.assert_close(weights, torch.tensor([2 / 3, 2.0]))
    assert weights[labels].mean() == pytest.approx(1)


def test_a_label_that_train_lacks_has_no_weight_and_changes_no_others() -> None:
    labels = np.array([0, 0, 0, 2])
    torch.testing.assert_close(balanced_weights(labels, 4), torch.tensor([2 / 3, 0.0, 2.0, 0.0]))


def test_a_rare_label_does_not_swallow_the_others(tmp_path: Path) -> None:
    pairs = [(f"{word} common", "often") for word in WORDS["fruit"] * 25]
    pairs += [("gold rare", "seldom")] * 4
    texts, labels = zip(*pairs, strict=True)
    common = ["apple common", "pear common"]
    settings: dict[str, Any] = {**SMALL, "kind": "bag", "learning_rate": 0.05}
    classifier = fit(
        texts, labels, validation=(texts, labels), class_weights="balanced", **settings
    )
    assert classifier.predict(common) == ["often", "often"]


# AdamW multiplies matrices by 1 - lr · weight_decay.
DIVERGING: dict[str, Any] = {"learning_rate": 10.0, "weight_decay": 1e9}


def test_a_loss_that_is_not_finite_ends_the_run_in_a_sentence_and_leaves_nothing(
    noise: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    flags = [
        "--training.learning-rate",
        "10",
        "--training.weight-decay",
        "1e9",
        "--training.precision",
        "32",
    ]
    flags += ["--model.width", "8", "--model.heads", "2", "--out", str(run)]
    assert main(["train", str(noise), *flags]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    start = f"selfattn: {run}: the loss or its gradient was not a finite number at step "
    assert said.startswith(start)
    assert said.endswith("; a lower training.learning_rate than 10 usually helps.")
    assert not run.exists()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_run_that_diverges_later_is_kept_from_its_best_validation(
    bad: float, noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ClassifierModule.training_step

    def diverge(self: ClassifierModule, batch: Batch, batch_idx: int) -> torch.Tensor:
        if self.global_step == 8:  # of 6 an epoch
            with torch.no_grad():
                self.model.branches["encoder"].head[1].bias[0] = bad
        return original(self, batch, batch_idx)

    monkeypatch.setattr(ClassifierModule, "training_step", diverge)
    run = tmp_path / "run"
    kept = "a lower training.learning_rate than 0.003 usually helps; the run keeps the best weights from before"
    with pytest.raises(
        UserError,
        match=rf"run: the loss or its gradient was not a finite number at step 9; {kept}\.$",
    ):
        train(str(noise), out=run, **{**SMALL, "ema_decay": 0})
    metrics = json.loads((run / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert metrics["training"]["stopped"].startswith(
        "the loss or its gradient was not a finite number at step 9"
    )
    check_that_the_run_scores_what_its_log_says(run, noise)
    assert not (run / "checkpoints").exists()


def test_so_many_rows_that_branches_are_weighed_end_the_same_way(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(tmp_path / "validation.csv", noisy(250, seed=2))
    original = ClassifierModule.validation_step

    def diverge(self: ClassifierModule, batch: Batch, batch_idx: int) -> None:
        if self.global_step == 12:
            for branch in self.model.branches.values():
                branch.head[1].bias[0] = math.nan
        original(self, batch, batch_idx)

    monkeypatch.setattr(ClassifierModule, "validation_step", diverge)
    with pytest.raises(UserError, match="the validation loss was not a finite number after step"):
        train(
            str(noise / "train.csv"),
            validation=str(tmp_path / "validation.csv"),
            out=tmp_path / "run",
            **SMALL,
        )
    assert TextClassifier.load(tmp_path / "run").predict(["an apple"])


@pytest.mark.parametrize("last", [12, 18])  # the second and the third of three validations
def test_a_validation_whose_loss_is_not_finite_is_neither_logged_nor_kept(
    last: int, noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ClassifierModule.validation_step

    def diverge(self: ClassifierModule, batch: Batch, batch_idx: int) -> None:
        if self.global_step == last:
            with torch.no_grad():
                for branch in self.model.branches.values():
                    branch.head[1].bias[0] = math.inf
        original(self, batch, batch_idx)

    monkeypatch.setattr(ClassifierModule, "validation_step", diverge)
    run = tmp_path / "run"
    with pytest.raises(
        UserError, match=rf"run: the validation loss was not a finite number after step {last}; "
    ):
        train(str(noise), out=run, **SMALL)
    with (run / "log.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(6, last, 6))
    check_that_the_run_scores_what_its_log_says(run, noise)


def test_an_infinite_loss_has_no_finite_gradient() -> None:
    module = module_of(build_classifier(TINY, 10, 2), 2)
    module.log_loss = lambda *args: None  # type: ignore[method-assign]
    with torch.no_grad():
        for branch in module.model.branches.values():
            branch.head[1].bias.copy_(torch.tensor([3e38, -3e38]))
    inputs = Inputs(torch.full((1, 3), 5), torch.ones(1, 3, dtype=torch.bool))
    batch = Batch(inputs, torch.tensor([1]))
    loss: Any = module.training_step(batch, 0)
    loss.backward()
    assert all(
        not branch.head[1].bias.grad.isfinite().any() for branch in module.model.branches.values()
    )


def test_pretraining_that_diverges_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(text for text, _ in sentences(100)))
    with pytest.raises(
        UserError, match=r"run: the loss or its gradient was not a finite number at step \d+; "
    ):
        pretrain(str(file), out=tmp_path / "run", width=8, heads=2, precision="32", **DIVERGING)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_logged_loss_does_not_depend_on_accumulation(
    accumulate: int, noise: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        **SMALL,
        "epochs": 1,
        "learning_rate": 1e-9,
        "dropout": 0.0,
        "embedding_dropout": 0.0,
        "token_dropout": 0.0,
    }
    run = train(str(noise), out=tmp_path / "run", accumulate_batches=accumulate, **settings).folder
    with (run / "log.csv").open() as file:
        row = next(csv.DictReader(file))
    assert float(row["train_loss"]) == pytest.approx(math.log(3), rel=0.2)


def test_patience_counts_epochs_however_often_is_validated(noise: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        **SMALL,
        "epochs": 30,
        "validations_per_epoch": 2,
        "learning_rate": 1e-9,
        "patience": 2,
    }
    result = train(str(noise), out=tmp_path / "run", **settings)
    assert result.stopped == "no better macro_f1 in 2 epochs"
    with (result.folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5  # the first is the best, then 2 epochs of 2 validations


def test_no_logger_is_used_unless_one_is_asked_for(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if every logger were installed.
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    run = train(str(noise), out=tmp_path / "run", **{**SMALL, "epochs": 1}).folder
    assert not [path for path in run.iterdir() if path.is_dir()]


def test_a_pretrained_run_tells_the_perplexity_of_the_weights_it_keeps(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(text for text, _ in sentences(120)))
    settings: dict[str, Any] = {
        "width": 8,
        "heads": 2,
        "epochs": 6,
        "batch_size": 16,
        "precision": "32",
        "ema_decay": 0,
        "validations_per_epoch": 3,
    }
    result = pretrain(str(file), out=tmp_path / "run", **settings)
    with (result.folder / "log.csv").open() as log:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(log)]
    best = max(rows, key=lambda row: row["validation_accuracy"])
    assert result.perplexity == pytest.approx(math.exp(best["validation_loss"]), rel=1e-5)
    metrics = json.loads((result.folder / "metrics.json").read_text())
    assert metrics["training"]["best"] == best["validation_accuracy"]
    assert metrics["masked_tokens"]["accuracy"] == pytest.approx(
        best["validation_accuracy"], abs=1e-6
    )
