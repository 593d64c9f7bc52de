import json
import shutil
import subprocess

import numpy as np
import pytest
import torch

from selfattn_lm.features.hashing import mix32, ngram_hash
from selfattn_lm.features.ngrams import add_ngrams, hashes_within
from selfattn_lm.inputs import Inputs


def test_an_ngram_has_the_same_bucket_everywhere_and_another_in_another_order() -> None:
    ids = torch.tensor([[9, 5, 6, 7, 8, 5, 6, 7, 6, 5]])
    pairs, triples = hashes_within(ids, 3).remainder(50_000).unbind(-1)
    assert pairs[0, 2] == pairs[0, 6]
    assert pairs[0, 2] != pairs[0, 9]
    assert triples[0, 3] == triples[0, 7]
    # Of 20: "5 6" and "6 7" and "5 6 7" stand there twice.
    assert len({*pairs[0].tolist(), *triples[0].tolist()}) == 17


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
    found = subprocess.run(
        command, input=json.dumps(ngrams), check=True, capture_output=True, text=True
    ).stdout
    assert json.loads(found) == [
        *hash_in_torch(random_ngrams(2)).tolist(),
        *hash_in_torch(random_ngrams(3)).tolist(),
    ]


def test_the_ngram_hash_keeps_its_values_or_saved_tables_are_worthless() -> None:
    numbers = torch.tensor([0, 1, 2, 2**31, 2**32 - 1])
    assert mix32(numbers).tolist() == [0, 824515495, 1722258072, 1029333365, 539527247]
    pairs, triples = (
        hashes_within(torch.tensor([[2, 5, 6, 29_999]]), 3).remainder(131_072).unbind(-1)
    )
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
    ids = torch.tensor([[5, 6, 5, 6], [6, 6, 5, 6], [0, 0, 0, 0]])
    pairs, triples = hashes_within(ids, 3).remainder(100_000).unbind(-1)
    assert pairs[0, 0] != pairs[0, 2]  # "5" begins a text, or follows "6"
    assert triples[0, 1] != triples[0, 3]  # "5 6" begins a text, or follows "6"
    assert triples[0, 3] == triples[1, 3]  # "6 5 6", whatever stood before
    assert not (pairs == triples).any()  # also where every token is padding


def test_padding_changes_no_ngram() -> None:
    alone = hashes_within(torch.tensor([[2, 5, 6]]), 3).remainder(1000)
    padded = hashes_within(torch.tensor([[2, 5, 6, 0, 0]]), 3).remainder(1000)
    assert torch.equal(alone, padded[:, :3])


def test_a_model_without_ngrams_gets_none() -> None:
    inputs = Inputs(torch.tensor([[2, 5]]), torch.ones(1, 2, dtype=torch.bool))
    assert add_ngrams(inputs, 1, 1000).ngrams is None
    added = add_ngrams(inputs, 3, 1000)
    assert added.ngrams is not None
    assert torch.equal(added.ngrams, hashes_within(inputs.tokens, 3).remainder(1000))
    assert added.ngrams.shape == (1, 2, 2)
