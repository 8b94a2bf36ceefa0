"""Streams give the items that datasets give, each process and worker its own, repeatably and without an end."""

import pickle

import numpy as np
import pytest
import soundfile
import torch
from accelerate import Accelerator
from datasets import ClassLabel, Dataset, Features, Value
from torch.utils.data import DataLoader

from aural.processing.features import LogMelFeatureExtractor
from aural.processing.processor import AuralProcessor
from aural.processing.tokenizers import train_tokenizer
from aural.training.collator import SpeechCollator
from aural.training.data import SpeechDataset, load_speech
from aural.training.mixup import Mixup
from aural.training.skipping import CorruptClipsError, SkippedClips
from aural.training.sound_data import SoundDataset
from aural.training.sources import Source, open_sources
from aural.training.streams import prepare_stream, stream_items

RATE = 16_000  # Hz
CLIPS = 8
TEXTS = [chr(ord("a") + index) for index in range(CLIPS)]


@pytest.fixture(scope="module")
def processor():
    return AuralProcessor(LogMelFeatureExtractor(num_mel_bins=8), train_tokenizer(TEXTS))


@pytest.fixture
def folder(tmp_path):
    lines = ["file_name,text,label"]
    for index, text in enumerate(TEXTS):
        soundfile.write(tmp_path / f"{index}.wav", np.random.default_rng(index).normal(scale=0.1, size=3200), RATE)
        lines.append(f"{index}.wav,{text},{'xy'[index % 2]}")
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    return tmp_path


def stream(folder, target="text", **options):
    return open_sources(Source(str(folder)), target, streaming=True, **{"shuffle_buffer": 0, **options}).dataset


def add_noise(array, generator):
    return array + generator.normal(size=array.shape).astype(np.float32)


def texts(items, processor):
    return [processor.decode(item["labels"]) for item in items]


def test_items_are_those_of_a_dataset(folder, processor):
    expected = SpeechDataset(load_speech(folder), processor)
    items = list(stream_items(stream(folder), processor, endless=False))
    assert len(items) == CLIPS
    for index, item in enumerate(items):
        np.testing.assert_array_equal(item["input_features"], expected[index]["input_features"])
        assert item["labels"] == expected[index]["labels"]


def test_sounds_are_those_of_a_dataset(folder):
    extractor = LogMelFeatureExtractor(num_mel_bins=8)
    rows = open_sources(Source(str(folder)), "label").dataset
    for options in ({}, {"multi_label": True}, {"max_seconds": 0.1}):
        expected = SoundDataset(rows, extractor, ["y", "x"], **options)
        items = list(stream_items(stream(folder, "label"), extractor, labels=["y", "x"], endless=False, **options))
        assert len(items) == CLIPS
        for index, item in enumerate(items):
            np.testing.assert_array_equal(item["input_features"], expected[index]["input_features"])
            np.testing.assert_array_equal(item["labels"], expected[index]["labels"])


def test_labels_of_a_class_label_are_matched_by_name(folder):
    paths = [str(folder / f"{index}.wav") for index in range(2)]
    features = Features({"audio": Value("string"), "label": ClassLabel(names=["x", "y"])})
    rows = Dataset.from_dict({"audio": paths, "label": [0, 1]}, features=features).to_iterable_dataset()
    extractor = LogMelFeatureExtractor(num_mel_bins=8)
    items = list(stream_items(rows, extractor, labels=["z", "y", "x"], endless=False))
    assert [item["labels"] for item in items] == [2, 1]
    mixed = stream_items(rows, extractor, labels=["x", "y"], mixup=Mixup("spectrogram", share=1.0), endless=False)
    assert all(len(item["mixup"]) == 2 and item["labels"].shape == (2,) for item in mixed)


def test_random_numbers_follow_from_seed_epoch_process_and_number(folder, processor):
    def features(epoch=0, **options):
        items = stream_items(stream(folder), processor, augment_features=add_noise, endless=False, **options)
        items.set_epoch(epoch)
        return np.stack([item["input_features"] for item in items])

    first = features()
    np.testing.assert_array_equal(features(), first)
    for other in (features(epoch=1), features(seed=1), features(rank=1), first[::-1]):
        assert np.abs(other - first).max(axis=(1, 2)).min() > 0.1


def test_a_stream_goes_on_with_the_next_epoch(folder, processor):
    items = stream_items(stream(folder, shuffle_buffer=20, seed=1), processor)
    found = texts([item for item, _ in zip(items, range(3 * CLIPS), strict=False)], processor)
    epochs = [found[start : start + CLIPS] for start in range(0, 3 * CLIPS, CLIPS)]
    assert all(sorted(epoch) == TEXTS for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    items.set_epoch(1)  # as a run resumes
    assert texts([item for item, _ in zip(items, range(CLIPS), strict=False)], processor) == epochs[1]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_share_a_stream_and_count_for_the_run(folder, processor, workers):
    (folder / "3.wav").write_bytes(b"RIFF")
    skipped = SkippedClips()
    items = stream_items(stream(folder), processor, skipped=skipped, endless=False)
    loader = DataLoader(items, batch_size=1, collate_fn=SpeechCollator(), num_workers=workers)
    found = [processor.decode(batch["labels"][0]) for batch in loader]
    assert sorted(found) == TEXTS[:3] + TEXTS[4:]
    assert (skipped.seen, skipped.corrupt) == (CLIPS, 1) and list(skipped.clips) == ["3.wav"]


def test_each_worker_has_its_own_epoch(folder, processor):
    items = stream_items(stream(folder, shuffle_buffer=20), processor)
    loader = DataLoader(items, batch_size=1, collate_fn=SpeechCollator(), num_workers=2)
    found = [processor.decode(batch["labels"][0]) for batch, _ in zip(loader, range(3 * CLIPS), strict=False)]
    for worker in range(2):
        own = found[worker::2]
        halves = [own[start : start + CLIPS // 2] for start in range(0, len(own), CLIPS // 2)]
        assert all(len(set(half)) == CLIPS // 2 for half in halves)  # the shards of a worker change with the epoch
    assert items.rows.epoch == 0


def test_a_corrupt_clip_that_comes_to_another_worker_is_counted_once(folder, processor):
    (folder / "3.wav").write_bytes(b"RIFF")
    skipped = SkippedClips()
    items = stream_items(stream(folder, shuffle_buffer=20), processor, skipped=skipped)
    loader = DataLoader(items, batch_size=1, collate_fn=SpeechCollator(), num_workers=2)
    assert len(list(zip(loader, range(6 * CLIPS), strict=False))) == 6 * CLIPS
    assert (skipped.seen, skipped.corrupt) == (CLIPS, 1)


def test_two_processes_take_each_clip_once(folder, processor):
    found = []
    for rank in range(2):
        rows = stream(folder, rank=rank, world_size=2, shuffle_buffer=20)
        found += texts(stream_items(rows, processor, endless=False, rank=rank), processor)
    assert sorted(found) == TEXTS


def test_a_corrupt_clip_is_told_once_and_too_many_stop_the_run(folder, processor):
    (folder / "3.wav").write_bytes(b"RIFF")
    skipped = SkippedClips()
    items = stream_items(stream(folder), processor, skipped=skipped)
    found = texts([item for item, _ in zip(items, range(20 * (CLIPS - 1)), strict=False)], processor)
    assert found[: CLIPS - 1] == TEXTS[:3] + TEXTS[4:]
    assert (skipped.seen, skipped.corrupt) == (CLIPS, 1)
    for index in range(CLIPS):
        (folder / f"{index}.wav").write_bytes(b"RIFF")
    with pytest.raises(CorruptClipsError, match=r"6 of 6 clips could not be used: 0\.wav"):
        next(iter(stream_items(stream(folder), processor)))
    with pytest.raises(CorruptClipsError, match="No clip can be used"):
        next(iter(stream_items(stream(folder), processor, skipped=SkippedClips(handful=100))))


def test_what_a_stream_cannot_do_is_refused(folder, processor):
    rows, extractor = stream(folder, "label"), LogMelFeatureExtractor()
    with pytest.raises(ValueError, match="labels is None"):
        stream_items(rows, extractor)
    with pytest.raises(ValueError, match="'waveform', and a stream has no second clip"):
        stream_items(rows, extractor, labels=["x"], mixup=Mixup())
    with pytest.raises(ValueError, match="are for sounds"):
        stream_items(rows, processor, labels=["x"])


def test_items_pickle_and_a_prepared_loader_is_not_split_again(folder, processor):
    items = pickle.loads(pickle.dumps(stream_items(stream(folder), processor, endless=False)))
    loader = DataLoader(items, batch_size=3, collate_fn=SpeechCollator())
    prepared = prepare_stream(loader, Accelerator(cpu=True))
    assert [len(batch["labels"]) for batch in prepared] == [3, 3, 2]
    assert torch.is_tensor(next(iter(prepared))["input_features"])
    assert prepared.dataset is items
