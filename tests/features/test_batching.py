import numpy as np
import pytest

from selfattn_lm.features.batching import LengthBuckets, pad, rounded_up

LENGTHS = np.random.default_rng(0).integers(1, 300, size=517)


def buckets(
    seed: int = 0,
    epoch: int = 0,
    batch_size: int = 16,
    batch_tokens: int = 2048,
    rank: int = 0,
    world: int = 1,
) -> LengthBuckets:
    sampler = LengthBuckets(
        LENGTHS, batch_size=batch_size, batch_tokens=batch_tokens, seed=seed, rank=rank, world=world
    )
    sampler.set_epoch(epoch)
    return sampler


@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_an_epoch_has_every_row_once_in_as_many_batches(epoch: int) -> None:
    sampler = buckets(epoch=epoch)
    batches = list(sampler)
    assert sorted(row for batch in batches for row in batch) == list(range(len(LENGTHS)))
    assert len(batches) == len(sampler) == len(buckets())


@pytest.mark.parametrize(
    ("batch_size", "batch_tokens"), [(1, 2048), (16, 2048), (64, 1000), (1000, 512), (7, 10**9)]
)
def test_batches_keep_to_both_limits(batch_size: int, batch_tokens: int) -> None:
    batches = list(buckets(batch_size=batch_size, batch_tokens=batch_tokens))
    assert max(len(batch) for batch in batches) <= batch_size
    assert max(len(batch) * LENGTHS[batch].max() for batch in batches) <= batch_tokens


def test_a_text_over_the_budget_is_a_batch_of_its_own() -> None:
    sampler = LengthBuckets(np.array([50, 3, 70, 3]), batch_size=8, batch_tokens=20, seed=0)
    assert sorted(sorted(batch) for batch in sampler) == [[0], [1, 3], [2]]


def test_batches_hold_texts_of_like_length() -> None:
    waste = sum(len(batch) * LENGTHS[batch].max() - LENGTHS[batch].sum() for batch in buckets())
    assert waste < 0.15 * LENGTHS.sum()


def test_the_order_is_that_of_seed_and_epoch() -> None:
    first = list(buckets(seed=3, epoch=2))
    assert first == list(buckets(seed=3, epoch=2))
    assert first != list(buckets(seed=4, epoch=2))
    assert first != list(buckets(seed=3, epoch=1))
    groups = {frozenset(batch) for batch in first}
    # Other neighbours too.
    assert groups != {frozenset(batch) for batch in buckets(seed=3, epoch=1)}


@pytest.mark.parametrize("done", [0, 1, 9, -1, 10**6])
def test_a_sampler_set_to_its_place_gives_exactly_the_rest(done: int) -> None:
    whole = list(buckets(epoch=3))
    sampler = buckets(epoch=3)
    sampler.done = min(done % len(whole) if done < 0 else done, len(whole))
    assert list(sampler) == whole[done:]


def test_a_sampler_counts_what_it_handed_out_and_begins_anew_with_an_epoch() -> None:
    sampler = buckets(epoch=1)
    stream = iter(sampler)
    started = [next(stream), next(stream)]
    assert sampler.done == 2
    sampler.set_epoch(1)
    assert started + list(sampler) == list(buckets(epoch=1))
    sampler.set_epoch(2)
    assert list(sampler) == list(buckets(epoch=2))


@pytest.mark.parametrize("batch_size", [16, 15, 300])
def test_two_ranks_share_the_batches_of_an_epoch(batch_size: int) -> None:
    ranks = [
        buckets(rank=rank, world=2, batch_size=batch_size, batch_tokens=10**9) for rank in (0, 1)
    ]
    shares = [list(sampler) for sampler in ranks]
    assert len(shares[0]) == len(shares[1]) == len(ranks[0]) == len(ranks[1])
    everything = [tuple(batch) for share in shares for batch in share]
    assert {row for batch in everything for row in batch} == set(range(len(LENGTHS)))
    assert len(everything) - len(set(everything)) <= 1  # an odd one is done twice


def test_a_length_is_rounded_up_by_at_most_an_eighth() -> None:
    lengths = np.arange(1, 5000)
    rounded = rounded_up(lengths)
    assert (rounded >= lengths).all()
    assert (np.diff(rounded) >= 0).all()
    assert len(set(rounded.tolist())) < 100
    over = lengths[rounded - lengths > lengths / 8 + 1]
    assert over.tolist() == []


def test_pad_by_hand() -> None:
    batch = pad([np.array([2, 7, 9]), np.array([2]), np.array([2, 5])])
    assert batch.tokens.tolist() == [[2, 7, 9], [2, 0, 0], [2, 5, 0]]
    assert batch.attention_mask.tolist() == [
        [True, True, True],
        [True, False, False],
        [True, True, False],
    ]
    assert str(batch.tokens.dtype) == "torch.int64"
    assert str(batch.attention_mask.dtype) == "torch.bool"
