"""Speech data: folders and datasets are read without decoding by `datasets`, and items repeat with seed and epoch."""

import csv
import pickle
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from datasets import Audio, Dataset, DatasetDict, IterableDataset
from torch.utils.data import DataLoader

from aural.processing.features import LogMelFeatureExtractor
from aural.processing.processor import AuralProcessor
from aural.processing.tokenizers import train_tokenizer
from aural.training.collator import SpeechCollator
from aural.training.data import SpeechDataset, load_speech, prepare_item

RATE = 16_000  # Hz
TEXTS = ["007", "null", " a, b ", ""]
SECONDS = [0.3, 0.5, 0.2, 0.4]


def write_folder(folder, texts=TEXTS, header=("file_name", "transcript"), extra=()):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for index, text in enumerate(texts):
            name = f"clip {index}.wav"
            noise = np.random.default_rng(100 + index).normal(scale=0.1, size=int(SECONDS[index] * RATE))
            soundfile.write(folder / name, noise, RATE)
            writer.writerow([name, text, *extra])
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "clips")


@pytest.fixture(scope="module")
def processor():
    return AuralProcessor(LogMelFeatureExtractor(), train_tokenizer([*TEXTS, "b"]))


def rows(folder):
    return load_speech(folder, text_column="transcript")


def test_folder_is_read_with_its_texts_as_they_are(folder):
    dataset = load_speech(folder, text_column="transcript")
    assert dataset["text"][:] == TEXTS  # not 7, not None
    assert set(dataset.column_names) == {"audio", "text"}
    assert dataset.features["audio"] == Audio(decode=False)
    assert dataset[1]["audio"] == {"bytes": None, "path": str(folder / "clip 1.wav")}
    assert load_speech(str(folder), text_column="transcript")[:] == dataset[:]


def test_a_changed_folder_is_read_anew(folder):
    load_speech(folder, text_column="transcript")
    write_folder(folder, ["x", "y"])
    assert load_speech(folder, text_column="transcript")["text"][:] == ["x", "y"]


def test_other_columns_are_kept_and_a_column_in_the_way_goes(tmp_path):
    folder = write_folder(tmp_path / "a", ["x"], ("file_name", "transcript", "text", "duration"), ("old", "0.25"))
    dataset = load_speech(folder, text_column="transcript")
    assert dataset[0]["text"] == "x"
    assert dataset[0]["duration"] == 0.25


def test_splits_are_sub_folders(tmp_path):
    for name, text in (("train", "a"), ("test", "b")):
        write_folder(tmp_path / name, [text])
    assert load_speech(tmp_path, split="test", text_column="transcript")["text"][:] == ["b"]
    for split in (None, "dev"):
        with pytest.raises(ValueError, match=f"split is {split!r}; .* has test, train"):
            load_speech(tmp_path, split=split, text_column="transcript")
    with pytest.raises(ValueError, match="no splits"):
        load_speech(tmp_path / "train", split="test", text_column="transcript")


def test_folder_errors_say_what_is_there(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*nowhere"):
        load_speech(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match=r"metadata\.csv is a file; expected a folder"):
        load_speech(folder / "metadata.csv")
    with pytest.raises(ValueError, match="no column 'text'; it has file_name, transcript"):
        load_speech(folder)
    (folder / "clip 2.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"row 3 names 'clip 2\.wav'"):
        load_speech(folder, text_column="transcript")
    (folder / "metadata.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no metadata\.csv; it holds clip 0\.wav, clip 1\.wav"):
        load_speech(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file_name,text\n", "no rows"),
        ("", "no column 'file_name'; it has none"),
        ("file_name,text\nclip 0.wav,a, b\n", "row 1 does not have 2 fields"),
        ("file_name,text\nclip 0.wav\n", "row 1 does not have 2 fields"),
    ],
)
def test_malformed_tables_are_errors(folder, content, message):
    (folder / "metadata.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        load_speech(folder)


def test_datasets_are_never_decoded(folder):
    paths = [str(folder / f"clip {index}.wav") for index in range(4)]
    named = Dataset.from_dict({"sound": paths, "sentence": TEXTS})
    decoding = named.cast_column("sound", Audio())  # what a hub dataset looks like
    undecoded = decoding.cast_column("sound", Audio(decode=False))
    streams = [decoding.to_iterable_dataset(), undecoded.to_iterable_dataset()]
    for source in (named, decoding, DatasetDict({"all": decoding}), *streams):
        dataset = load_speech(source, audio_column="sound", text_column="sentence")
        assert next(iter(dataset))["audio"] == {"bytes": None, "path": paths[0]}


def test_a_stream_of_unknown_columns_is_read():
    def produce(audio):
        yield {audio: "a.wav", "text": "a"}

    stream = load_speech(IterableDataset.from_generator(produce, gen_kwargs={"audio": "audio"}))
    assert list(stream) == [{"audio": "a.wav", "text": "a"}]
    with pytest.raises(ValueError, match="no column 'audio'; it has sound, text"):
        load_speech(IterableDataset.from_generator(produce, gen_kwargs={"audio": "sound"}))


def test_dataset_errors_say_what_is_there():
    with pytest.raises(ValueError, match="no column 'audio'; it has sound"):
        load_speech(Dataset.from_dict({"sound": ["a.wav"]}))
    with pytest.raises(ValueError, match="no column 'text'; it has audio"):
        load_speech(Dataset.from_dict({"audio": ["a.wav"]}))
    with pytest.raises(ValueError, match="empty"):
        load_speech(Dataset.from_dict({"audio": [], "text": []}))
    with pytest.raises(TypeError, match="source is a list"):
        load_speech([])
    two = DatasetDict(dict.fromkeys(("x", "y"), Dataset.from_dict({"audio": ["a.wav"], "text": ["a"]})))
    with pytest.raises(ValueError, match="split is 'z'; the dataset has x, y"):
        load_speech(two, split="z")


def test_items_are_features_and_labels(folder, processor):
    dataset = SpeechDataset(rows(folder), processor)
    assert len(dataset) == 4
    samples = soundfile.read(folder / "clip 1.wav", dtype="float32")[0]
    expected = processor.feature_extractor(samples, sampling_rate=RATE)["input_features"][0]
    np.testing.assert_allclose(dataset[1]["input_features"], expected, atol=1e-5)
    assert dataset[1]["input_features"].dtype == np.float32
    assert dataset[1]["labels"] == processor.tokenizer("null").input_ids
    assert dataset[-1]["labels"] == [2]  # an empty text is <eos> alone
    with pytest.raises(IndexError):
        dataset[4]


def test_arrays_in_memory_are_items_too(processor):
    audio = {"array": np.zeros(8_000, dtype=np.float32), "sampling_rate": 8_000}
    dataset = SpeechDataset(load_speech(Dataset.from_dict({"audio": [audio], "text": ["b"]})), processor)
    assert len(dataset[0]["input_features"]) == pytest.approx(100, abs=3)  # a second, resampled
    assert dataset.durations == [1.0]


def test_a_stream_gives_the_same_items(folder, processor):
    expected = SpeechDataset(rows(folder), processor)[2]
    stream = load_speech(rows(folder).to_iterable_dataset())
    assert isinstance(stream, IterableDataset)
    mapped = stream.map(partial(prepare_item, processor=processor), remove_columns=["audio", "text"])
    item = list(mapped)[2]
    np.testing.assert_array_equal(np.asarray(item["input_features"], dtype=np.float32), expected["input_features"])
    assert item["labels"] == expected["labels"]


def test_a_damaged_table_is_named_with_its_row(folder):
    table = folder / "metadata.csv"
    table.write_text("file_name,text,duration\na.wav,one,1.0\nb.wav,two,x\n")
    for name in ("a.wav", "b.wav"):
        soundfile.write(folder / name, np.zeros(1600), RATE)
    with pytest.raises(ValueError, match=r"metadata\.csv: row 2: duration is 'x'"):
        load_speech(folder)
    table.write_bytes("file_name,text\na.wav,caf\xe9\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"metadata\.csv is not CSV in UTF-8"):
        load_speech(folder)


def test_durations_come_from_headers_or_from_the_column(folder, processor):
    assert SpeechDataset(rows(folder), processor).durations == pytest.approx(SECONDS)
    with_column = rows(folder).add_column("duration", [4.0, 3.0, 2.0, 1.0])
    assert SpeechDataset(with_column, processor).durations == [4.0, 3.0, 2.0, 1.0]


def add_noise(array, generator):
    return array + generator.normal(size=array.shape).astype(np.float32)


@pytest.mark.parametrize("kind", ["augment_audio", "augment_features"])
def test_augmentation_follows_from_seed_epoch_and_index(folder, processor, kind):
    def features(index, epoch=0, seed=0):
        dataset = SpeechDataset(rows(folder), processor, seed=seed, **{kind: add_noise})
        dataset.set_epoch(epoch)
        return dataset[index]["input_features"]

    plain = SpeechDataset(rows(folder), processor)[0]["input_features"]
    first = features(0)
    state = np.random.get_state()[1].copy()
    np.testing.assert_array_equal(features(0), first)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    assert first.shape == plain.shape
    for other in (plain, features(0, epoch=1), features(0, seed=1)):
        assert np.abs(first - other).max() > 0.1


def test_workers_kept_over_epochs_see_the_epoch(folder, processor):
    dataset = SpeechDataset(rows(folder), processor, augment_features=add_noise)
    loader = DataLoader(dataset, batch_size=2, collate_fn=SpeechCollator(), num_workers=1, persistent_workers=True)
    for epoch in range(3):
        dataset.set_epoch(epoch)
        batches = list(loader)
        expected = SpeechCollator()([dataset[0], dataset[1]])
        assert torch.equal(batches[0]["input_features"], expected["input_features"])


def test_dataset_pickles(folder, processor):
    dataset = SpeechDataset(rows(folder), processor, augment_features=add_noise)
    dataset.set_epoch(2)
    again = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(again[0]["input_features"], dataset[0]["input_features"])


def test_item_errors_name_the_item(folder, processor):
    dataset = SpeechDataset(rows(folder), processor)
    (folder / "clip 1.wav").unlink()
    with pytest.raises(OSError, match=r"item 1: .*clip 1\.wav"):
        dataset[1]
    without_text = Dataset.from_dict({"audio": [str(folder / "clip 0.wav")], "text": [None]})
    with pytest.raises(ValueError, match="item 0: text is None, not a string"):
        SpeechDataset(without_text, processor)[0]


def test_rows_must_hold_audio_and_text(processor):
    with pytest.raises(ValueError, match="columns sound; audio and text are needed"):
        SpeechDataset(Dataset.from_dict({"sound": ["a"]}), processor)
    with pytest.raises(ValueError, match="empty"):
        SpeechDataset([], processor)


def test_items_of_one_sound_are_augmented_each_in_its_own_way(folder, processor):
    twice = rows(folder).select([0, 0])
    first, second = SpeechDataset(twice, processor, augment_features=add_noise)
    assert np.abs(first["input_features"] - second["input_features"]).max() > 0.1


def test_a_table_saved_by_a_spreadsheet_is_read(folder):
    table = (folder / "metadata.csv").read_text(encoding="utf-8")
    (folder / "metadata.csv").write_text(table, encoding="utf-8-sig")  # with a byte order mark
    assert rows(folder)["text"][:] == TEXTS
