import torch
from helpers import model_config

from selfattn_lm.build import build_classifier
from selfattn_lm.inputs import Inputs, SparseRows
from selfattn_lm.nn import Classifier, NgramClassifier

ROWS = SparseRows(
    columns=torch.tensor([0, 3, 2], dtype=torch.int32),
    offsets=torch.tensor([0, 2, 2, 3], dtype=torch.int32),
    values=torch.tensor([0.6, 0.8, 1.0]),
)
DENSE = torch.tensor([[0.6, 0, 0, 0.8], [0, 0, 0, 0], [0, 0, 1, 0]])


def branch_of(weight: torch.Tensor, bias: torch.Tensor) -> NgramClassifier:
    branch = NgramClassifier(*weight.shape)
    branch.set_weights(weight, bias)
    return branch


def classifier_with(branch: NgramClassifier | None) -> Classifier:
    config = model_config(width=16, heads=2, max_ngram=1, ngram_buckets=1)
    return build_classifier(config, 30, outputs=2, ngrams=branch).eval()


def test_the_logits_are_weighted_sums_up_to_rounding() -> None:
    weight, bias = torch.randn(4, 3), torch.randn(3)
    logits = branch_of(weight, bias)(ROWS)
    largest = weight.abs().amax(0)
    rounding = DENSE.sum(1, keepdim=True) * largest / 127 / 2
    assert ((logits - DENSE @ weight - bias).abs() <= rounding + 1e-6).all()


def test_weights_of_zero_stay_zero() -> None:
    bias = torch.tensor([1.0, -1.0])
    assert torch.equal(branch_of(torch.zeros(4, 2), bias)(ROWS), bias.expand(3, 2))


def test_the_branch_is_the_last_of_the_branches_and_is_not_trained() -> None:
    branch = branch_of(torch.randn(4, 2), torch.randn(2))
    model = classifier_with(branch)
    assert model.branch_names == ["bag", "encoder", "ngrams"]
    ids = torch.randint(4, 30, (3, 5))
    inputs = Inputs(ids, torch.ones_like(ids, dtype=torch.bool), weighted_ngrams=ROWS)
    by_branch = model.branch_logits(inputs)
    torch.testing.assert_close(by_branch[-1], branch(ROWS))
    torch.testing.assert_close(by_branch[:-1], model.trained_logits(inputs))
    torch.testing.assert_close(model(inputs), by_branch.mean(0))
    grouped = {id(parameter) for group in model.parameter_groups() for parameter in group}
    assert grouped == {id(parameter) for parameter in model.parameters()}
    assert list(branch.parameters()) == []


def test_another_models_branch_is_not_copied_with_its_weights() -> None:
    branch = branch_of(torch.randn(4, 2), torch.zeros(2))
    first, second = (
        classifier_with(branch_of(torch.randn(9, 2), torch.ones(2))),
        classifier_with(branch),
    )
    weight = branch.weight.clone()
    second.load_backbone(first, with_heads=True)
    assert torch.equal(branch.weight, weight)
    without = classifier_with(None)
    without.load_backbone(first, with_heads=True)
    ids = torch.randint(4, 30, (3, 5))
    inputs = Inputs(ids, torch.ones_like(ids, dtype=torch.bool), weighted_ngrams=ROWS)
    torch.testing.assert_close(without.branch_logits(inputs), second.branch_logits(inputs)[:2])
