"""Sounds with labels: folders and datasets are read by name, and items repeat with seed, epoch and index."""

import csv
import pickle
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from datasets import Audio, ClassLabel, Dataset, DatasetDict, Features, Sequence, Value
from torch.utils.data import DataLoader

from aural import LogMelFeatureExtractor
from aural.training.mixup import Mixup, mix_waveforms
from aural.training.sound_collator import SoundCollator
from aural.training.sound_data import SoundDataset, load_sounds, prepare_sound
from aural.training.sound_labels import class_names, label_names

RATE = 16_000  # Hz
NAMES = ["clap", "kick", "snare"]
SECONDS = [0.3, 0.5, 0.2, 0.4]
LABELS = ["snare", "clap", "clap", "kick"]


def wave(index):
    return np.random.default_rng(100 + index).normal(scale=0.1, size=int(SECONDS[index] * RATE)).astype(np.float32)


def write_folder(folder, labels=LABELS, header=("file_name", "sound")):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for index, label in enumerate(labels):
            soundfile.write(folder / f"{index}.wav", wave(index), RATE, subtype="FLOAT")
            writer.writerow([f"{index}.wav", label])
    return folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return load_sounds(write_folder(tmp_path_factory.mktemp("sounds")), label_column="sound")


@pytest.fixture(scope="module")
def extractor():
    # As a converted AST has it: padded to a fixed length by default.
    return LogMelFeatureExtractor(num_mel_bins=20, padding="max_length", max_length=60, truncation=True)


def features_of(extractor, waveform):
    return extractor(waveform, sampling_rate=RATE, padding=False)["input_features"][0]


def test_a_folder_with_one_label_per_row(rows, tmp_path):
    assert rows["label"][:] == LABELS
    assert set(rows.column_names) == {"audio", "label"}
    assert rows.features["audio"] == Audio(decode=False)
    assert label_names(rows) == NAMES
    with pytest.raises(ValueError, match="row 2 has no label"):
        load_sounds(write_folder(tmp_path, ["kick", " "]), label_column="sound")


def test_a_folder_with_several_labels_in_some_row(tmp_path):
    folder = write_folder(tmp_path / "train", ["kick; Speech, child", "", "kick", "clap;"])
    expected = [["kick", "Speech, child"], [], ["kick"], ["clap"]]
    assert load_sounds(folder, label_column="sound")["label"][:] == expected
    assert load_sounds(tmp_path, "train", label_column="sound")["label"][:] == expected


def test_folder_errors_say_what_is_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_sounds(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no column 'label'; it has file_name, sound"):
        load_sounds(write_folder(tmp_path))


@pytest.mark.parametrize(
    "feature", [ClassLabel(names=NAMES), Sequence(ClassLabel(names=NAMES)), Sequence(Value("string"))]
)
def test_datasets_keep_their_labels(feature, tmp_path):
    labels = [0] if isinstance(feature, ClassLabel) else [["kick"]]
    path = str(write_folder(tmp_path) / "0.wav")
    features = Features({"sound": Value("string"), "tags": feature, "label": Value("string")})
    source = Dataset.from_dict({"sound": [path], "tags": labels, "label": ["old"]}, features=features)
    source = source.cast_column("sound", Audio())  # what a hub dataset looks like
    for dataset in (source, DatasetDict({"all": source}), source.to_iterable_dataset()):
        loaded = load_sounds(dataset, audio_column="sound", label_column="tags")
        row = next(iter(loaded))
        assert row["audio"] == {"bytes": None, "path": path}
        assert row["label"] == next(iter(source.remove_columns("sound")))["tags"]
        assert set(row) == {"audio", "label"}
    assert load_sounds(source, audio_column="sound", label_column="tags").features["label"] == feature


def test_items_are_features_and_an_id(rows, extractor):
    dataset = SoundDataset(rows, extractor, NAMES)
    assert len(dataset) == 4
    assert [dataset[index]["labels"] for index in range(4)] == [2, 0, 0, 1]
    np.testing.assert_allclose(dataset[1]["input_features"], features_of(extractor, wave(1)), atol=1e-4)
    assert len(dataset[2]["input_features"]) == 18  # 0.2 s, not the extractor's 60 frames
    assert dataset[1]["input_features"].dtype == np.float32
    assert set(dataset[0]) == {"input_features", "labels"}


def test_items_with_several_labels(tmp_path, extractor):
    sounds = load_sounds(write_folder(tmp_path, ["kick;snare", "", "clap"]), label_column="sound")
    dataset = SoundDataset(sounds, extractor, NAMES)
    assert [dataset[index]["labels"].tolist() for index in range(3)] == [[0, 1, 1], [0, 0, 0], [1, 0, 0]]
    assert dataset[0]["labels"].dtype == np.float32
    single = load_sounds(write_folder(tmp_path, ["kick", "snare"]), label_column="sound")
    assert SoundDataset(single, extractor, NAMES, multi_label=True)[1]["labels"].tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match=r"item 0: label is \['kick', 'snare'\], 2 labels; expected one"):
        SoundDataset(sounds, extractor, NAMES, multi_label=False)


def test_rows_of_another_dataset_are_matched_by_name(rows, extractor):
    other = ClassLabel(names=["kick", "snare", "clap"])
    sounds = rows.remove_columns("label").add_column("label", other.str2int(LABELS)).cast_column("label", other)
    assert [item["labels"] for item in SoundDataset(sounds, extractor, NAMES)] == [2, 0, 0, 1]
    assert SoundDataset(rows, extractor, dict(enumerate(NAMES))).label_ids == [[2], [0], [0], [1]]


def test_unknown_labels_are_named_with_their_item(rows, extractor):
    with pytest.raises(ValueError, match="item 3: label 'kick' is unknown; the 2 labels are clap, snare"):
        SoundDataset(rows, extractor, ["clap", "snare"])


def test_rows_must_hold_audio_and_label(extractor):
    with pytest.raises(ValueError, match="columns audio, text; audio and label are needed"):
        SoundDataset(Dataset.from_dict({"audio": ["a"], "text": ["a"]}), extractor, NAMES)
    with pytest.raises(ValueError, match="max_seconds is 0"):
        SoundDataset([{"audio": "a", "label": "kick"}], extractor, NAMES, max_seconds=0)


def test_damaged_audio_is_named_with_its_item(tmp_path, extractor):
    sounds = load_sounds(write_folder(tmp_path), label_column="sound")
    (tmp_path / "1.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"item 1: .*1\.wav"):
        SoundDataset(sounds, extractor, NAMES)[1]


def test_longer_audio_is_cut_at_its_end_or_at_random(rows, extractor):
    start = SoundDataset(rows, extractor, NAMES, max_seconds=0.25)
    np.testing.assert_allclose(start[1]["input_features"], features_of(extractor, wave(1)[:4_000]), atol=1e-4)
    np.testing.assert_allclose(start[2]["input_features"], features_of(extractor, wave(2)), atol=1e-4)
    assert start.durations == pytest.approx([0.25, 0.25, 0.2, 0.25])
    crop = SoundDataset(rows, extractor, NAMES, max_seconds=0.25, random_crop=True)
    seen = []
    for epoch in range(4):
        crop.set_epoch(epoch)
        begin = int(np.random.default_rng([0, epoch, 1]).integers(8_000 - 4_000 + 1))
        expected = features_of(extractor, wave(1)[begin : begin + 4_000])
        np.testing.assert_allclose(crop[1]["input_features"], expected, atol=1e-4)
        seen.append(begin)
    assert len(set(seen)) == 4


def test_waveforms_are_mixed_with_another_item_drawn_by_the_generator(rows, extractor):
    dataset = SoundDataset(rows, extractor, NAMES, mixup=Mixup(share=1.0), seed=7)
    for epoch, index in ((0, 0), (0, 3), (1, 3)):
        dataset.set_epoch(epoch)
        generator = np.random.default_rng([7, epoch, index])
        ratio = Mixup(share=1.0).draw(generator)
        other = (index + 1 + int(generator.integers(3))) % 4
        expected = features_of(extractor, mix_waveforms(wave(index), wave(other), ratio))
        np.testing.assert_allclose(dataset[index]["input_features"], expected, atol=1e-3)
        labels = np.zeros(3)
        labels[NAMES.index(LABELS[index])] += ratio
        labels[NAMES.index(LABELS[other])] += 1 - ratio
        np.testing.assert_allclose(dataset[index]["labels"], labels, atol=1e-6)
        assert "mixup" not in dataset[index]


def test_an_unmixed_item_of_a_mixing_dataset_is_itself_with_a_soft_label(rows, extractor):
    item = SoundDataset(rows, extractor, NAMES, mixup=Mixup(share=0.0))[0]
    np.testing.assert_array_equal(item["input_features"], SoundDataset(rows, extractor, NAMES)[0]["input_features"])
    assert item["labels"].tolist() == [0, 0, 1]
    alone = SoundDataset(rows.select([0]), extractor, NAMES, mixup=Mixup(share=1.0))[0]
    assert alone["labels"].tolist() == [0, 0, 1]


def test_spectrogram_mixup_is_a_function_of_seed_epoch_and_index(rows, extractor):
    mixup = Mixup("spectrogram", share=1.0)

    def batch(epoch=0, seed=0, indices=(0, 1, 3)):
        dataset = SoundDataset(rows, extractor, NAMES, mixup=mixup, seed=seed)
        dataset.set_epoch(epoch)
        return SoundCollator(num_labels=3)([dataset[index] for index in indices])

    first = batch()
    torch.manual_seed(5), np.random.seed(5)
    for name, value in batch().items():
        assert torch.equal(value, first[name])
    for other in (batch(epoch=1), batch(seed=1)):
        assert (other["labels"] - first["labels"]).abs().max() > 0.01
    generator = np.random.default_rng([0, 0, 1])
    ratio, place = mixup.draw(generator), generator.random()
    partner = (1 + 1 + int(place * 2)) % 3  # of the batch
    expected = torch.zeros(3)
    expected[[0, 2][0]] = ratio  # item 1 is a clap
    expected[[2, None, 1][partner]] += 1 - ratio
    torch.testing.assert_close(first["labels"][1], expected)


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_stream_gives_the_same_items(multi_label, rows, extractor):
    feature = ClassLabel(names=["snare", "clap", "kick"])
    sounds = rows.remove_columns("label").add_column("label", feature.str2int(LABELS)).cast_column("label", feature)
    expected = SoundDataset(sounds, extractor, NAMES, multi_label=multi_label, max_seconds=0.25)
    stream = load_sounds(sounds.to_iterable_dataset())
    options = {"feature_extractor": extractor, "labels": NAMES, "multi_label": multi_label, "max_seconds": 0.25}
    items = stream.map(
        partial(prepare_sound, classes=class_names(stream), **options), remove_columns=["audio", "label"]
    )
    for item, other in zip(items, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(item["input_features"], np.float32), other["input_features"])
        np.testing.assert_array_equal(item["labels"], other["labels"])


def add_noise(array, generator):
    return array + generator.normal(size=array.shape).astype(np.float32)


@pytest.mark.parametrize("kind", ["augment_audio", "augment_features"])
def test_augmentation_follows_from_seed_epoch_and_index(kind, rows, extractor):
    def features(index, epoch=0, seed=0):
        dataset = SoundDataset(rows, extractor, NAMES, seed=seed, **{kind: add_noise})
        dataset.set_epoch(epoch)
        return dataset[index]["input_features"]

    plain, first = SoundDataset(rows, extractor, NAMES)[0]["input_features"], features(0)
    np.testing.assert_array_equal(features(0), first)
    for other in (plain, features(0, epoch=1), features(0, seed=1)):
        assert np.abs(first - other).max() > 0.1


def test_workers_kept_over_epochs_see_the_epoch(rows, extractor):
    dataset = SoundDataset(rows, extractor, NAMES, mixup=Mixup("spectrogram", share=1.0))
    loader = DataLoader(dataset, batch_size=4, collate_fn=SoundCollator(), num_workers=1, persistent_workers=True)
    for epoch in range(3):
        dataset.set_epoch(epoch)
        expected = SoundCollator()([dataset[index] for index in range(4)])
        assert torch.equal(next(iter(loader))["labels"], expected["labels"])


def test_weights_are_offered_when_asked_for(rows, extractor):
    assert SoundDataset(rows, extractor, NAMES).sample_weights is None
    balanced = SoundDataset(rows, extractor, NAMES, balanced=True)
    assert balanced.sample_weights.tolist() == [1, 0.5, 0.5, 1]


def test_dataset_pickles(rows, extractor):
    dataset = SoundDataset(rows, extractor, NAMES, mixup=Mixup(share=1.0))
    again = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(again[0]["input_features"], dataset[0]["input_features"])
