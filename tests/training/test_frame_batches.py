"""Batches by total frames: budgets, padding, equal shares of processes, one count of steps for all epochs, weights."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler

from aural import LogMelFeatureExtractor
from aural.training.frame_batches import FrameBatchSampler, frame_lengths


def speech_lengths(items=1100, seed=0):
    """Frames of 10 ms of clips of 0.3 to 15 s, around 3.5 s on average, as in game dialogue."""
    seconds = np.exp(np.random.default_rng(seed).normal(np.log(3.0), 0.65, size=items)).clip(0.3, 15)
    return (seconds * 100).astype(int)


LENGTHS = speech_lengths()
WEIGHTS = np.random.default_rng(1).exponential(size=len(LENGTHS))


def batches(frames=6000, epoch=0, seed=0, lengths=LENGTHS, **options):
    sampler = FrameBatchSampler(lengths, frames, seed, **options)
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert len(found) == len(sampler)
    return found


def padded(batch, lengths=LENGTHS):
    return len(batch) * max(lengths[index] for index in batch)


def steps(found, processes):
    return [found[start : start + processes] for start in range(0, len(found), processes)]


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
@pytest.mark.parametrize("frames", [1500, 6000, 24_000])
def test_each_clip_comes_once_in_batches_within_the_budget(frames, processes):
    for epoch in (0, 5):
        found = batches(frames, epoch, processes=processes)
        assert sorted(index for batch in found for index in batch) == list(range(len(LENGTHS)))
        assert max(padded(batch) for batch in found) <= frames
        for step in steps(found, processes):
            sizes = [len(batch) for batch in step]
            assert len(sizes) == processes and min(sizes) > 0 and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("frames", [3000, 6000, 12_000])
def test_padding_is_under_5_percent(frames):
    found = batches(frames)
    real = LENGTHS.sum()
    assert 1 - real / sum(padded(batch) for batch in found) < 0.05
    shuffled = np.random.default_rng(1).permutation(len(LENGTHS)).reshape(-1, 10)
    assert 1 - real / sum(padded(batch) for batch in shuffled) > 0.4  # what random batches of ten would pad


def test_batches_are_nearly_full():
    assert np.mean([padded(batch) for batch in batches(12_000)]) > 0.85 * 12_000


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize(("frames", "processes"), [(3000, 2), (6000, 2), (6000, 4), (12_000, 8)])
def test_one_process_with_as_many_frames_sees_the_same_clips_per_step(frames, processes, weights):
    for epoch in (0, 3):
        together = batches(frames * processes, epoch, seed=3, weights=weights)
        shared = batches(frames, epoch, seed=3, weights=weights, processes=processes)
        united = [sorted(index for batch in step for index in batch) for step in steps(shared, processes)]
        assert [sorted(batch) for batch in together] == united


def test_accelerate_deals_out_one_batch_of_each_step():
    whole = batches(processes=2)
    sampler = FrameBatchSampler(LENGTHS, 6000, 0, processes=2)
    shards = [BatchSamplerShard(sampler, num_processes=2, process_index=rank) for rank in range(2)]
    assert [list(shard) for shard in shards] == [whole[0::2], whole[1::2]]
    assert [len(shard) for shard in shards] == [len(whole) // 2] * 2
    assert list(SkipBatchSampler(shards[1], skip_batches=3)) == whole[7::2]


def test_order_follows_from_seed_and_epoch_alone():
    first = batches(epoch=3)
    np.random.seed(1), torch.manual_seed(1)
    state = torch.get_rng_state()
    assert batches(epoch=3) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert batches(epoch=4) != first
    assert batches(epoch=3, seed=1) != first


def test_batches_hold_others_in_another_epoch_and_come_in_another_order():
    one, other = batches(epoch=0), batches(epoch=1)
    assert len({frozenset(batch) for batch in one} & {frozenset(batch) for batch in other}) < len(one) / 2
    longest = [int(np.argmax([LENGTHS[batch].mean() for batch in batches(epoch=epoch)])) for epoch in range(8)]
    assert len(set(longest)) > 3


def test_an_epoch_ends_with_no_crumb():
    lengths = [100] * 101  # ten fit; the last two steps share eleven
    assert sorted(len(batch) for batch in batches(1000, lengths=lengths)) == [5, 6, *[10] * 9]


@pytest.mark.parametrize("processes", [2, 4])
def test_fewer_clips_than_processes_come_more_than_once(processes):
    found = batches(1000, lengths=[100], processes=processes)
    assert found == [[0]] * processes


def test_max_clips_holds_whatever_the_lengths():
    found = batches(6000, max_clips=8, processes=2)
    assert max(len(batch) for batch in found) == 8
    assert max(padded(batch) for batch in found) <= 6000


def test_weights_say_how_often_a_clip_comes():
    expected = WEIGHTS / WEIGHTS.sum() * len(LENGTHS)
    drawn = np.zeros(len(LENGTHS))
    for epoch in range(40):
        found = batches(epoch=epoch, weights=WEIGHTS, processes=2)
        assert max(padded(batch) for batch in found) <= 6000
        counts = np.bincount(np.concatenate(found), minlength=len(LENGTHS))
        assert counts.sum() == len(LENGTHS)
        assert (np.abs(counts - expected) < 1).all()  # rounded down or up
        drawn += counts
    assert np.abs(drawn / 40 - expected).max() < 0.5 / np.sqrt(40) * 5  # five standard deviations, at most


def test_clips_of_weight_0_never_come():
    weights = np.where(np.arange(len(LENGTHS)) % 3 == 0, 0.0, 1.0)
    drawn = np.concatenate(batches(weights=weights))
    assert (drawn % 3 != 0).all() and len(drawn) == len(LENGTHS)


def test_a_clip_that_comes_often_does_not_fill_its_batches():
    weights = np.ones(len(LENGTHS))
    middle = int(np.argsort(LENGTHS)[len(LENGTHS) // 2])
    weights[middle] = 20.0
    most = max(batch.count(middle) for batch in batches(3000, weights=weights))
    assert most <= 8  # side by side, it would fill two batches of ten


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 100, 0), "lengths has shape"),
        (([1.0, -2.0], 100, 0), r"lengths\[1\] is -2"),
        (([1.0, 101.0, 5.0], 100, 0), "item 1 has 101 frames; frames_per_batch is 100"),
        (([1.0], 0, 0), "frames_per_batch is 0"),
        (([1.0], 100, -1), "seed is -1"),
        (([1.0], 100, 0, 0), "processes is 0"),
        (([1.0], 100, 0, 1, [1.0, 2.0]), "weights has 2 entries; expected 1"),
        (([1.0], 100, 0, 1, [0.0]), "weights are all 0"),
        (([1.0], 100, 0, 1, None, 0), "max_clips is 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        FrameBatchSampler(*arguments)


def test_frames_follow_from_durations_and_the_extractor():
    extractor = LogMelFeatureExtractor(num_mel_bins=16)
    seconds = [0.3, 1.0, 2.01]
    clips = [np.zeros(round(16_000 * one), dtype=np.float32) for one in seconds]
    expected = [len(extractor(clip, sampling_rate=16_000)["input_features"][0]) for clip in clips]
    durations = SimpleNamespace(durations=seconds)
    assert list(frame_lengths(durations, extractor)) == expected
    assert list(frame_lengths(durations, SimpleNamespace(feature_extractor=extractor))) == expected
    assert list(frame_lengths(SimpleNamespace(durations=seconds, feature_extractor=extractor), None)) == expected
    assert frame_lengths(SimpleNamespace(durations=seconds, frames=[1, 2, 3]), extractor) == [1, 2, 3]
    with pytest.raises(ValueError, match="SimpleNamespace has neither"):
        frame_lengths(SimpleNamespace(), extractor)
    with pytest.raises(ValueError, match="needs a feature extractor"):
        frame_lengths(durations, None)
