"""Features from a cache are those that are computed, never stale, whole, and refused where waveforms change."""

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from datasets import Dataset
from torch.utils.data import DataLoader

from aural.processing.features import LogMelFeatureExtractor
from aural.processing.processor import AuralProcessor
from aural.processing.tokenizers import train_tokenizer
from aural.training.collator import SpeechCollator
from aural.training.data import SpeechDataset
from aural.training.feature_cache import FeatureCache, bytes_per_hour
from aural.training.mixup import Mixup
from aural.training.sound_data import SoundDataset

RATE = 16_000  # Hz


def write_clip(path, seed, samples=4800):
    soundfile.write(path, np.random.default_rng(seed).normal(scale=0.1, size=samples), RATE)
    return str(path)


@pytest.fixture
def rows(tmp_path):
    paths = [write_clip(tmp_path / f"{index}.wav", index) for index in range(4)]
    return Dataset.from_dict({"audio": paths, "text": list("abcd"), "label": ["x", "y", "x", "y"]})


@pytest.fixture
def extractor():
    return LogMelFeatureExtractor(num_mel_bins=8)


@pytest.fixture
def processor(extractor):
    return AuralProcessor(extractor, train_tokenizer(["abcd"]))


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache", reserve=0)


def add_noise(array, generator):
    return array + generator.normal(size=array.shape).astype(np.float32)


def same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one["input_features"], other["input_features"])
        np.testing.assert_array_equal(one["labels"], other["labels"])
        assert one.get("mixup") == other.get("mixup")


def test_speech_is_the_same_with_a_cache(rows, processor, cache):
    for turn in range(2):
        for options in ({}, {"augment_features": add_noise}):
            cached = SpeechDataset(rows, processor, cache=cache, **options)
            same(list(cached), list(SpeechDataset(rows, processor, **options)))
        assert cache.counts["computed"] == 4 and cache.counts["found"] == 8 * turn + 4
    assert cached[0]["input_features"].dtype == np.float32


def test_sounds_are_the_same_with_a_cache(rows, extractor, cache):
    mixed = {"mixup": Mixup("spectrogram"), "augment_features": add_noise}
    for _ in range(2):
        for options in ({}, {"max_seconds": 0.2}, mixed):
            cached = SoundDataset(rows, extractor, ["x", "y"], cache=cache, **options)
            same(list(cached), list(SoundDataset(rows, extractor, ["x", "y"], **options)))
    assert cache.counts["computed"] == 8  # the whole clips and the cut ones


def test_a_cache_lasts_and_is_read_again(rows, processor, cache):
    list(SpeechDataset(rows, processor, cache=cache))
    again = FeatureCache(cache.folder)
    list(SpeechDataset(rows, processor, cache=again))
    assert dict(again.counts) == {"found": 4}


def test_nothing_stale_is_served(tmp_path, extractor, cache):
    path = tmp_path / "a.wav"
    write_clip(path, 0)
    os.utime(path, ns=(1, 1))
    first = cache.features(str(path), extractor)
    write_clip(path, 1)  # as long, and another sound
    changed = cache.features(str(path), extractor)
    assert np.abs(changed - first).max() > 0.1
    other = LogMelFeatureExtractor(num_mel_bins=8, preemphasis=0.5)
    assert np.abs(cache.features(str(path), other) - changed).max() > 0.1
    assert dict(cache.counts)["computed"] == 3 and "found" not in cache.counts


def test_audio_is_known_by_what_it_holds(tmp_path, extractor, cache):
    content = [Path(write_clip(tmp_path / f"{seed}.wav", seed)).read_bytes() for seed in range(2)]
    waves = [np.random.default_rng(seed).normal(size=4800).astype(np.float32) for seed in range(2)]
    for turn in range(2):
        for one in content:
            cache.features({"bytes": one, "path": "same name.wav"}, extractor)
        for wave in waves:
            cache.features({"array": wave, "sampling_rate": RATE}, extractor)
            cache.features({"array": wave, "sampling_rate": 8000}, extractor)
        assert cache.counts["computed"] == 6 and cache.counts.get("found", 0) == 6 * turn


def test_files_are_whole_or_not_there(rows, processor, cache, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.warns(UserWarning, match="features are not kept .no space left.; they are computed each time"):
        items = list(SpeechDataset(rows, processor, cache=cache))
    same(items, list(SpeechDataset(rows, processor)))
    assert [path for path in cache.folder.rglob("*") if path.is_file()] == []


def test_a_damaged_file_is_written_anew(rows, processor, cache):
    expected = list(SpeechDataset(rows, processor, cache=cache))
    for path in cache.folder.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:100])
    same(list(SpeechDataset(rows, processor, cache=cache)), expected)
    assert cache.counts["computed"] == 8
    same(list(SpeechDataset(rows, processor, cache=cache)), expected)
    assert cache.counts["computed"] == 8


def test_the_disk_keeps_its_reserve(tmp_path, rows, processor):
    cache = FeatureCache(tmp_path / "cache", reserve=1 << 62)
    with pytest.warns(UserWarning, match="GB are free"):
        list(SpeechDataset(rows, processor, cache=cache))
    assert list(cache.folder.iterdir()) == [] and "written" not in cache.counts


def fetch(folder, extractor, audio):
    return FeatureCache(folder, reserve=0).features(audio, extractor)


def test_processes_and_workers_share_a_folder(rows, processor, extractor, cache):
    audio = rows[0]["audio"]
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(partial(fetch, cache.folder, extractor), [audio] * 6))
    assert all(np.array_equal(one, found[0]) for one in found)
    assert len(list(cache.folder.rglob("*"))) == 2  # one folder, one file
    dataset = SpeechDataset(rows, processor, cache=cache)
    list(DataLoader(dataset, batch_size=1, collate_fn=SpeechCollator(), num_workers=2))
    assert (cache.counts["found"], cache.counts["computed"]) == (1, 3)


def test_what_changes_waveforms_is_refused(rows, processor, extractor, cache):
    with pytest.raises(ValueError, match="augment_audio changes waveforms and features come from a cache"):
        SpeechDataset(rows, processor, augment_audio=add_noise, cache=cache)
    for name, options in (
        ("augment_audio", {"augment_audio": add_noise}),
        ("random_crop", {"random_crop": True, "max_seconds": 1.0}),
        ("mixup", {"mixup": Mixup()}),
    ):
        with pytest.raises(ValueError, match=f"{name} changes waveforms"):
            SoundDataset(rows, extractor, ["x", "y"], cache=cache, **options)
    with pytest.raises(ValueError, match=r"dither is 1\.0"):
        cache.features(rows[0]["audio"], LogMelFeatureExtractor(dither=1.0))


def test_what_is_kept_takes_the_bytes_that_are_told(rows, processor, cache):
    assert bytes_per_hour(LogMelFeatureExtractor()) == 3600 * 100 * 80 * 4
    list(SpeechDataset(rows, processor, cache=cache))
    assert cache.counts["bytes"] == sum(dataset["input_features"].nbytes for dataset in SpeechDataset(rows, processor))
