"""Data by name: whatever holds clips and their targets becomes rows of one form, and what is left out is counted."""

import csv
import io
import json
import pickle
import tarfile
from collections import Counter

import datasets
import numpy as np
import pyarrow as pa
import pytest
import soundfile
from datasets import Audio, ClassLabel, Dataset, DatasetDict, Features, IterableDataset, Value

from aural.processing.audio import load_audio
from aural.training.sampler import ClassBalancedBatchSampler
from aural.training.sound_labels import label_names
from aural.training.source_files import expand_braces, find_source
from aural.training.sources import Source, open_sources

RATE = 16_000  # Hz
TEXTS = ["Één.", "twee", "drie", "vier"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)  # 5 s after each shuffled parquet stream


def wave(index, seconds=0.1):
    return np.random.default_rng(index).normal(scale=0.1, size=round(seconds * RATE)).astype(np.float32)


def encoded(index, seconds=0.1, kind="WAV"):
    file = io.BytesIO()
    soundfile.write(file, wave(index, seconds), RATE, format=kind)
    return file.getvalue()


def write_folder(folder, columns, **settings):
    """An audiofolder of one clip per value of the columns, 0.1 s and then 0.1 s more each."""
    folder.mkdir(parents=True)
    count = len(next(iter(columns.values())))
    with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", *columns])
        for index in range(count):
            soundfile.write(folder / f"{index}.wav", wave(index, 0.1 * (index % 8 + 1)), RATE)
            writer.writerow([f"{index}.wav", *(values[index] for values in columns.values())])
    return folder


def hub_like(texts=TEXTS, names=("kick", "snare"), **more):
    """Rows as the Hub has them: a decoding Audio column that holds bytes, and a ClassLabel."""
    audio = [{"bytes": encoded(index), "path": f"{index}.wav"} for index in range(len(texts))]
    labels = [index % len(names) for index in range(len(texts))]
    table = pa.table({"audio": audio, "text": list(texts), "label": labels, **more})
    rows = Dataset(table)
    return rows.cast(Features({**rows.features, "audio": Audio(), "label": ClassLabel(names=list(names))}))


def write_tar(path, texts, first=0, kind="flac", as_json=False):
    with tarfile.open(path, "w") as tar:
        for index, text in enumerate(texts, start=first):
            told = json.dumps({"text": text, "fold": index % 2, "label": "a"}).encode() if as_json else text.encode()
            for ending, content in ((kind, encoded(index, kind=kind.upper())), ("json" if as_json else "txt", told)):
                member = tarfile.TarInfo(f"clips/{index:03d}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def heard(row):
    return load_audio(row["audio"], sampling_rate=RATE)


def test_a_folder_is_read_by_its_path(tmp_path):
    folder = write_folder(tmp_path / "clips", {"text": TEXTS, "speaker": list("abcd")})
    rows = open_sources(Source(str(folder)), "text")
    assert rows.dataset["text"][:] == TEXTS
    assert set(rows.dataset.column_names) == {"audio", "text", "speaker", "duration"}
    assert rows.weights is None and dict(rows.dropped) == {}
    assert rows.dataset["duration"][:] == pytest.approx([0.1, 0.2, 0.3, 0.4]) and rows.seconds == pytest.approx(1)
    np.testing.assert_allclose(heard(rows.dataset[3]), wave(3, 0.4), atol=1e-4)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_parquet_and_arrow_files_with_audio_bytes_are_read(tmp_path, kind, streaming):
    for part in range(2):
        rows = hub_like([f"{part} {index}" for index in range(3)])
        if kind == "parquet":
            rows.to_parquet(tmp_path / f"{part}.parquet")
        else:
            rows.save_to_disk(tmp_path / str(part))
    pattern = tmp_path / ("{0..1}.parquet" if kind == "parquet" else "*/*.arrow")
    dataset = open_sources(Source(str(pattern)), "text", streaming=streaming, shuffle_buffer=0).dataset
    assert isinstance(dataset, IterableDataset if streaming else Dataset)
    found = list(dataset)
    assert [row["text"] for row in found] == ["0 0", "0 1", "0 2", "1 0", "1 1", "1 2"]
    np.testing.assert_allclose(heard(found[4]), wave(1), atol=1e-4)


def test_plain_parquet_without_types_of_datasets_is_read(tmp_path):
    import pyarrow.parquet as parquet

    parquet.write_table(pa.table({"sound": [encoded(0), encoded(1)], "said": ["a", "b"]}), tmp_path / "a.parquet")
    source = Source(str(tmp_path / "a.parquet"), audio_column="sound", target_column="said")
    for streaming in (False, True):
        found = list(open_sources(source, "text", streaming=streaming, shuffle_buffer=0).dataset)
        assert [row["text"] for row in found] == ["a", "b"]
        np.testing.assert_allclose(heard(found[1]), wave(1), atol=1e-4)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("as_json", [False, True])
def test_tars_are_read(tmp_path, streaming, as_json):
    write_tar(tmp_path / "s-08.tar", ["a", "b"], 0, as_json=as_json)
    write_tar(tmp_path / "s-09.tar", ["c"], 2, as_json=as_json)
    write_tar(tmp_path / "s-10.tar", ["d", "e"], 3, as_json=as_json)
    write_tar(tmp_path / "s-11.tar", ["left out"], as_json=as_json)
    source = Source(str(tmp_path / "s-{08..10}.tar"), where={"fold": [0]} if as_json else {})
    found = list(open_sources(source, "text", streaming=streaming, shuffle_buffer=0).dataset)
    assert [row["text"] for row in found] == (["a", "c", "e"] if as_json else ["a", "b", "c", "d", "e"])
    np.testing.assert_allclose(heard(found[-1]), wave(4), atol=1e-4)
    assert found[-1]["audio"]["path"].endswith("clips/004.flac")
    if as_json:
        assert open_sources(source, "label", streaming=streaming).dataset is not None


def test_a_changed_tar_is_read_anew(tmp_path):
    path = write_tar(tmp_path / "a.tar", ["a", "b"])
    assert open_sources(Source(str(path)), "text").dataset["text"][:] == ["a", "b"]
    write_tar(path, ["c"])
    assert open_sources(Source(str(path)), "text").dataset["text"][:] == ["c"]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_hub_id_is_loaded_as_it_is_named(monkeypatch, streaming):
    asked = []

    def load(path, **options):
        asked.append((path, options))
        return hub_like().to_iterable_dataset() if streaming else DatasetDict({"train": hub_like()})

    monkeypatch.setattr("aural.training.source_files.load_dataset", load)
    source = Source("someone/sounds", split="train", subset="nl", revision="main")
    rows = open_sources(source, "label", streaming=streaming, shuffle_buffer=0)
    assert asked == [("someone/sounds", {"name": "nl", "split": "train", "revision": "main", "streaming": streaming})]
    assert label_names(rows.dataset) == ["kick", "snare"]
    found = list(rows.dataset)
    assert [row["label"] for row in found] == [0, 1, 0, 1]
    np.testing.assert_allclose(heard(found[2]), wave(2), atol=1e-4)


def test_a_hub_that_does_not_have_it_is_named_with_the_folder_that_is_not_there(monkeypatch):
    def load(path, **options):
        raise ConnectionError("offline")

    monkeypatch.setattr("aural.training.source_files.load_dataset", load)
    with pytest.raises(OSError, match="'data/clips': no such folder here, and from the Hub: offline"):
        open_sources(Source("data/clips"), "text")


def test_what_a_name_can_be_is_told(tmp_path):
    for name in ("/nowhere/at all", "./nowhere", "data/*.parquet", "a.tar"):
        with pytest.raises(FileNotFoundError, match=r"nothing is there|no file matches"):
            find_source(name)
    with pytest.raises(ValueError, match=r"source is 'clips'; allowed: a folder with metadata\.csv; a path"):
        find_source("clips")
    (tmp_path / "a.mp3").touch()
    with pytest.raises(ValueError, match=r"endings \.mp3; allowed"):
        find_source(str(tmp_path / "a.mp3"))
    with pytest.raises(FileNotFoundError, match=r"no file matches .*2\.tar"):
        write_tar(tmp_path / "1.tar", ["a"])
        find_source(str(tmp_path / "{1..2}.tar"))
    for wrong in ({"subset": "nl"}, {"revision": "main"}, {"split": "train"}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} is '.*it has none"):
            open_sources(Source(str(tmp_path / "1.tar"), **wrong), "text")


def test_braces_stand_for_what_they_do_in_a_shell():
    assert expand_braces("a{08..10}.tar") == ["a08.tar", "a09.tar", "a10.tar"]
    assert expand_braces("{a,b}/{1..2}") == ["a/1", "a/2", "b/1", "b/2"]
    assert expand_braces("plain") == ["plain"]


@pytest.mark.parametrize("streaming", [False, True])
def test_rows_left_out_are_counted_by_reason(tmp_path, streaming):
    texts = ["één", "12 uur", "…", "twee", "drie", "Vier!"]  # of 0.1 to 0.6 s
    folder = write_folder(tmp_path / "clips", {"text": texts, "fold": [1, 1, 1, 2, 1, 1]})
    source = Source(str(folder), where={"fold": [1, 3]})
    options = {"max_seconds": 0.55, "min_seconds": 0.15, "normalization": "letters"}
    rows = open_sources(source, "text", streaming=streaming, **options)
    assert [row["text"] for row in rows.dataset] == ["drie"]
    assert dict(rows.dropped) == {
        "fold is not 1, 3": 1,
        "text is empty": 1,
        "text has no spelling by 'letters'": 1,
        "shorter than 0.15 s": 1,
        "longer than 0.55 s": 1,
    }
    if not streaming:
        assert rows.dataset["duration"][:] == pytest.approx([0.5])
        assert rows.seconds == pytest.approx(0.5)


def test_lengths_come_from_the_column_where_there_is_one(tmp_path):
    folder = write_folder(tmp_path / "clips", {"text": TEXTS, "duration": [9.0, 1.0, 9.0, 2.0]})  # not what they are
    rows = open_sources(Source(str(folder)), "text", max_seconds=5)
    assert rows.dataset["text"][:] == ["twee", "vier"]
    assert rows.seconds == 3


def test_lengths_of_files_are_measured_once(tmp_path, monkeypatch):
    hub_like().to_parquet(tmp_path / "a.parquet")
    source = Source(str(tmp_path / "a.parquet"))
    assert open_sources(source, "text").dataset["duration"][:] == pytest.approx([0.1] * 4)
    monkeypatch.setattr("aural.training.sources.seconds_of", None)
    assert open_sources(source, "text").dataset["duration"][:] == pytest.approx([0.1] * 4)


def test_a_damaged_clip_stays_until_it_is_to_be_heard(tmp_path):
    folder = write_folder(tmp_path / "clips", {"text": TEXTS})
    (folder / "1.wav").write_bytes(b"no audio")
    rows = open_sources(Source(str(folder)), "text", min_seconds=0.05)
    assert rows.dataset["duration"][:] == pytest.approx([0.1, 0.0, 0.3, 0.4])
    assert dict(rows.dropped) == {}


def test_values_to_keep_are_names_of_a_class_or_numbers(tmp_path):
    hub_like(fold=[1, 2, 3, 1]).to_parquet(tmp_path / "a.parquet")
    for where, expected in (
        ({"fold": [1, 3]}, [0, 2, 3]),
        ({"fold": ["1"]}, [0, 3]),
        ({"label": ["snare"]}, [1, 3]),
        ({"label": [0], "fold": [3]}, [2]),
    ):
        rows = open_sources(Source(str(tmp_path / "a.parquet"), where=where), "text")
        assert rows.dataset["text"][:] == [TEXTS[index] for index in expected]
    with pytest.raises(ValueError, match=r"a\.parquet: where has 'flod'; the columns are audio, text"):
        open_sources(Source(str(tmp_path / "a.parquet"), where={"flod": [1]}), "text")
    with pytest.raises(ValueError, match=r"no row left; dropped: \{'fold is not 7': 4\}"):
        open_sources(Source(str(tmp_path / "a.parquet"), where={"fold": [7]}), "text")


@pytest.mark.parametrize("streaming", [False, True])
def test_labels_of_several_sources_are_matched_by_name(tmp_path, monkeypatch, streaming):
    folder = write_folder(tmp_path / "clips", {"label": ["snare", "clap"]})
    first, second = (hub_like("ab", names) for names in (("kick", "snare"), ("snare", "kick")))
    first.to_parquet(tmp_path / "a.parquet")
    second.to_parquet(tmp_path / "b.parquet")
    sources = [Source(str(folder)), Source(str(tmp_path / "a.parquet")), Source(str(tmp_path / "b.parquet"))]
    rows = open_sources(sources, "label", streaming=streaming, shuffle_buffer=0)
    assert [row["label"] for row in rows.dataset] == ["snare", "clap", "kick", "snare", "snare", "kick"]
    np.testing.assert_allclose(heard(list(rows.dataset)[3]), wave(1), atol=1e-4)
    both = open_sources(sources[1:2] * 2, "label", streaming=streaming, shuffle_buffer=0)
    assert label_names(both.dataset) == ["kick", "snare"]  # a ClassLabel that all have stays one


def test_one_of_several_labels_and_one_label_become_lists(tmp_path):
    several = write_folder(tmp_path / "several", {"label": ["kick;snare", ""]})
    one = write_folder(tmp_path / "one", {"label": ["clap"]})
    rows = open_sources([Source(str(several)), Source(str(one))], "label")
    assert rows.dataset["label"][:] == [["kick", "snare"], [], ["clap"]]


def test_sources_share_the_columns_that_all_have(tmp_path):
    first = write_folder(tmp_path / "a", {"text": ["a"], "speaker": ["x"], "mood": ["y"], "duration": [2.0]})
    second = write_folder(tmp_path / "b", {"text": ["b"], "speaker": ["z"], "duration": [1.0]})
    rows = open_sources([Source(str(first)), Source(str(second))], "text")
    assert rows.dataset.column_names == ["audio", "text", "speaker", "duration"]
    assert rows.seconds == 3


def test_weights_are_shares_of_the_draws(tmp_path):
    small = write_folder(tmp_path / "small", {"text": ["a", "b"]})
    large = write_folder(tmp_path / "large", {"text": [f"c{index}" for index in range(8)]})
    rows = open_sources([Source(str(small), weight=3), Source(str(large), weight=1)], "text")
    np.testing.assert_allclose(rows.weights, [1.5] * 2 + [0.125] * 8)
    draws = Counter()
    sampler = ClassBalancedBatchSampler(rows.weights, 5, seed=0)
    for epoch in range(200):
        sampler.set_epoch(epoch)
        draws.update(index < 2 for batch in sampler for index in batch)
    share = draws[True] / draws.total()
    deviation = (0.75 * 0.25 / 2000) ** 0.5
    assert abs(share - 0.75) < 4 * deviation


def test_weights_of_streams_are_shares_of_the_draws(tmp_path):
    small = write_folder(tmp_path / "small", {"text": ["s"] * 4})
    large = write_folder(tmp_path / "large", {"text": ["l"] * 300})
    sources = [Source(str(small), weight=1), Source(str(large), weight=3)]
    texts = [row["text"] for row in open_sources(sources, "text", streaming=True).dataset]
    assert texts.count("l") == 300  # each at least once: the small one is drawn again and again
    assert abs(texts.count("s") / len(texts) - 0.25) < 4 * (0.25 * 0.75 / len(texts)) ** 0.5


def test_weights_are_for_all_sources_or_none(tmp_path):
    folder = str(write_folder(tmp_path / "a", {"text": ["a"]}))
    with pytest.raises(ValueError, match="has no weight while others have"):
        open_sources([Source(folder), Source(folder, weight=1)], "text")
    with pytest.raises(ValueError, match="weight is 0; it must be above 0"):
        open_sources([Source(folder, weight=0)], "text")
    with pytest.raises(ValueError, match="sources is empty"):
        open_sources([], "text")
    with pytest.raises(ValueError, match="target is 'texts'; allowed: text, label"):
        open_sources(Source(folder), "texts")


@pytest.mark.parametrize("shards", [1, 4, 3])
def test_nodes_share_a_stream(tmp_path, shards):
    for part in range(shards):
        hub_like([f"{part}-{index}" for index in range(5)]).to_parquet(tmp_path / f"{part}.parquet")
    everything = {f"{part}-{index}" for part in range(shards) for index in range(5)}
    source = Source(str(tmp_path / "*.parquet"))
    orders = set()
    for epoch in range(2):
        seen = []
        for rank in range(2):
            stream = open_sources(source, "text", streaming=True, seed=3, rank=rank, world_size=2).dataset
            stream.set_epoch(epoch)
            texts = [row["text"] for row in stream]
            assert texts == [row["text"] for row in stream]
            assert 0 < len(texts) < len(everything)
            seen += texts
        assert sorted(seen) == sorted(everything)
        orders.add(tuple(seen))
    assert len(orders) == 2


def test_a_node_knows_its_place_from_the_environment(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "a", {"text": TEXTS})
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert len(list(open_sources(Source(str(folder)), "text", streaming=True).dataset)) == 1
    with pytest.raises(ValueError, match="rank is 4 and world_size 4; rank must be from 0 to 3"):
        open_sources(Source(str(folder)), "text", streaming=True, rank=4)


def test_a_fingerprint_is_of_the_data_and_not_of_their_place(tmp_path):
    def mark(name, texts=TEXTS, **options):
        folder = tmp_path / name
        if not folder.exists():
            write_folder(folder, {"text": texts})
        return open_sources(Source(str(folder), weight=options.pop("weight", None)), "text", **options).fingerprint

    first = mark("a")
    assert mark("b") == first and mark("a", normalization="none") == first
    different = {first, mark("c", [*TEXTS[:3], "vijf"]), mark("a", normalization="lower"), mark("a", max_seconds=0.35)}
    different.add(mark("a", weight=1))
    soundfile.write(tmp_path / "b" / "3.wav", wave(9, 0.4), RATE)  # as long as before
    different.add(mark("b"))
    assert len(different) == 6


def test_a_fingerprint_of_a_stream_changes_with_files_and_settings(tmp_path):
    def mark(folder, texts, **options):
        (tmp_path / folder).mkdir(exist_ok=True)
        write_tar(tmp_path / folder / "a.tar", texts)
        return open_sources(Source(str(tmp_path / folder / "a.tar")), "text", streaming=True, **options).fingerprint

    first = mark("a", ["a", "b"])
    assert mark("b", ["a", "b"]) == first
    assert len({first, mark("a", ["a", "b"], max_seconds=3), mark("b", ["a", "c"])}) == 3


def test_streams_pickle_for_workers(tmp_path):
    folder = write_folder(tmp_path / "a", {"text": TEXTS})
    stream = open_sources(Source(str(folder)), "text", streaming=True, normalization="lower", max_seconds=3).dataset
    again = pickle.loads(pickle.dumps(stream))
    assert sorted(row["text"] for row in again) == sorted(text.lower() for text in TEXTS)
    assert stream.features["text"] == Value("string")


@pytest.mark.parametrize("streaming", [False, True])
def test_sound_that_nobody_labelled_needs_no_table(streaming, tmp_path):
    write_folder(tmp_path / "clips", {"text": TEXTS})  # 0.1 to 0.4 s
    (tmp_path / "clips/metadata.csv").unlink()
    rows = open_sources([Source(str(tmp_path / "clips"))], "audio", streaming=streaming, min_seconds=0.15)
    clips = [load_audio(row["audio"], RATE) for row in rows.dataset]
    assert sorted(len(clip) for clip in clips) == [3200, 4800, 6400]
    assert dict(rows.dropped) == {"shorter than 0.15 s": 1} if not streaming else True
    assert set(next(iter(rows.dataset))) == ({"audio"} if streaming else {"audio", "duration"})


def test_sound_without_labels_is_known_again_by_its_audio_alone(tmp_path):
    for name, texts in (("one", TEXTS), ("two", TEXTS[::-1])):
        write_folder(tmp_path / name, {"text": texts})
    marks = {open_sources([Source(str(tmp_path / name))], "audio").fingerprint for name in ("one", "two")}
    assert len(marks) == 1
    soundfile.write(next((tmp_path / "two").glob("*0*")), wave(9), RATE)
    assert open_sources([Source(str(tmp_path / "two"))], "audio").fingerprint not in marks


def test_another_target_is_refused_by_name():
    with pytest.raises(ValueError, match="target is 'sound'; allowed: text, label, audio"):
        open_sources([Source("x")], "sound")
