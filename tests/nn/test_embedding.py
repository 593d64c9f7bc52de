import torch
from torch import nn

from selfattn_lm.inputs import Inputs
from selfattn_lm.nn import CharNgramEmbedding, NgramEmbedding, TokenEmbedding


def test_a_plain_table_gives_the_same_vectors() -> None:
    torch.manual_seed(0)
    embedding = CharNgramEmbedding(torch.tensor([[0, 0], [1, 2], [2, 0]]), 8)
    ids = torch.tensor([[0, 1, 2], [2, 2, 1]])
    embedded = embedding(ids)
    torch.testing.assert_close(embedding.to_embedding()(ids), embedded)
    characters = embedding.characters.weight[1] + embedding.characters.weight[2]
    expected = embedding.tokens.weight[1] + characters / 2**0.5
    torch.testing.assert_close(embedded[0, 1], expected)
    torch.testing.assert_close(embedded[0, 0], embedding.tokens.weight[0])  # it has no n-grams


def test_tokens_ngrams_and_positions_add_up() -> None:
    torch.manual_seed(0)
    tokens, ngrams = nn.Embedding(9, 4), NgramEmbedding(50, 4)
    embedding = TokenEmbedding(tokens, ngrams, nn.Identity(), dropout=0.5).eval()
    ids = torch.tensor([[2, 7, 5]])
    buckets = torch.tensor([[[1, 4], [2, 5], [3, 6]]])  # of 2-grams and 3-grams
    inputs = Inputs(ids, torch.ones(1, 3, dtype=torch.bool), ngrams=buckets)
    expected = tokens(ids) + ngrams.table(buckets[..., 0]) + ngrams.table(buckets[..., 1])
    torch.testing.assert_close(embedding(inputs), expected)
    assert not torch.allclose(embedding.train()(inputs), expected)
