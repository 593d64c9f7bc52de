import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import selfattn_lm.nn
from selfattn_lm.config import ModelConfig
from selfattn_lm.nn import (
    Classifier,
    Rotary,
    SelfAttention,
    Sinusoidal,
    attention_weights,
    build_classifier,
    mask_tokens,
)
from selfattn_lm.nn.classifier import CONTEXT_SHARE
from selfattn_lm.nn.dropout import Dropout

FOLDER = Path(selfattn_lm.nn.__file__).parent
VOCABULARY, LONGEST = 24, 12
ATTENTION = [("attention", positions) for positions in ("learned", "sinusoidal", "rotary", "none")]
ENCODERS = [*ATTENTION, ("bag", "none"), ("cnn", "none"), ("lstm", "none")]
every_encoder = pytest.mark.parametrize(("kind", "positions"), ENCODERS)
every_pooling = pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
SHAPES = pytest.mark.parametrize(("batch", "tokens", "width", "heads"), [(1, 1, 4, 1), (3, 7, 16, 4), (2, 20, 12, 2)])

SMALL: dict[str, Any] = {
    "width": 16,
    "heads": 2,
    "max_ngram": 1,
    "max_length": 12,
    "positions": "none",
    "pooling": "mean",
}


def model_of(
    kind: str, positions: str, pooling: str, dropout: float = 0.0, embedding_dropout: float = 0.0, ngrams: int = 1
) -> Classifier:
    torch.manual_seed(0)
    values = {"kind": kind, "positions": positions, "pooling": pooling, "max_length": LONGEST, "width": 16, "heads": 2}
    values["max_ngram"] = ngrams
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
    x, attention_mask = tokens_and_padding(batch, tokens, width)
    ours, theirs = SelfAttention(width, heads).eval(), nn.MultiheadAttention(width, heads, batch_first=True).eval()
    nn.init.normal_(ours.qkv.bias)
    nn.init.normal_(ours.out.bias)
    pairs = [(theirs.in_proj_weight, ours.qkv.weight), (theirs.in_proj_bias, ours.qkv.bias)]
    pairs += [(theirs.out_proj.weight, ours.out.weight), (theirs.out_proj.bias, ours.out.bias)]
    with torch.no_grad():
        for target, source in pairs:
            target.copy_(source)
    expected, expected_weights = theirs(x, x, x, key_padding_mask=~attention_mask, average_attn_weights=False)
    mixed, weights = ours(x, attention_mask, with_weights=True)
    torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(weights, expected_weights, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours(x, attention_mask)[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("rotary", [True, False])
@SHAPES
def test_the_fused_path_equals_the_written_out_one(
    batch: int, tokens: int, width: int, heads: int, rotary: bool, training: bool
) -> None:
    x, attention_mask = tokens_and_padding(batch, tokens, width)
    attention = SelfAttention(width, heads, Rotary(tokens, width // heads) if rotary else None).train(training)
    fused, nothing = attention(x, attention_mask)
    written, weights = attention(x, attention_mask, with_weights=True)
    assert nothing is None
    assert weights.shape == (batch, heads, tokens, tokens)
    torch.testing.assert_close(fused, written, atol=1e-5, rtol=0)
    direction = torch.randn_like(fused) * attention_mask[..., None]
    gradients = [torch.autograd.grad((y * direction).sum(), list(attention.parameters())) for y in (fused, written)]
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=0)


def test_short_texts_in_half_precision_get_the_same_on_either_path(monkeypatch: pytest.MonkeyPatch) -> None:
    x, attention_mask = tokens_and_padding(3, 7, 16)
    attention = SelfAttention(16, 4)
    with torch.autocast("cpu", torch.bfloat16):
        written = attention(x, attention_mask)[0]
        torch.testing.assert_close(written, attention(x, attention_mask, with_weights=True)[0], atol=0, rtol=0)
        monkeypatch.setattr("selfattn_lm.nn.attention.FUSED_BEYOND", 0)
        torch.testing.assert_close(attention(x, attention_mask)[0], written, atol=0.02, rtol=0)


def test_attention_rows_sum_to_one_and_padding_gets_zero() -> None:
    query, attention_mask = tokens_and_padding(3, 9, 2 * 4)
    query = query.view(3, 9, 2, 4).transpose(1, 2)
    weights = attention_weights(query, query.flip(0), attention_mask)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, 9))
    assert not attention_mask.all()
    assert weights.masked_select(~attention_mask[:, None, None, :]).eq(0).all()
    assert weights.masked_select(attention_mask[:, None, None, :]).gt(0).all()


@pytest.mark.parametrize("written", [True, False])
def test_a_token_that_is_padding_gives_no_gradient(written: bool) -> None:
    x, attention_mask = tokens_and_padding(3, 8, 12)
    x.requires_grad_()
    mixed = SelfAttention(12, 3)(x, attention_mask, with_weights=written)[0]
    mixed[attention_mask].pow(2).sum().backward()
    assert not attention_mask.all()
    assert x.grad is not None
    assert x.grad[~attention_mask].eq(0).all()
    assert x.grad[attention_mask].ne(0).any(-1).all()


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
    attention_mask = torch.arange(LONGEST) < lengths[:, None]
    ids = torch.randint(VOCABULARY, attention_mask.shape)  # also where there is padding
    together = model(ids, attention_mask)
    for row, length in enumerate(lengths):
        alone = model(ids[row : row + 1, :length], attention_mask[row : row + 1, :length])
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=0)
    changed = model(torch.where(attention_mask, (ids + 1) % VOCABULARY, ids), attention_mask)
    assert not torch.isclose(together, changed, atol=1e-4).all(1).any()


@every_encoder
@every_pooling
def test_dropout_acts_in_training_alone(kind: str, positions: str, pooling: str) -> None:
    ids, attention_mask = full_batch()
    model = model_of(kind, positions, pooling, dropout=0.5, embedding_dropout=0.5)
    calm = model(ids, attention_mask)
    assert calm.equal(model(ids, attention_mask))
    model.train()
    assert model(ids, attention_mask).isfinite().all()
    assert not torch.allclose(model(ids, attention_mask), calm)


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
    model, (ids, attention_mask) = model_of(kind, positions, pooling), full_batch()
    order = torch.tensor([0, 11, 4, 2, 9, 1, 7, 5, 3, 10, 6, 8])  # the first stays, as [CLS] does
    same = torch.allclose(model(ids, attention_mask), model(ids[:, order], attention_mask), atol=1e-5)
    assert same == (kind == "bag" or (kind == "attention" and positions == "none"))


def test_mean_attention_without_positions_ignores_any_permutation() -> None:
    model, (ids, attention_mask) = model_of("attention", "none", "mean"), full_batch()
    torch.testing.assert_close(model(ids, attention_mask), model(ids.flip(1), attention_mask), atol=1e-5, rtol=0)


GOLDEN = {
    ("attention", "learned", "mean"): [[1.357078, 0.744583, 0.036786], [1.389505, 0.983265, 0.282998]],
    ("attention", "sinusoidal", "cls"): [[0.941198, 0.616664, -0.202723], [0.852467, 0.736019, 0.04538]],
    ("attention", "rotary", "max"): [[1.075934, 0.587312, -0.261855], [0.963632, 0.702774, -0.024145]],
    ("attention", "none", "mean"): [[1.089109, 0.582741, -0.240308], [0.96417, 0.705398, -0.021113]],
    ("bag", "none", "mean"): [[0.182608, 0.15678, 0.14991], [-0.092875, 0.40533, 0.581071]],
    ("cnn", "none", "max"): [[-2.800544, -0.757644, -0.761888], [-0.697518, 0.931507, 1.097877]],
    ("lstm", "none", "mean"): [[0.140017, 0.529733, -0.03205], [-0.043551, 0.609515, 0.133515]],
}


@pytest.mark.parametrize(("kind", "positions", "pooling"), list(GOLDEN))
def test_the_model_computes_what_it_always_did(kind: str, positions: str, pooling: str) -> None:
    model = model_of(kind, positions, pooling).double()
    with torch.no_grad():
        for parameter in model.parameters():
            ramp = torch.arange(parameter.numel(), dtype=torch.float64)
            parameter.copy_(ramp.square().sin().view_as(parameter) / 2)
    ids = torch.tensor([[2, 7, 11, 5, 19], [2, 23, 4, 0, 0]])
    attention_mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    expected = torch.tensor(GOLDEN[kind, positions, pooling], dtype=torch.float64)
    torch.testing.assert_close(model(ids, attention_mask), expected, atol=1e-5, rtol=0)


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
    assert sum(lines.values()) <= 700


def test_two_views_are_the_words_alone_and_in_context_weighted_by_the_mix() -> None:
    model, (ids, attention_mask) = model_of("attention", "rotary", "mean"), full_batch()
    words, context = model.branches["bag"], model.branches["encoder"]
    x = model.embedding(ids)
    alone, among = words.head(x.mean(1)), context.head(context.encoder(x, attention_mask).mean(1))
    torch.testing.assert_close(model.scores(ids, attention_mask), torch.stack([alone, among]))
    torch.testing.assert_close(model(ids, attention_mask), (alone + among) / 2)
    model.branch_weights.copy_(torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(model(ids, attention_mask), alone)
    torch.testing.assert_close(model.embed(ids, attention_mask)[:, :16], x.mean(1))


def test_the_context_moves_the_embeddings_by_a_share_of_its_gradient() -> None:
    model, batch = model_of("attention", "none", "mean"), full_batch()
    whole = build_classifier(ModelConfig(**SMALL, bag_branch=False), VOCABULARY, labels=3).eval()
    whole.load_state_dict(
        {k: v for k, v in model.state_dict().items() if ".bag." not in k and k != "branch_weights"}, strict=False
    )
    for each in (model, whole):
        each.scores(*batch)[-1].square().sum().backward()
    ours, theirs = (each.embedding.tokens.weight.grad.to_dense() for each in (model, whole))
    torch.testing.assert_close(ours, CONTEXT_SHARE * theirs)
    inner, outer = (each.branches["encoder"].encoder.layers[0].norm1.weight.grad for each in (model, whole))
    torch.testing.assert_close(inner, outer)


@pytest.mark.parametrize("kind", ["attention", "bag"])
def test_one_view_is_left_without_words_and_for_a_bag(kind: str) -> None:
    model = build_classifier(ModelConfig(**{**SMALL, "kind": kind}, bag_branch=False), VOCABULARY, labels=3).eval()
    assert list(model.branches) == ["encoder"]
    assert model(*full_batch()).equal(model.scores(*full_batch())[0])


def test_hidden_tokens_are_a_share_of_the_real_ones_and_mostly_masked() -> None:
    torch.manual_seed(0)
    ids = torch.randint(4, 1000, (50, 200))
    ids[:, 0], attention_mask = 2, torch.arange(200) < 150
    attention_mask = attention_mask.expand(50, 200)
    seen, hidden = mask_tokens(ids, attention_mask, 1000)
    assert not hidden[:, 0].any()
    assert not hidden[:, 150:].any()
    assert 0.14 < hidden[:, 1:150].float().mean() < 0.16
    assert torch.equal(seen[~hidden], ids[~hidden])
    masked, same = (seen[hidden] == 3).float().mean(), (seen[hidden] == ids[hidden]).float().mean()
    assert 0.77 < masked < 0.83
    assert 0.08 < same < 0.12
    assert seen[hidden].min() == 3
    assert seen.max() < 1000


def test_hidden_tokens_are_repeatable_and_never_none() -> None:
    ids, attention_mask = torch.tensor([[2, 9, 8, 7]]), torch.ones(1, 4, dtype=torch.bool)
    draws = [mask_tokens(ids, attention_mask, 20, torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(draws[0][0], draws[1][0])
    for seed in range(30):
        assert mask_tokens(ids, attention_mask, 20, torch.Generator().manual_seed(seed))[1].any()
    nothing = mask_tokens(torch.tensor([[2, 1]]), torch.ones(1, 2, dtype=torch.bool), 20)[1]
    assert not nothing.any()  # only special tokens


def test_a_model_without_labels_scores_the_vocabulary_at_each_hidden_place() -> None:
    model = build_classifier(ModelConfig(**SMALL), VOCABULARY, labels=0).eval()
    ids, attention_mask = full_batch()
    hidden = torch.zeros_like(attention_mask)
    hidden[0, 3] = hidden[1, 5] = True
    guessed = model.mlm_logits(ids, attention_mask, hidden)
    assert guessed.shape == (2, VOCABULARY)
    torch.testing.assert_close(guessed, model(ids, attention_mask)[hidden])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float, precision: torch.dtype) -> None:
    torch.manual_seed(0)
    drop, x = Dropout(share), torch.ones(1001, 999, dtype=precision, requires_grad=True)
    drop(x).sum().backward()
    torch.manual_seed(0)
    dropped = drop(x.detach())
    told = round(256 * share) / 256
    assert abs(float((dropped == 0).float().mean()) - told) < 0.002
    assert abs(float(dropped.float().mean()) - 1) < 0.02
    assert x.grad is not None
    assert torch.equal(x.grad, dropped)  # what was dropped gets no gradient, what was scaled a scaled one
    assert torch.equal(drop.eval()(x), x)


def test_what_dropout_drops_is_independent_from_place_to_place() -> None:
    torch.manual_seed(0)
    dropped = (Dropout(0.5)(torch.ones(1000, 4096)) > 0).float()
    for distance in (1, 2, 7, 8, 64):  # bytes of one random number, and of others
        pairs = torch.corrcoef(torch.stack([dropped[:, :-distance].flatten(), dropped[:, distance:].flatten()]))
        assert abs(float(pairs[0, 1])) < 0.004  # eight standard deviations
    assert not torch.equal(dropped[0], dropped[1])
