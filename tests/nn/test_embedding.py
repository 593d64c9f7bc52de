import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from torch import nn

from selfattn_lm.config import ModelConfig, TokenizerConfig
from selfattn_lm.features.tokenizer import MASK, char_ngram_ids, train_tokenizer
from selfattn_lm.nn import CharNgramEmbedding, NgramEmbedding, build_classifier
from selfattn_lm.nn.embedding import MASK_ID, mix32, ngram_hash, token_table
from selfattn_lm.training.optimizer import RowAdamW, clip_gradients

TEXTS = ["unload the loader", "load a loaded truck", "the truck is unloaded"] * 3


@pytest.mark.parametrize("unit", ["word", "wordpiece", "bpe", "character"])
def test_the_masks_number_is_the_same_in_every_vocabulary(unit: str) -> None:
    assert train_tokenizer(TEXTS, TokenizerConfig(type=unit)).token_to_id(MASK) == MASK_ID


def test_tokens_spelled_alike_share_ngrams_and_special_tokens_have_none() -> None:
    tokenizer = train_tokenizer(TEXTS, TokenizerConfig(type="word"))
    table = char_ngram_ids(tokenizer, "word")
    assert table.shape[0] == tokenizer.get_vocab_size()
    assert not table[: MASK_ID + 1].any()
    load, loaded, truck = (set(table[tokenizer.token_to_id(word)]) - {0} for word in ("load", "loaded", "truck"))
    assert load <= loaded  # " lo", "loa", "oad", " loa", "load", " load"
    assert len(load) == 6
    assert not load & truck


def test_a_folded_table_gives_the_same_vectors() -> None:
    torch.manual_seed(0)
    with_char_ngrams = CharNgramEmbedding(torch.tensor([[0, 0], [1, 2], [2, 0]]), 8)
    ids = torch.tensor([[0, 1, 2], [2, 2, 1]])
    torch.testing.assert_close(with_char_ngrams.to_embedding()(ids), with_char_ngrams(ids))
    expected = (
        with_char_ngrams.tokens.weight[1]
        + (with_char_ngrams.characters.weight[1] + with_char_ngrams.characters.weight[2]) / 2**0.5
    )
    torch.testing.assert_close(with_char_ngrams(ids)[0, 1], expected)
    torch.testing.assert_close(
        with_char_ngrams(ids)[0, 0], with_char_ngrams.tokens.weight[0]
    )  # no n-grams, nothing added


def test_an_ngram_has_the_same_row_wherever_it_stands_and_another_in_another_order() -> None:
    ngrams = NgramEmbedding(3, 50_000, 4)
    pairs, triples = ngrams.rows(torch.tensor([[9, 5, 6, 7, 8, 5, 6, 7, 6, 5]]))
    assert pairs[0, 2] == pairs[0, 6]
    assert pairs[0, 2] != pairs[0, 9]
    assert triples[0, 3] == triples[0, 7]
    assert len({*pairs[0].tolist(), *triples[0].tolist()}) == 17  # of 20: "5 6" and "6 7" and "5 6 7" stand there twice


# The same hash in unsigned 32-bit arithmetic, as another program would write it: an n-gram's last token comes first.
UINT32_IN_JAVASCRIPT = """
function mix32(x) {
  for (let i = 0; i < 2; i++) x = Math.imul(x ^ (x >>> 16), 0x45d9f3b);
  return (x ^ (x >>> 16)) >>> 0;
}
function ngramHash(tokens) {
  let hashed = tokens[0];
  for (let n = 2; n <= tokens.length; n++) hashed = mix32(Math.imul(hashed, 16777619) + tokens[n - 1] + n);
  return hashed;
}
const ngrams = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(ngrams.map(ngramHash)));
"""


def hash_in_numpy(ngrams: np.ndarray) -> np.ndarray:
    """Hash n-grams (N, n), the last token first, in uint32, which wraps around."""
    hashed, factor = ngrams[:, 0].astype(np.uint32), np.uint32(0x45D9F3B)
    for n in range(2, ngrams.shape[1] + 1):
        hashed = hashed * np.uint32(16_777_619) + ngrams[:, n - 1].astype(np.uint32) + np.uint32(n)
        hashed = (hashed ^ (hashed >> np.uint32(16))) * factor
        hashed = (hashed ^ (hashed >> np.uint32(16))) * factor
        hashed = hashed ^ (hashed >> np.uint32(16))
    return hashed


def hash_in_torch(ngrams: np.ndarray) -> np.ndarray:
    """Hash n-grams (N, n), the last token first, as the model does."""
    tokens = torch.from_numpy(ngrams)
    hashed = tokens[:, 0]
    for n in range(2, ngrams.shape[1] + 1):
        hashed = ngram_hash(hashed, tokens[:, n - 1], n)
    return hashed.numpy()


def random_ngrams(n: int) -> np.ndarray:
    """N-grams of small token ids and of large ones: (2000, n)."""
    random = np.random.default_rng(n)
    return np.concatenate([random.integers(0, highest, (1000, n)) for highest in (100, 2**24)])


@pytest.mark.parametrize("n", [2, 3, 8])
def test_the_ngram_hash_is_that_of_unsigned_32_bit_arithmetic(n: int) -> None:
    ngrams = random_ngrams(n)
    hashed = hash_in_torch(ngrams)
    assert hashed.min() >= 0
    assert np.array_equal(hashed, hash_in_numpy(ngrams))


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node to run JavaScript")
def test_the_ngram_hash_is_the_same_in_javascript() -> None:
    ngrams = [*random_ngrams(2).tolist(), *random_ngrams(3).tolist()]
    command = ["node", "-e", UINT32_IN_JAVASCRIPT]
    found = subprocess.run(command, input=json.dumps(ngrams), check=True, capture_output=True, text=True).stdout
    assert json.loads(found) == [*hash_in_torch(random_ngrams(2)).tolist(), *hash_in_torch(random_ngrams(3)).tolist()]


def test_the_ngram_hash_keeps_its_values_or_saved_tables_are_worthless() -> None:
    numbers = torch.tensor([0, 1, 2, 2**31, 2**32 - 1])
    assert mix32(numbers).tolist() == [0, 824515495, 1722258072, 1029333365, 539527247]
    pairs, triples = NgramEmbedding(3, 131_072, 4).rows(torch.tensor([[2, 5, 6, 29_999]]))
    assert pairs.tolist() == [[103745, 31739, 64657, 108230]]
    assert triples.tolist() == [[90279, 50768, 90137, 126628]]


def test_ngrams_share_buckets_no_oftener_than_random_numbers_do() -> None:
    tokens, buckets = 400, 65_536
    every_pair = np.stack(np.meshgrid(np.arange(tokens), np.arange(tokens)), axis=-1).reshape(-1, 2)
    hashed = hash_in_torch(every_pair)
    assert len(np.unique(hashed)) == tokens**2  # no two pairs have the same hash
    in_bucket = np.bincount(hashed % buckets, minlength=buckets)
    expected = tokens**2 / buckets
    chi_squared = ((in_bucket - expected) ** 2 / expected).sum()
    assert abs(chi_squared - buckets) < 4 * (2 * buckets) ** 0.5  # four standard deviations


def test_each_bit_of_a_number_changes_each_bit_of_its_hash_half_of_the_time() -> None:
    numbers = torch.randint(0, 2**32, (4000,), generator=torch.Generator().manual_seed(0))
    for bit in range(32):
        changed = mix32(numbers) ^ mix32(numbers ^ (1 << bit))
        for other in range(32):
            assert 0.45 < ((changed >> other) & 1).float().mean() < 0.55


def test_the_start_of_a_text_and_the_length_of_an_ngram_are_told_apart() -> None:
    pairs, triples = NgramEmbedding(3, 100_000, 4).rows(torch.tensor([[5, 6, 5, 6], [6, 6, 5, 6], [0, 0, 0, 0]]))
    assert pairs[0, 0] != pairs[0, 2]  # "5" begins a text, or follows "6"
    assert triples[0, 1] != triples[0, 3]  # "5 6" begins a text, or follows "6"
    assert triples[0, 3] == triples[1, 3]  # "6 5 6", whatever stood before
    assert not (pairs == triples).any()  # also where every token is padding


def test_padding_changes_no_ngram() -> None:
    ngrams = NgramEmbedding(3, 1000, 4)
    torch.testing.assert_close(ngrams(torch.tensor([[2, 5, 6]])), ngrams(torch.tensor([[2, 5, 6, 0, 0]]))[:, :3])


def test_tokens_are_hidden_in_training_alone_and_the_first_never() -> None:
    config = ModelConfig(
        width=4, heads=1, max_length=400, pooling="mean", max_ngram=2, token_dropout=0.5, embedding_dropout=0.0
    )
    embedding = build_classifier(config, 20, 2).embedding
    embedding.positions = nn.Identity()
    ids = torch.cat([torch.tensor([2]), torch.randint(4, 20, (399,))])[None]
    hidden = (embedding.tokens(torch.tensor(MASK_ID)) == embedding.train()(ids) - embedding.ngrams(ids)).all(-1)
    assert not hidden[0, 0]
    changed = embedding(ids).ne(embedding.eval()(ids)).any(-1)[0]
    assert 0.4 < changed.float().mean() < 0.9  # a hidden token also changes the n-gram of its neighbour
    torch.testing.assert_close(embedding(ids), embedding.tokens(ids) + embedding.ngrams(ids))


def test_rows_touched_in_every_step_move_as_with_plain_adam_and_others_not_at_all() -> None:
    torch.manual_seed(0)
    sparse, dense = token_table(5, 3), nn.Embedding(5, 3)
    dense.load_state_dict(sparse.state_dict())
    before = sparse.weight.clone()
    ours = RowAdamW(sparse.parameters(), lr=0.05, fused=True)  # which never decays a sparse table
    plain = torch.optim.AdamW(dense.parameters(), lr=0.05, weight_decay=0)
    for step in range(4):
        for table, optimizer in ((sparse, ours), (dense, plain)):
            (table(torch.tensor([0, 2, 2])) ** 2 * (step + 1)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    torch.testing.assert_close(sparse.weight, dense.weight)
    assert torch.equal(sparse.weight[[1, 3, 4]], before[[1, 3, 4]])
    assert not torch.equal(sparse.weight[2], before[2])


def test_a_row_left_alone_for_a_step_stays_where_plain_adam_moves_it_on() -> None:
    sparse, dense = token_table(2, 3), nn.Embedding(2, 3)
    dense.load_state_dict(sparse.state_dict())
    before = sparse.weight.detach().clone()
    ours = RowAdamW(sparse.parameters(), lr=0.05, fused=True)  # which never decays a sparse table
    plain = torch.optim.AdamW(dense.parameters(), lr=0.05, weight_decay=0)
    for row in (0, 1):
        for table, optimizer in ((sparse, ours), (dense, plain)):
            table(torch.tensor([row])).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    torch.testing.assert_close(sparse.weight[0], before[0] - 0.05, atol=1e-5, rtol=0)  # the first step, and no more
    assert (dense.weight[0] < sparse.weight[0] - 0.03).all()
    torch.testing.assert_close(sparse.weight[1], dense.weight[1], atol=1e-6, rtol=0)
    assert (sparse.weight[1] < before[1] - 0.03).all()


def test_clipping_scales_sparse_and_dense_gradients_together() -> None:
    table, line = token_table(4, 2), nn.Linear(2, 1, bias=False)
    line(table(torch.tensor([1, 1, 3]))).sum().mul(100).backward()
    parameters = [table.weight, line.weight]
    before = [p.grad.to_dense().clone() for p in parameters]
    norm = torch.cat([g.flatten() for g in before]).norm()
    clip_gradients(parameters, 1.0)
    for parameter, gradient in zip(parameters, before, strict=True):
        torch.testing.assert_close(parameter.grad.to_dense(), gradient / norm)
    clip_gradients(parameters, 5.0)  # already shorter: left as they are
    torch.testing.assert_close(line.weight.grad, before[1] / norm)
