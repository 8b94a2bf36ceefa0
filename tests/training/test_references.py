"""Several captions of one clip: columns, lists, what training draws, and what metrics get."""

import numpy as np
import pytest
from datasets import Dataset, IterableDataset

from aural import AuralProcessor, LogMelFeatureExtractor, train_tokenizer
from aural.training.data import load_speech, read_table
from aural.training.references import (
    CaptionDataset,
    all_texts,
    gather_references,
    has_references,
    matching_columns,
    references_in,
    references_of,
)
from aural.training.sources import Source, open_sources
from tests.small_corpora import tone, write_speech

CAPTIONS = [["A dog.", "a dog barks", ""], ["rain", "It rains!", "rain falls"], ["wind", "", "wind"]]


def write_clotho(folder, splits=("development",)):
    """Clips with columns caption_1 to caption_3, as Clotho's tables are."""
    write_speech(folder, dict.fromkeys(splits, 3))
    for split in splits:
        table = folder / split / "metadata.csv"
        _, rows = read_table(table)
        lines = ["file_name,caption_1,caption_2,caption_3"]
        lines += [",".join([row["file_name"], *texts]) for row, texts in zip(rows, CAPTIONS, strict=True)]
        table.write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def processor():
    words = ["a dog barks rain it rains falls wind"]
    return AuralProcessor(LogMelFeatureExtractor(num_mel_bins=8), train_tokenizer(words, "word"))


def in_columns() -> dict[str, list]:
    audio = [{"array": tone(i), "sampling_rate": 16_000} for i in range(3)]
    columns = {f"caption_{n + 1}": [texts[n] for texts in CAPTIONS] for n in range(3)}
    return {"audio": audio, "keywords": ["x", "y", "z"], **columns}


def test_several_columns_become_one_of_lists_without_empty_captions():
    rows = gather_references(Dataset.from_dict(in_columns()), "caption_*")
    assert rows.column_names == ["audio", "keywords", "text"]
    assert rows["text"][:] == [["A dog.", "a dog barks"], CAPTIONS[1], ["wind", "wind"]]
    assert has_references(rows)
    assert list(all_texts(rows)) == ["A dog.", "a dog barks", *CAPTIONS[1], "wind", "wind"]


def test_a_stream_is_gathered_as_it_is_read():
    stream = Dataset.from_dict(in_columns()).to_iterable_dataset()
    assert isinstance(stream, IterableDataset)
    rows = gather_references(stream, "caption_*", "caption_1")  # a name that was among them
    assert has_references(rows.rename_column("caption_1", "text"))
    assert [row["caption_1"] for row in rows] == [["A dog.", "a dog barks"], CAPTIONS[1], ["wind", "wind"]]
    assert set(next(iter(rows))) == {"audio", "keywords", "caption_1"}


def test_columns_are_found_by_a_pattern_or_refused_by_name():
    assert matching_columns(["id", "caption_2", "caption_1"], "caption_*") == ["caption_2", "caption_1"]
    with pytest.raises(ValueError, match=r"no column is like 'text_\*'; the columns are id, caption_1"):
        matching_columns(["id", "caption_1"], "text_*")


@pytest.mark.parametrize("value", [[], None, 3, ["a", 1]])
def test_what_is_no_caption_is_refused(value):
    with pytest.raises(ValueError, match="expected a text, or a list of texts"):
        references_of(value)
    assert references_of("a dog") == ["a dog"]


def test_a_folder_with_several_columns_is_a_source(tmp_path):
    folder = write_clotho(tmp_path / "clotho", ("development", "validation"))
    source = Source(str(folder), "development", target_column="caption_*")
    rows = open_sources(source, "text", normalization="letters").dataset
    assert references_in(rows) == [["a dog", "a dog barks"], ["rain", "it rains", "rain falls"], ["wind", "wind"]]
    assert rows["duration"][0] == pytest.approx(0.8)
    one = open_sources(Source(str(folder), "development", target_column="caption_1"), "text").dataset
    assert one["text"][:] == ["A dog.", "rain", "wind"]


def test_a_streamed_source_gives_the_same_lists(tmp_path):
    folder = write_clotho(tmp_path / "clotho")
    source = Source(str(folder), target_column="caption_*")
    stream = open_sources(source, "text", streaming=True, normalization="letters", shuffle_buffer=0).dataset
    assert [row["text"] for row in stream] == [
        ["a dog", "a dog barks"],
        ["rain", "it rains", "rain falls"],
        ["wind", "wind"],
    ]


def test_a_parquet_with_a_column_of_lists_is_a_source(tmp_path):
    plain = {"audio": [{"bytes": None, "path": "x"}] * 3, "duration": [1.0] * 3, "captions": [["a", "b"], [], ["§"]]}
    Dataset.from_dict(plain).to_parquet(str(tmp_path / "a.parquet"))
    rows = open_sources(Source(str(tmp_path / "a.parquet"), target_column="captions"), "text", normalization="letters")
    assert references_in(rows.dataset) == [["a", "b"]]
    assert sum(rows.dropped.values()) == 2


def test_sources_of_one_and_of_several_captions_are_put_together(tmp_path):
    clotho, speech = write_clotho(tmp_path / "clotho"), tmp_path / "speech"
    write_speech(speech, {"train": 2})
    rows = open_sources([Source(str(clotho), target_column="caption_*"), Source(str(speech))], "text").dataset
    assert references_in(rows)[2:] == [["wind", "wind"], ["one two"], ["three"]]


def test_training_draws_one_caption_by_seed_epoch_and_index(tmp_path, processor):
    folder = write_clotho(tmp_path / "clotho")
    rows = open_sources(Source(str(folder), target_column="caption_*"), "text", normalization="letters").dataset
    train, again = CaptionDataset(rows, processor, seed=3), CaptionDataset(rows, processor, seed=3)
    drawn: list[list[str]] = []
    for epoch in range(12):
        train.set_epoch(epoch)
        drawn.append([processor.decode(train[index]["labels"]) for index in range(3)])
    assert {texts[1] for texts in drawn} == {"rain", "it rains", "rain falls"}
    again.set_epoch(7)
    assert [processor.decode(again[index]["labels"]) for index in range(3)] == drawn[7]
    expected = [
        texts[np.random.default_rng([3, 7, index]).integers(len(texts))]
        for index, texts in enumerate(references_in(rows))
    ]
    assert drawn[7] == expected


def test_an_evaluation_set_has_first_captions_and_tells_all(tmp_path, processor):
    folder = write_clotho(tmp_path / "clotho")
    rows = open_sources(Source(str(folder), target_column="caption_*"), "text", normalization="letters").dataset
    dataset = CaptionDataset(rows, processor, first=True)
    dataset.set_epoch(5)
    assert [processor.decode(dataset[index]["labels"]) for index in range(3)] == ["a dog", "rain", "wind"]
    assert dataset.references == references_in(rows)


def test_clips_with_one_caption_are_items_as_ever(tmp_path, processor):
    write_speech(tmp_path / "one", {"train": 2}, ("rain", "wind"))
    rows = load_speech(tmp_path / "one")
    assert [processor.decode(CaptionDataset(rows, processor)[index]["labels"]) for index in (0, 1)] == ["rain", "wind"]
