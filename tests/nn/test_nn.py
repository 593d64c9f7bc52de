import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import model_config
from torch import Tensor, nn

import selfattn_lm.nn
from selfattn_lm.build import build_classifier, build_masked_model
from selfattn_lm.features.ngrams import add_ngrams
from selfattn_lm.inputs import Inputs
from selfattn_lm.nn import Classifier, Rotary, SelfAttention, Sinusoidal, attention_weights
from selfattn_lm.nn.attention import fastest, written_out
from selfattn_lm.nn.classifier import GRADIENT_FRACTION
from selfattn_lm.nn.dropout import Dropout
from selfattn_lm.nn.encoder import Encoder, EncoderLayer, PostNormLayer, feed_forward

FOLDER = Path(selfattn_lm.nn.__file__).parent
VOCABULARY, LONGEST = 24, 12
ATTENTION = [("attention", positions) for positions in ("learned", "sinusoidal", "rotary", "none")]
ENCODERS = [*ATTENTION, ("bag", "none"), ("cnn", "none"), ("lstm", "none")]
every_encoder = pytest.mark.parametrize(("kind", "positions"), ENCODERS)
every_pooling = pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
SHAPES = pytest.mark.parametrize(
    ("batch", "tokens", "width", "heads"), [(1, 1, 4, 1), (3, 7, 16, 4), (2, 20, 12, 2)]
)

SMALL: dict[str, Any] = {"max_length": LONGEST, "positions": "none"}


def model_of(
    kind: str,
    positions: str,
    pooling: str,
    dropout: float = 0.0,
    embedding_dropout: float = 0.0,
    **values: Any,
) -> Classifier:
    torch.manual_seed(0)
    config = model_config(
        kind=kind,
        positions=positions,
        pooling=pooling,
        max_length=LONGEST,
        layers=2,
        dropout=dropout,
        embedding_dropout=embedding_dropout,
        **values,
    )
    return build_classifier(config, VOCABULARY, outputs=3).eval()


def tokens_and_padding(batch: int, tokens: int, width: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    lengths = torch.linspace(tokens, (tokens + 1) // 2, batch).long()
    return torch.randn(batch, tokens, width), torch.arange(tokens) < lengths[:, None]


def full_batch() -> Inputs:
    ids = torch.arange(2 * LONGEST).view(2, LONGEST) % VOCABULARY
    return Inputs(ids, torch.ones_like(ids, dtype=torch.bool))


@SHAPES
def test_self_attention_equals_that_of_torch(
    batch: int, tokens: int, width: int, heads: int
) -> None:
    x, attention_mask = tokens_and_padding(batch, tokens, width)
    ours, theirs = (
        SelfAttention(width, heads).eval(),
        nn.MultiheadAttention(width, heads, batch_first=True).eval(),
    )
    nn.init.normal_(ours.qkv.bias)
    nn.init.normal_(ours.out.bias)
    pairs: list[tuple[Tensor, Tensor]] = [
        (theirs.in_proj_weight, ours.qkv.weight),
        (theirs.in_proj_bias, ours.qkv.bias),
        (theirs.out_proj.weight, ours.out.weight),
        (theirs.out_proj.bias, ours.out.bias),
    ]
    with torch.no_grad():
        for target, source in pairs:
            target.copy_(source)
    expected, expected_weights = theirs(
        x, x, x, key_padding_mask=~attention_mask, average_attn_weights=False
    )
    attended, weights = ours.attend(x, attention_mask)
    torch.testing.assert_close(attended, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(weights, expected_weights, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours(x, attention_mask), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("rotary", [True, False])
@SHAPES
def test_the_fused_path_equals_the_written_out_one(
    batch: int, tokens: int, width: int, heads: int, rotary: bool, training: bool
) -> None:
    x, attention_mask = tokens_and_padding(batch, tokens, width)
    rotate = Rotary(tokens, width // heads) if rotary else None
    attention = SelfAttention(width, heads, rotate).train(training)
    fused = attention(x, attention_mask)
    attended, weights = attention.attend(x, attention_mask)
    assert weights.shape == (batch, heads, tokens, tokens)
    torch.testing.assert_close(fused, attended, atol=1e-5, rtol=0)
    attention.backend = written_out
    torch.testing.assert_close(attention(x, attention_mask), attended, atol=0, rtol=0)
    direction = torch.randn_like(fused) * attention_mask[..., None]
    parameters = list(attention.parameters())
    ours = torch.autograd.grad((fused * direction).sum(), parameters)
    theirs = torch.autograd.grad((attended * direction).sum(), parameters)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_short_texts_in_bf16_are_computed_by_the_written_out_path() -> None:
    query, attention_mask = tokens_and_padding(3, 7, 2 * 8)
    query = query.view(3, 7, 2, 8).transpose(1, 2).bfloat16()
    key, value = query.flip(0), query.flip(1)
    attended = fastest(query, key, value, attention_mask)
    assert torch.equal(attended, written_out(query, key, value, attention_mask))
    mask = attention_mask[:, None, None, :]
    fused = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(attended, fused, atol=0.02, rtol=0)


@pytest.mark.parametrize("layer", [EncoderLayer, PostNormLayer])
@pytest.mark.parametrize("training", [True, False])
def test_a_layer_that_exposes_its_weights_computes_the_same(
    layer: type[EncoderLayer], training: bool
) -> None:
    torch.manual_seed(0)
    x, attention_mask = tokens_and_padding(3, 7, 16)
    layers = []
    for _ in range(2):
        attention, network = SelfAttention(16, 4), feed_forward(16, 32)
        layers.append(layer(attention, network, nn.LayerNorm(16), nn.LayerNorm(16), dropout=0.0))
    encoder = Encoder(layers, nn.LayerNorm(16)).train(training)
    attended, weights = encoder.attend(x, attention_mask)
    torch.testing.assert_close(attended, encoder(x, attention_mask), atol=1e-5, rtol=0)
    assert [each.shape for each in weights] == [(3, 4, 7, 7)] * 2
    assert not torch.allclose(weights[0], weights[1])


def test_a_classifier_shows_the_attention_weights_of_each_layer() -> None:
    model, inputs = model_of("attention", "rotary", "mean"), full_batch()
    first, second = model.attend(inputs)
    assert first.shape == second.shape == (2, 2, LONGEST, LONGEST)
    torch.testing.assert_close(first.sum(-1), torch.ones(2, 2, LONGEST))
    encoder = model.branches["encoder"].encoder
    x = encoder.layers[0].norm1(model.embedding(inputs))
    query, key, _ = encoder.layers[0].attention.project_qkv(x)
    expected = attention_weights(query, key, inputs.attention_mask)
    torch.testing.assert_close(first, expected)


def test_attention_rows_sum_to_one_and_padding_gets_zero() -> None:
    query, attention_mask = tokens_and_padding(3, 9, 2 * 4)
    query = query.view(3, 9, 2, 4).transpose(1, 2)
    weights = attention_weights(query, query.flip(0), attention_mask)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, 9))
    assert not attention_mask.all()
    assert weights.masked_select(~attention_mask[:, None, None, :]).eq(0).all()
    assert weights.masked_select(attention_mask[:, None, None, :]).gt(0).all()


@pytest.mark.parametrize("backend", [fastest, written_out])
def test_a_token_that_is_padding_gives_no_gradient(backend: Any) -> None:
    x, attention_mask = tokens_and_padding(3, 8, 12)
    x.requires_grad_()
    attention = SelfAttention(12, 3)
    attention.backend = backend
    attention(x, attention_mask)[attention_mask].pow(2).sum().backward()
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
    scores = (
        rotate(query.expand(1, 1, 30, 8)) @ rotate(key.expand(1, 1, 30, 8)).transpose(-2, -1)
    )[0, 0]
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
    together = model(Inputs(ids, attention_mask))
    for row, length in enumerate(lengths):
        alone = model(Inputs(ids[row, None, :length], attention_mask[row, None, :length]))
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=0)
    others = torch.where(attention_mask, (ids + 1) % VOCABULARY, ids)
    changed = model(Inputs(others, attention_mask))
    assert not torch.isclose(together, changed, atol=1e-4).all(1).any()


@every_encoder
@every_pooling
def test_dropout_acts_in_training_alone(kind: str, positions: str, pooling: str) -> None:
    inputs = full_batch()
    model = model_of(kind, positions, pooling, dropout=0.5, embedding_dropout=0.5)
    logits = model(inputs)
    assert logits.equal(model(inputs))
    model.train()
    assert model(inputs).isfinite().all()
    assert not torch.allclose(model(inputs), logits)


@pytest.mark.parametrize("kind", ["attention", "cnn", "lstm"])
def test_the_encoder_has_a_dropout_of_its_own(kind: str) -> None:
    model = model_of(kind, "learned", "mean", dropout=0.5)
    logits = model(full_batch())
    assert not torch.allclose(model.train()(full_batch()), logits)


@pytest.mark.parametrize(
    ("kind", "positions", "pooling"),
    [(*encoder, pooling) for encoder in ATTENTION for pooling in ("mean", "cls", "max")]
    + [("bag", "none", "mean"), ("cnn", "none", "max"), ("lstm", "none", "mean")],
)
def test_every_weight_gets_a_gradient(kind: str, positions: str, pooling: str) -> None:
    model = model_of(kind, positions, pooling)
    loss: Any = nn.functional.cross_entropy(model(full_batch()), torch.tensor([0, 2]))
    loss.backward()
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
    model, inputs = model_of(kind, positions, pooling), full_batch()
    order = torch.tensor([0, 11, 4, 2, 9, 1, 7, 5, 3, 10, 6, 8])  # the first stays, as [CLS] does
    reordered = inputs._replace(tokens=inputs.tokens[:, order])
    same = torch.allclose(model(inputs), model(reordered), atol=1e-5)
    assert same == (kind == "bag" or (kind == "attention" and positions == "none"))


def test_mean_attention_without_positions_ignores_any_permutation() -> None:
    model, inputs = model_of("attention", "none", "mean"), full_batch()
    flipped = inputs._replace(tokens=inputs.tokens.flip(1))
    torch.testing.assert_close(model(inputs), model(flipped), atol=1e-5, rtol=0)


GOLDEN = {
    ("attention", "learned", "mean"): [
        [1.357078, 0.744583, 0.036786],
        [1.389505, 0.983265, 0.282998],
    ],
    ("attention", "sinusoidal", "cls"): [
        [0.941198, 0.616664, -0.202723],
        [0.852467, 0.736019, 0.04538],
    ],
    ("attention", "rotary", "max"): [
        [1.075934, 0.587312, -0.261855],
        [0.963632, 0.702774, -0.024145],
    ],
    ("attention", "none", "mean"): [
        [1.089109, 0.582741, -0.240308],
        [0.96417, 0.705398, -0.021113],
    ],
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
    logits = model(Inputs(ids, attention_mask))
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


def test_the_model_needs_torch_alone() -> None:
    allowed = (
        "torch",
        "typing",
        "math",
        "collections",
        "functools",
        "selfattn_lm.nn",
        "selfattn_lm.inputs",
    )
    for file in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, file
                whole = node.module == "selfattn_lm"
                names = (
                    [f"selfattn_lm.{alias.name}" for alias in node.names]
                    if whole
                    else [str(node.module)]
                )
            for name in names:
                assert f"{name}.".startswith(tuple(f"{module}." for module in allowed)), (
                    f"{file.name}: {name}"
                )


def test_the_branches_are_weighted_by_the_branch_weights() -> None:
    model, inputs = model_of("attention", "rotary", "mean"), full_batch()
    bag, encoder = model.branches["bag"], model.branches["encoder"]
    x = model.embedding(inputs)
    of_bag = bag.head(x.mean(1))
    of_encoder = encoder.head(encoder.encoder(x, inputs.attention_mask).mean(1))
    torch.testing.assert_close(model.branch_logits(inputs), torch.stack([of_bag, of_encoder]))
    torch.testing.assert_close(model(inputs), (of_bag + of_encoder) / 2)
    model.branch_weights.copy_(torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(model(inputs), of_bag)
    torch.testing.assert_close(model.embed(inputs)[:, :16], x.mean(1))


def test_the_encoder_moves_the_embeddings_by_a_fraction_of_its_gradient() -> None:
    both: Any = model_of("attention", "none", "mean")
    inputs = full_batch()
    alone: Any = model_of("attention", "none", "mean", bag_branch=False)
    alone.load_backbone(both, with_heads=False)
    alone.branches["encoder"].head.load_state_dict(both.branches["encoder"].head.state_dict())
    for model in (both, alone):
        model.branch_logits(inputs)[-1].square().sum().backward()
    ours = both.embedding.tokens.weight.grad.to_dense()
    theirs = alone.embedding.tokens.weight.grad.to_dense()
    torch.testing.assert_close(ours, GRADIENT_FRACTION * theirs)
    norms = [model.branches["encoder"].encoder.layers[0].norm1 for model in (both, alone)]
    torch.testing.assert_close(norms[0].weight.grad, norms[1].weight.grad)


@pytest.mark.parametrize("kind", ["attention", "bag"])
def test_one_branch_is_left_without_the_bag_and_for_a_bag(kind: str) -> None:
    model = model_of(kind, "none", "mean", bag_branch=False)
    assert list(model.branches) == ["encoder"]
    assert model(full_batch()).equal(model.branch_logits(full_batch())[0])


def test_parameters_are_grouped_from_the_input_up() -> None:
    model = model_of("attention", "learned", "mean", max_ngram=2)
    groups = model.parameter_groups()
    assert len(groups) == 5  # embedding, two layers, the last norm, heads
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    grouped = [{names[id(parameter)] for parameter in group} for group in groups]
    assert sorted(name for group in grouped for name in group) == sorted(names.values())
    assert all(name.startswith("embedding.") for name in grouped[0])
    assert all(name.startswith("branches.encoder.encoder.layers.0.") for name in grouped[1])
    assert grouped[3] == {
        "branches.encoder.encoder.norm.weight",
        "branches.encoder.encoder.norm.bias",
    }
    assert grouped[4] == {
        f"branches.{branch}.head.1.{part}"
        for branch in ("bag", "encoder")
        for part in ("weight", "bias")
    }
    tables = ["positions.table", "tokens.weight", "ngrams.table.weight"]
    assert sorted(model.tables()) == sorted(f"embedding.{name}" for name in tables)


def test_a_backbone_is_loaded_whole_or_not_at_all() -> None:
    model: Any = model_of("attention", "none", "mean")
    other: Any = model_of("attention", "none", "mean")
    head = model.branches["encoder"].head[1].weight.clone()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    model.load_backbone(other, with_heads=False)
    assert torch.equal(model.embedding.tokens.weight, other.embedding.tokens.weight)
    assert torch.equal(model.branches["encoder"].head[1].weight, head)
    model.load_backbone(other, with_heads=True)
    assert torch.equal(model(full_batch()), other(full_batch()))
    usual: dict[str, Any] = {"kind": "attention", "positions": "none", "pooling": "mean"}
    for wrong in ({"positions": "learned"}, {"kind": "cnn"}):
        another = model_of(**{**usual, **wrong})
        with pytest.raises(AssertionError, match="not in"):
            model.load_backbone(another, with_heads=False)
        with pytest.raises(AssertionError, match="not in"):
            another.load_backbone(model, with_heads=False)


def test_a_masked_model_scores_the_vocabulary_at_each_masked_token() -> None:
    model, inputs = build_masked_model(model_config(**SMALL), VOCABULARY).eval(), full_batch()
    masked = torch.zeros_like(inputs.attention_mask)
    masked[0, 3] = masked[1, 5] = True
    logits = model.mlm_logits(inputs, masked)
    assert logits.shape == (2, VOCABULARY)
    torch.testing.assert_close(logits, model(inputs)[masked])


def test_a_model_with_ngrams_needs_their_buckets() -> None:
    model = model_of("attention", "none", "mean", max_ngram=3, ngram_buckets=64)
    assert model(add_ngrams(full_batch(), 3, 64)).isfinite().all()
    with pytest.raises(AssertionError, match="add_ngrams"):
        model(full_batch())


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_dropout_drops_with_its_probability_and_keeps_the_mean(
    p: float, precision: torch.dtype
) -> None:
    torch.manual_seed(0)
    drop, x = Dropout(p), torch.ones(1001, 999, dtype=precision, requires_grad=True)
    drop(x).sum().backward()
    torch.manual_seed(0)
    dropped = drop(x.detach())
    rounded = round(256 * p) / 256
    assert abs(float((dropped == 0).float().mean()) - rounded) < 0.002
    assert abs(float(dropped.float().mean()) - 1) < 0.02
    assert x.grad is not None
    # What was dropped gets no gradient, what was scaled a scaled one.
    assert torch.equal(x.grad, dropped)
    assert torch.equal(drop.eval()(x), x)


def test_what_dropout_drops_is_independent_from_place_to_place() -> None:
    torch.manual_seed(0)
    dropped = (Dropout(0.5)(torch.ones(1000, 4096)) > 0).float()
    for distance in (1, 2, 7, 8, 64):  # bytes of one random number, and of others
        pairs = torch.corrcoef(
            torch.stack([dropped[:, :-distance].flatten(), dropped[:, distance:].flatten()])
        )
        assert abs(float(pairs[0, 1])) < 0.004  # eight standard deviations
    assert not torch.equal(dropped[0], dropped[1])
