"""Corrupt clips are counted, named and skipped, repeatably, and too many of them stop a run."""

import json
import pickle

import numpy as np
import pytest
import soundfile
import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from aural.processing.features import LogMelFeatureExtractor
from aural.processing.processor import AuralProcessor
from aural.processing.tokenizers import train_tokenizer
from aural.training.collator import SpeechCollator
from aural.training.data import SpeechDataset
from aural.training.mixup import Mixup
from aural.training.sampler import LengthGroupedBatchSampler
from aural.training.skipping import CorruptClipsError, SkippedClips, SkippingDataset, describe, without_corrupt
from aural.training.sound_data import SoundDataset

RATE = 16_000  # Hz
CLIPS = 12
BROKEN = 5  # index of the clip that cannot be read


@pytest.fixture(scope="module")
def processor():
    return AuralProcessor(LogMelFeatureExtractor(num_mel_bins=8), train_tokenizer(["abcdefghijkl"]))


def clip_seconds(index):
    return 0.1 + 0.02 * ((index * 5) % CLIPS)  # in no order


def make_rows(folder, broken=(BROKEN,), clips=CLIPS, durations=True):
    paths = []
    for index in range(clips):
        path = folder / f"{index}.wav"
        noise = np.random.default_rng(index).normal(scale=0.1, size=round(clip_seconds(index) * RATE))
        soundfile.write(path, noise, RATE)
        if index in broken:
            path.write_bytes(path.read_bytes()[:2000])  # half of it is gone
        paths.append(str(path))
    columns = {"audio": paths, "text": ["abcdefghijkl"[index % 12] for index in range(clips)]}
    if durations:
        columns["duration"] = [clip_seconds(index) for index in range(clips)]
    return Dataset.from_dict({**columns, "label": [["x", "y"][index % 2] for index in range(clips)]})


def add_noise(array, generator):
    return array + generator.normal(size=array.shape).astype(np.float32)


def nearest(index, broken=(BROKEN,)):
    """The longest clip that is shorter, else the shortest of the others."""
    ordered = sorted((index for index in range(CLIPS)), key=clip_seconds)
    place = ordered.index(index)
    return next(one for one in [*ordered[:place][::-1], *ordered[place + 1 :]] if one not in broken)


def test_the_nearest_clip_takes_the_place_of_a_corrupt_one(tmp_path, processor):
    clips = SpeechDataset(make_rows(tmp_path), processor)
    skipped = SkippedClips()
    train = SkippingDataset(clips, skipped)
    other = nearest(BROKEN)
    np.testing.assert_array_equal(train[BROKEN]["input_features"], clips[other]["input_features"])
    assert train[BROKEN]["labels"] == clips[other]["labels"]
    for index in set(range(CLIPS)) - {BROKEN}:
        np.testing.assert_array_equal(train[index]["input_features"], clips[index]["input_features"])
    assert (skipped.seen, skipped.corrupt) == (CLIPS, 1)  # each once, however often it was asked for
    assert list(skipped.clips) == [f"{BROKEN}.wav"]
    assert skipped.clips[f"{BROKEN}.wav"].startswith("truncated, 1956 bytes of audio data of ")


def test_what_is_heard_follows_from_seed_epoch_and_index(tmp_path, processor):
    def features(epoch, seed=0, before=()):
        clips = SpeechDataset(make_rows(tmp_path), processor, augment_features=add_noise, seed=seed)
        train = SkippingDataset(clips, SkippedClips())
        for index in before:  # a run that went on from another place
            train[index]
        train.set_epoch(epoch)
        return train[BROKEN]["input_features"], clips[nearest(BROKEN)]["input_features"]

    first, own = features(0)
    np.testing.assert_array_equal(features(0, before=[BROKEN, 1, 2, BROKEN])[0], first)
    assert np.abs(first - own).max() > 0.1  # the clip has its own draw in its own place
    for other in (features(1)[0], features(0, seed=1)[0]):
        assert np.abs(first - other).max() > 0.1


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_keep_their_size_and_workers_count_for_the_run(tmp_path, processor, workers):
    clips = SpeechDataset(make_rows(tmp_path, broken=(0, 5, 7)), processor)
    skipped = SkippedClips(max_corrupt=0.5)
    train = SkippingDataset(clips, skipped)
    sampler = LengthGroupedBatchSampler(train.durations, 3, seed=0)
    loader = DataLoader(train, batch_sampler=sampler, collate_fn=SpeechCollator(), num_workers=workers)
    batches = list(loader)
    assert [len(batch["labels"]) for batch in batches] == [3] * 4
    assert all(torch.isfinite(batch["input_features"]).all() for batch in batches)
    assert skipped.corrupt == 3 and skipped.seen == CLIPS
    assert sorted(skipped.clips) == ["0.wav", "5.wav", "7.wav"]


def test_too_many_stop_a_run_and_are_named(tmp_path, processor):
    rows = make_rows(tmp_path, broken=range(1, 8))
    train = SkippingDataset(SpeechDataset(rows, processor), SkippedClips(max_corrupt=0.1))
    with pytest.raises(
        CorruptClipsError, match=r"6 of \d+ clips could not be used: .*\.wav \(truncated.*max_corrupt=0\.1 "
    ):
        [train[index] for index in range(CLIPS)]
    strict = SkippingDataset(SpeechDataset(rows, processor), SkippedClips(max_corrupt=0))
    with pytest.raises(CorruptClipsError, match=r"1 of 1 clips could not be used: 1\.wav"):
        strict[1]


def test_too_many_in_a_worker_stop_the_run(tmp_path, processor):
    train = SkippingDataset(SpeechDataset(make_rows(tmp_path, broken=range(1, 9)), processor), SkippedClips())
    with pytest.raises(CorruptClipsError, match="clips could not be used"):
        list(DataLoader(train, batch_size=2, collate_fn=SpeechCollator(), num_workers=1))


def test_a_set_without_a_clip_that_can_be_read_is_an_error(tmp_path, processor):
    rows = make_rows(tmp_path, broken=(0, 1), clips=2)
    with pytest.raises(CorruptClipsError, match="No clip can be used"):
        SkippingDataset(SpeechDataset(rows, processor), SkippedClips())[0]
    with pytest.raises(CorruptClipsError, match="No clip can be used"):
        without_corrupt(SpeechDataset(rows, processor), SkippedClips())


def test_texts_that_cannot_be_encoded_and_audio_that_is_not_there_are_skipped(tmp_path, processor):
    rows = make_rows(tmp_path, broken=())
    audio, texts = rows["audio"][:], rows["text"][:]
    audio[2], texts[3] = None, None
    skipped = SkippedClips()
    train = SkippingDataset(SpeechDataset(Dataset.from_dict({"audio": audio, "text": texts}), processor), skipped)
    assert [len(train[index]["labels"]) for index in range(CLIPS)] == [2] * CLIPS
    assert skipped.clips["3.wav"] == "text is None, not a string"
    assert skipped.clips["clip 2"].startswith("source: NoneType")


def test_a_fault_of_the_code_is_no_corrupt_clip(tmp_path, processor):
    def fail(array, generator):
        raise ValueError("a mistake")

    skipped = SkippedClips()
    train = SkippingDataset(SpeechDataset(make_rows(tmp_path), processor, augment_features=fail), skipped)
    with pytest.raises(ValueError, match="a mistake"):
        train[0]
    assert skipped.corrupt == 0


def test_a_clip_mixed_with_a_corrupt_one_is_mixed_with_another(tmp_path):
    rows = make_rows(tmp_path)
    mixup = Mixup(share=1.0)
    clips = SoundDataset(rows, LogMelFeatureExtractor(num_mel_bins=8), ["x", "y"], mixup=mixup)
    skipped = SkippedClips()
    train = SkippingDataset(clips, skipped)
    failed = 0
    for epoch in range(40):
        train.set_epoch(epoch)
        try:
            clips[0]
        except ValueError:
            failed += 1
        assert np.isfinite(train[0]["input_features"]).all()
    assert failed > 0 and skipped.corrupt == 0  # clip 0 can be read


def test_lengths_are_told_although_a_header_is_damaged(tmp_path, processor):
    rows = make_rows(tmp_path, broken=(), durations=False)
    (tmp_path / "3.wav").write_bytes(b"no audio")
    train = SkippingDataset(SpeechDataset(rows, processor), SkippedClips())
    expected = [0 if index == 3 else clip_seconds(index) for index in range(CLIPS)]
    assert train.durations == pytest.approx(expected, abs=1e-4)
    assert len(train[3]["labels"]) == 2


def test_weights_are_offered_to_the_sampler(tmp_path, processor):
    rows = make_rows(tmp_path)
    weights = np.arange(CLIPS, dtype=float)
    train = SkippingDataset(SpeechDataset(rows, processor), SkippedClips(), weights)
    np.testing.assert_array_equal(train.sample_weights, weights)
    assert SkippingDataset(SpeechDataset(rows, processor), SkippedClips()).sample_weights is None
    sounds = SoundDataset(rows, LogMelFeatureExtractor(), ["x", "y"], balanced=True)
    np.testing.assert_array_equal(SkippingDataset(sounds, SkippedClips()).sample_weights, sounds.sample_weights)
    with pytest.raises(ValueError, match="choose one of them"):
        SkippingDataset(sounds, SkippedClips(), weights)
    with pytest.raises(ValueError, match="weights has 3 entries; expected 12"):
        SkippingDataset(SpeechDataset(rows, processor), SkippedClips(), weights[:3])


def test_in_evaluation_nothing_takes_its_place(tmp_path, processor):
    rows = make_rows(tmp_path)
    clips = SpeechDataset(rows, processor)
    skipped = SkippedClips()
    left = without_corrupt(clips, skipped, workers=2)
    kept = [index for index in range(CLIPS) if index != BROKEN]
    assert len(left) == CLIPS - 1 and len(clips) == CLIPS
    for place, index in enumerate(kept):
        np.testing.assert_array_equal(left[place]["input_features"], clips[index]["input_features"])
    assert left.durations == pytest.approx([clip_seconds(index) for index in kept])
    assert (skipped.seen, skipped.corrupt) == (CLIPS, 1) and list(skipped.clips) == [f"{BROKEN}.wav"]
    sounds = without_corrupt(SoundDataset(rows, LogMelFeatureExtractor(), ["x", "y"]), SkippedClips())
    assert [sounds[place]["labels"] for place in range(len(sounds))] == [index % 2 for index in kept]
    whole = SpeechDataset(rows.select(kept), processor)
    assert without_corrupt(whole, SkippedClips()) is whole


def test_the_summary_is_told_and_saved(tmp_path):
    skipped = SkippedClips()
    assert str(skipped) == "All 0 clips could be used"
    for _ in range(1198):
        skipped.saw()
    skipped.skip("a.wav", "truncated")
    skipped.skip("日本語" * 100, "長" * 1000)
    assert str(skipped).startswith("2 of 1,200 clips could not be used: a.wav (truncated); ")
    summary = json.loads(skipped.save(tmp_path / "skipped.json").read_text(encoding="utf-8"))
    assert summary == skipped.summary() == skipped.gathered()
    assert summary["clips"]["a.wav"] == "truncated"
    assert describe({"seen": 3, "corrupt": 2, "clips": {"a": "b"}}).endswith("a (b); and 1 more")
    assert pickle.loads(pickle.dumps(skipped)).summary() == summary


def test_more_clips_than_are_named_are_counted():
    skipped = SkippedClips(max_corrupt=1)
    for index in range(80):
        skipped.skip(f"{index}.wav", "empty")
    assert skipped.corrupt == 80 and len(skipped.clips) == 50
    assert str(skipped).endswith("; and 70 more")


@pytest.mark.parametrize("wrong", [{"max_corrupt": 1.5}, {"max_corrupt": -0.1}, {"handful": -1}])
def test_limits_are_checked(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is {next(iter(wrong.values()))}"):
        SkippedClips(**wrong)
