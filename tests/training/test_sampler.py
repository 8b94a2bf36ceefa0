"""The batch samplers: every index once or by weight, like lengths together, an order by (seed, epoch)."""

import random

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard

from aural.training.sampler import ClassBalancedBatchSampler, LengthGroupedBatchSampler, balancing_weights

LENGTHS = np.random.default_rng(0).exponential(size=103)  # seconds; skewed, as speech is


def order(epoch=0, seed=0, **kwargs):
    sampler = LengthGroupedBatchSampler(LENGTHS, 8, seed, **kwargs)
    sampler.set_epoch(epoch)
    return list(sampler)


def padding_share(batches, lengths):
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    return 1 - sum(lengths[i] for batch in batches for i in batch) / padded


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_each_index_occurs_exactly_once_per_epoch(epoch):
    batches = order(epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(103))
    assert [len(batch) for batch in batches] == [8] * 12 + [7]  # the short batch comes last


def test_order_follows_from_seed_and_epoch_alone():
    first = order(3)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    state = torch.get_rng_state()
    assert order(3) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert order(4) != first
    assert order(3, seed=1) != first


def test_iterating_twice_without_set_epoch_repeats():
    sampler = LengthGroupedBatchSampler(LENGTHS, 8, 0)
    assert list(sampler) == list(sampler)


def test_batches_differ_between_epochs_not_only_in_order():
    assert {frozenset(batch) for batch in order(0)} != {frozenset(batch) for batch in order(1)}


def test_padding_share_is_a_small_part_of_that_of_random_batches():
    shuffled = np.random.default_rng(1).permutation(103).tolist()
    at_random = padding_share([shuffled[start : start + 8] for start in range(0, 103, 8)], LENGTHS)
    assert at_random > 0.5
    assert padding_share(order(), LENGTHS) < at_random / 3


def test_long_batches_are_not_always_last():
    places = [int(np.argmax([LENGTHS[batch].mean() for batch in order(epoch)])) for epoch in range(8)]
    assert len(set(places)) > 3


def test_drop_last_leaves_other_items_out_each_epoch():
    left_out = []
    for epoch in range(6):
        batches = order(epoch, drop_last=True)
        assert [len(batch) for batch in batches] == [8] * 12
        left_out.append(set(range(103)) - {index for batch in batches for index in batch})
    assert all(len(indices) == 7 for indices in left_out)
    assert len(set.union(*left_out)) > 20


@pytest.mark.parametrize(("drop_last", "batches"), [(False, 13), (True, 12)])
def test_length_is_the_number_of_batches(drop_last, batches):
    sampler = LengthGroupedBatchSampler(LENGTHS, 8, 0, drop_last=drop_last)
    assert len(sampler) == len(list(sampler)) == batches


def test_equal_lengths_are_shuffled():
    assert list(LengthGroupedBatchSampler([0.0] * 20, 4, 0)) != list(LengthGroupedBatchSampler([0.0] * 20, 4, 1))


@pytest.mark.parametrize("items", [104, 103])
def test_processes_share_an_epoch_without_overlap(items):
    lengths = np.resize(LENGTHS, items)
    shares = [
        list(BatchSamplerShard(LengthGroupedBatchSampler(lengths, 8, 0), num_processes=2, process_index=rank))
        for rank in range(2)
    ]
    assert len(shares[0]) == len(shares[1]) == 7  # 13 batches; the last ones are filled up from the first
    seen = [index for share in shares for batch in share for index in batch]
    assert set(seen) == set(range(items))
    assert len(seen) == 7 * 8 * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 2, 0), "lengths has shape"),
        (([1.0, float("nan")], 2, 0), r"lengths\[1\] is nan"),
        (([1.0, -2.0], 2, 0), r"lengths\[1\] is -2"),
        (([1.0], 0, 0), "batch_size is 0"),
        (([1.0], 1, -1), "seed is -1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LengthGroupedBatchSampler(*arguments)


@pytest.mark.parametrize("lengths", [np.arange(1.0, 105.0), np.zeros(104)])
def test_whole_batches_too_hold_others_in_another_epoch(lengths):
    sampler = LengthGroupedBatchSampler(lengths, 8, seed=0)
    first = {frozenset(batch) for batch in sampler}
    sampler.set_epoch(1)
    assert {frozenset(batch) for batch in sampler} != first


RARE = np.where(np.arange(103) < 3, 100 / 3, 1.0)  # three items of one class, a hundred of another


def draws(epoch=0, seed=0, weights=RARE, batch_size=8, **kwargs):
    sampler = ClassBalancedBatchSampler(weights, batch_size, seed, **kwargs)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_classes_are_drawn_equally_often():
    drawn = np.concatenate([np.concatenate(draws(epoch)) for epoch in range(40)])
    assert len(drawn) == 40 * 103
    assert np.mean(drawn < 3) == pytest.approx(0.5, abs=0.04)  # five standard deviations
    shares = np.bincount(drawn, minlength=103) / len(drawn)
    assert shares[:3] == pytest.approx(np.full(3, 1 / 6), abs=0.03)


def test_items_of_weight_0_are_never_drawn():
    weights = np.ones(103)
    weights[50:] = 0
    assert max(np.concatenate(draws(weights=weights))) < 50


def test_draws_follow_from_seed_and_epoch_alone():
    first = draws(3)
    np.random.seed(1), torch.manual_seed(1)
    assert draws(3) == first == draws(3, weights=RARE * 7)
    assert draws(4) != first
    assert draws(3, seed=1) != first


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [8] * 12 + [7]), (True, [8] * 12)])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_an_epoch_of_draws_is_as_long_as_the_data(drop_last, sizes, lengths):
    batches = draws(drop_last=drop_last, lengths=lengths)
    assert [len(batch) for batch in batches] == sizes
    assert len(ClassBalancedBatchSampler(RARE, 8, 0, drop_last)) == len(sizes)
    assert all(type(index) is int for batch in batches for index in batch)


def test_draws_can_be_grouped_by_length():
    grouped = draws(lengths=LENGTHS)
    assert sorted(np.concatenate(grouped)) == sorted(np.concatenate(draws()))
    assert padding_share(grouped, LENGTHS) < padding_share(draws(), LENGTHS) / 3


@pytest.mark.parametrize("items", [104, 103])
def test_processes_share_the_draws(items):
    weights = np.resize(RARE, items)
    shares = [
        list(BatchSamplerShard(ClassBalancedBatchSampler(weights, 8, 0), num_processes=2, process_index=rank))
        for rank in range(2)
    ]
    whole = draws(weights=weights)
    assert [len(share) for share in shares] == [7, 7]
    assert [batch for pair in zip(*shares, strict=True) for batch in pair][:12] == whole[:12]


def test_balancing_weights_are_sums_of_inverse_counts():
    weights = balancing_weights([[0], [0, 1], [0], [], [2, 1], []])
    assert weights == pytest.approx([1 / 3, 1 / 3 + 1 / 2, 1 / 3, 1 / 2, 1 + 1 / 2, 1 / 2])
    single = np.array([0] * 90 + [1] * 9 + [2])
    weights = balancing_weights(single[:, None].tolist())
    assert [weights[single == one].sum() for one in range(3)] == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 2, 0), "weights has shape"),
        (([1.0, float("inf")], 2, 0), r"weights\[1\] is inf"),
        (([1.0, -2.0], 2, 0), r"weights\[1\] is -2"),
        (([0.0, 0.0], 2, 0), "weights are all 0"),
        (([1.0], 0, 0), "batch_size is 0"),
        (([1.0], 1, -1), "seed is -1"),
        (([1.0, 1.0], 1, 0, False, [1.0]), "lengths has 1 entries; expected 2"),
    ],
)
def test_bad_arguments_of_the_balanced_sampler_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClassBalancedBatchSampler(*arguments)
