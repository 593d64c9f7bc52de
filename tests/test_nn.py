import ast
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import selfattn_lm.nn
from selfattn_lm.config import ModelConfig
from selfattn_lm.nn import Classifier, Encoder, Rotary, SelfAttention, Sinusoidal, attention_weights, build_classifier

FOLDER = Path(selfattn_lm.nn.__file__).parent
VOCABULARY, LONGEST = 24, 12
ATTENTION = [("attention", positions) for positions in ("learned", "sinusoidal", "rotary", "none")]
ENCODERS = [*ATTENTION, ("bag", "none"), ("cnn", "none"), ("lstm", "none")]
every_encoder = pytest.mark.parametrize(("kind", "positions"), ENCODERS)
every_pooling = pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
SHAPES = pytest.mark.parametrize(("batch", "tokens", "width", "heads"), [(1, 1, 4, 1), (3, 7, 16, 4), (2, 20, 12, 2)])


def model_of(
    kind: str, positions: str, pooling: str, dropout: float = 0.0, embedding_dropout: float = 0.0, ngrams: int = 1
) -> Classifier:
    torch.manual_seed(0)
    values = {"kind": kind, "positions": positions, "pooling": pooling, "max_tokens": LONGEST, "width": 16, "heads": 2}
    values["ngrams"] = ngrams
    return build_classifier(
        ModelConfig(**values, dropout=dropout, embedding_dropout=embedding_dropout, token_dropout=0.0),
        VOCABULARY,
        labels=3,
    ).eval()


def tokens_and_padding(batch: int, tokens: int, width: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    lengths = torch.linspace(tokens, (tokens + 1) // 2, batch).long()
    return torch.randn(batch, tokens, width), torch.arange(tokens) < lengths[:, None]


def full_batch() -> tuple[Tensor, Tensor]:
    ids = torch.arange(2 * LONGEST).view(2, LONGEST) % VOCABULARY
    return ids, torch.ones_like(ids, dtype=torch.bool)


@SHAPES
def test_self_attention_equals_that_of_torch(batch: int, tokens: int, width: int, heads: int) -> None:
    x, keep = tokens_and_padding(batch, tokens, width)
    ours, theirs = SelfAttention(width, heads).eval(), nn.MultiheadAttention(width, heads, batch_first=True).eval()
    nn.init.normal_(ours.project.bias)
    nn.init.normal_(ours.combine.bias)
    pairs = [(theirs.in_proj_weight, ours.project.weight), (theirs.in_proj_bias, ours.project.bias)]
    pairs += [(theirs.out_proj.weight, ours.combine.weight), (theirs.out_proj.bias, ours.combine.bias)]
    with torch.no_grad():
        for target, source in pairs:
            target.copy_(source)
    expected, expected_weights = theirs(x, x, x, key_padding_mask=~keep, average_attn_weights=False)
    mixed, weights = ours(x, keep, with_weights=True)
    torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(weights, expected_weights, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours(x, keep)[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("rotary", [True, False])
@SHAPES
def test_the_fused_path_equals_the_written_out_one(
    batch: int, tokens: int, width: int, heads: int, rotary: bool, training: bool
) -> None:
    x, keep = tokens_and_padding(batch, tokens, width)
    attention = SelfAttention(width, heads, Rotary(tokens, width // heads) if rotary else None).train(training)
    fused, nothing = attention(x, keep)
    written, weights = attention(x, keep, with_weights=True)
    assert nothing is None
    assert weights.shape == (batch, heads, tokens, tokens)
    torch.testing.assert_close(fused, written, atol=1e-5, rtol=0)
    direction = torch.randn_like(fused) * keep[..., None]
    gradients = [torch.autograd.grad((y * direction).sum(), list(attention.parameters())) for y in (fused, written)]
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=0)


def test_short_texts_in_half_precision_get_the_same_on_either_path(monkeypatch: pytest.MonkeyPatch) -> None:
    x, keep = tokens_and_padding(3, 7, 16)
    attention = SelfAttention(16, 4)
    with torch.autocast("cpu", torch.bfloat16):
        written = attention(x, keep)[0]
        torch.testing.assert_close(written, attention(x, keep, with_weights=True)[0], atol=0, rtol=0)
        monkeypatch.setattr("selfattn_lm.nn.attention.FUSED_BEYOND", 0)
        torch.testing.assert_close(attention(x, keep)[0], written, atol=0.02, rtol=0)


def test_attention_rows_sum_to_one_and_padding_gets_zero() -> None:
    query, keep = tokens_and_padding(3, 9, 2 * 4)
    query = query.view(3, 9, 2, 4).transpose(1, 2)
    weights = attention_weights(query, query.flip(0), keep)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, 9))
    assert not keep.all()
    assert weights.masked_select(~keep[:, None, None, :]).eq(0).all()
    assert weights.masked_select(keep[:, None, None, :]).gt(0).all()


@pytest.mark.parametrize("written", [True, False])
def test_a_token_that_is_padding_gives_no_gradient(written: bool) -> None:
    x, keep = tokens_and_padding(3, 8, 12)
    x.requires_grad_()
    mixed = SelfAttention(12, 3)(x, keep, with_weights=written)[0]
    mixed[keep].pow(2).sum().backward()
    assert not keep.all()
    assert x.grad is not None
    assert x.grad[~keep].eq(0).all()
    assert x.grad[keep].ne(0).any(-1).all()


@pytest.mark.parametrize("width", [6, 7])
def test_sinusoidal_positions_follow_the_formula(width: int) -> None:
    added = Sinusoidal(50, width)(torch.zeros(1, 40, width))[0] * width**0.5
    for place in (0, 1, 7, 39):
        for feature in range(width):
            angle = torch.tensor(place / 10_000 ** (feature // 2 * 2 / width), dtype=torch.float64)
            expected = angle.cos() if feature % 2 else angle.sin()
            assert added[place, feature].item() == pytest.approx(expected.item(), abs=1e-5)


def test_rotated_products_depend_on_the_distance_alone() -> None:
    torch.manual_seed(0)
    rotate, query, key = Rotary(30, 8), torch.randn(8), torch.randn(8)
    scores = (rotate(query.expand(1, 1, 30, 8)) @ rotate(key.expand(1, 1, 30, 8)).transpose(-2, -1))[0, 0]
    for distance in range(-29, 30):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=0)
    assert scores[0].std() > 0.1
    torch.testing.assert_close(scores[0, 0], query @ key)


def test_rotary_keeps_the_norm() -> None:
    x = torch.randn(2, 3, 10, 6)
    rotated = Rotary(10, 6)(x)
    torch.testing.assert_close(rotated.norm(dim=-1), x.norm(dim=-1))
    assert not torch.allclose(rotated[:, :, 1:], x[:, :, 1:])


@every_encoder
@every_pooling
def test_padding_changes_nothing(kind: str, positions: str, pooling: str) -> None:
    model = model_of(kind, positions, pooling)
    lengths = torch.tensor([3, 12, 1, 7])
    keep = torch.arange(LONGEST) < lengths[:, None]
    ids = torch.randint(VOCABULARY, keep.shape)  # also where there is padding
    together = model(ids, keep)
    for row, length in enumerate(lengths):
        alone = model(ids[row : row + 1, :length], keep[row : row + 1, :length])
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=0)
    changed = model(torch.where(keep, (ids + 1) % VOCABULARY, ids), keep)
    assert not torch.isclose(together, changed, atol=1e-4).all(1).any()


@every_encoder
@every_pooling
def test_dropout_acts_in_training_alone(kind: str, positions: str, pooling: str) -> None:
    ids, keep = full_batch()
    model = model_of(kind, positions, pooling, dropout=0.5, embedding_dropout=0.5)
    calm = model(ids, keep)
    assert calm.equal(model(ids, keep))
    model.train()
    assert model(ids, keep).isfinite().all()
    assert not torch.allclose(model(ids, keep), calm)


@pytest.mark.parametrize("kind", ["attention", "cnn", "lstm"])
def test_the_encoder_has_a_dropout_of_its_own(kind: str) -> None:
    model = model_of(kind, "learned", "mean", dropout=0.5)
    calm = model(*full_batch())
    assert not torch.allclose(model.train()(*full_batch()), calm)


@pytest.mark.parametrize(
    ("kind", "positions", "pooling"),
    [(*encoder, pooling) for encoder in ATTENTION for pooling in ("mean", "cls", "max")]
    + [("bag", "none", "mean"), ("cnn", "none", "max"), ("lstm", "none", "mean")],
)
def test_every_weight_gets_a_gradient(kind: str, positions: str, pooling: str) -> None:
    model = model_of(kind, positions, pooling)
    nn.functional.cross_entropy(model(*full_batch()), torch.tensor([0, 2])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        gradient = parameter.grad.to_dense()
        assert gradient.ne(0).any(), name
        if parameter.ndim > 1 and kind != "cnn":  # relu and maximum leave some rows without
            assert gradient.ne(0).any(1).all(), name


@every_encoder
@every_pooling
def test_only_the_bag_and_attention_without_positions_are_blind_to_order(
    kind: str, positions: str, pooling: str
) -> None:
    model, (ids, keep) = model_of(kind, positions, pooling), full_batch()
    order = torch.tensor([0, 11, 4, 2, 9, 1, 7, 5, 3, 10, 6, 8])  # the first stays, as [CLS] does
    same = torch.allclose(model(ids, keep), model(ids[:, order], keep), atol=1e-5)
    assert same == (kind == "bag" or (kind == "attention" and positions == "none"))


def test_mean_attention_without_positions_ignores_any_permutation() -> None:
    model, (ids, keep) = model_of("attention", "none", "mean"), full_batch()
    torch.testing.assert_close(model(ids, keep), model(ids.flip(1), keep), atol=1e-5, rtol=0)


GOLDEN = {
    ("attention", "learned", "mean"): [[3.705724, 2.652712, -1.254492], [3.666342, 3.288222, -0.843985]],
    ("attention", "sinusoidal", "cls"): [[3.354725, 2.309355, -0.268851], [3.004548, 2.34252, -0.199678]],
    ("attention", "rotary", "max"): [[3.350953, 1.961488, -2.181709], [2.631952, 2.311224, -1.702578]],
    ("attention", "none", "mean"): [[3.354253, 2.304554, -1.926784], [2.786412, 2.652811, -1.469364]],
    ("bag", "none", "mean"): [[0.182608, 0.15678, 0.14991], [-0.092875, 0.40533, 0.581071]],
    ("cnn", "none", "max"): [[-5.783696, -1.672068, -1.673686], [-1.302162, 1.457685, 1.614682]],
    ("lstm", "none", "mean"): [[0.097425, 0.902686, -0.21401], [0.005772, 0.8137, -0.314041]],
}


@pytest.mark.parametrize(("kind", "positions", "pooling"), list(GOLDEN))
def test_the_model_computes_what_it_always_did(kind: str, positions: str, pooling: str) -> None:
    model = model_of(kind, positions, pooling).double()
    with torch.no_grad():
        for parameter in model.parameters():
            ramp = torch.arange(parameter.numel(), dtype=torch.float64)
            parameter.copy_(ramp.square().sin().view_as(parameter) / 2)
    ids = torch.tensor([[2, 7, 11, 5, 19], [2, 23, 4, 0, 0]])
    keep = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    expected = torch.tensor(GOLDEN[kind, positions, pooling], dtype=torch.float64)
    torch.testing.assert_close(model(ids, keep), expected, atol=1e-5, rtol=0)


def test_the_model_needs_torch_alone() -> None:
    allowed = ("torch", "typing", "math", "collections", "functools", "selfattn_lm.nn", "selfattn_lm.config")
    for file in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, file
                whole = node.module == "selfattn_lm"
                names = [f"selfattn_lm.{alias.name}" for alias in node.names] if whole else [str(node.module)]
            for name in names:
                assert f"{name}.".startswith(tuple(f"{module}." for module in allowed)), f"{file.name}: {name}"


def test_the_model_can_be_read_in_one_sitting() -> None:
    lines = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in FOLDER.rglob("*.py")}
    assert lines["attention.py"] <= 80
    assert sum(lines.values()) <= 600


def test_training_leaves_most_texts_without_context_and_evaluation_none() -> None:
    torch.manual_seed(0)
    encoder = Encoder(8, 1, lambda: SelfAttention(8, 2), dropout=0.0, skip=0.75)
    x, keep = torch.randn(400, 3, 8), torch.ones(400, 3, dtype=torch.bool)
    whole = encoder.eval()(x, keep)
    assert (whole != x).any(-1).all()
    part = encoder.train()(x, keep)
    changed = (part != x).any(-1).all(-1)
    assert 0.15 < changed.float().mean() < 0.35
    torch.testing.assert_close(part[changed], whole[changed])
    assert torch.equal(part[~changed], x[~changed])
    assert (encoder(x[:1], keep[:1]) != x[:1]).any()  # one text at least, so that every weight gets a gradient
