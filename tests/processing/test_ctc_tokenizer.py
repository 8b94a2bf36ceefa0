"""CtcTokenizer: paths and texts, offsets, folders; against transformers' own CTC tokenizer."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, AutoTokenizer, Wav2Vec2CTCTokenizer

from aural import AuralProcessor, CtcTokenizer, LogMelFeatureExtractor, SpectrogramTransformerConfig, train_tokenizer
from aural.processing.tokenizers import unit_of

TEXTS = ["seen on abc", "noon ab ba"]
UNITS = {
    "character": train_tokenizer(TEXTS),
    "word": train_tokenizer(TEXTS, "word"),
    "subword": train_tokenizer(TEXTS * 3, "subword", vocab_size=20),
    "phoneme": train_tokenizer(["s iː n | ɑː n", "n uː n | b iː"], "phoneme", language="en-us"),
}
SAMPLES = {"phoneme": "n uː n | s iː n"}


@pytest.fixture(scope="module")
def letters():
    return CtcTokenizer.of(UNITS["character"])


def path_of(tokenizer, ids, rng):
    """A path of a labeling: every id once or more, blanks where repeats need one and elsewhere at random."""
    path = [0] * rng.integers(0, 3)
    for place, token in enumerate(ids):
        path += [0] * max(int(place > 0 and ids[place - 1] == token), int(rng.integers(0, 3)))
        path += [token] * int(rng.integers(1, 4))
    return [*path, *[0] * rng.integers(0, 3)]


@pytest.mark.parametrize("unit", UNITS)
def test_a_path_says_the_text_it_was_made_of_and_doubled_letters_survive(unit):
    tokenizer, rng = CtcTokenizer.of(UNITS[unit]), np.random.default_rng(0)
    text = SAMPLES.get(unit, "seen noon abc")
    if unit == "word":
        text = "noon noon ab"
    ids = tokenizer(text, add_special_tokens=False).input_ids
    for _ in range(20):
        path = path_of(tokenizer, ids, rng)
        for skip in (False, True):
            assert tokenizer.decode(path, skip_special_tokens=skip) == text


@pytest.mark.parametrize("unit", UNITS)
def test_ids_and_json_are_those_of_the_plain_tokenizer_and_texts_come_back(unit):
    plain, tokenizer = UNITS[unit], CtcTokenizer.of(UNITS[unit])
    text = SAMPLES.get(unit, "seen noon abc")
    assert tokenizer(text).input_ids == plain(text).input_ids
    assert tokenizer.backend_tokenizer.to_str() == plain.backend_tokenizer.to_str()
    assert unit_of(tokenizer) == unit
    ids = tokenizer(text).input_ids
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == plain.decode(ids, skip_special_tokens=True)


def test_group_tokens_decides_outright(letters):
    ids = letters("seen", add_special_tokens=False).input_ids
    assert letters.decode(ids) == "sen"
    assert letters.decode(ids, group_tokens=False) == "seen"
    assert letters.decode([*ids, 2], group_tokens=True) == "sen"
    assert letters.decode([*ids, 2]) == "seen<eos>"
    assert letters.decode([*ids, 2], skip_special_tokens=True) == "seen"


def test_special_tokens_of_a_path_are_no_text(letters):
    (a,) = letters("a", add_special_tokens=False).input_ids
    assert letters.decode([a, 1, a, 3, a, 2, 0]) == "aaa"
    assert letters.decode([]) == ""
    assert letters.decode([0, 0]) == ""


def test_silence_at_both_ends_of_a_path_is_no_text(letters, tmp_path):
    (space, a, b) = letters(" ab", add_special_tokens=False).input_ids
    path = [space, space, 0, a, space, b, 0, space]
    found = letters.decode(path, output_char_offsets=True, output_word_offsets=True)
    expected = wav2vec2(letters, tmp_path).decode(path, output_char_offsets=True)
    assert (found.text, found.char_offsets) == (expected.text, expected.char_offsets)
    assert found.text == letters.decode(path) == "a b"
    assert [(one["word"], one["start_offset"]) for one in found.word_offsets] == [("a", 3), ("b", 5)]
    assert letters.decode([space, a, space], group_tokens=False) == " a "


def test_batches_arrays_and_tensors_are_read(letters):
    (a, b) = letters("ab", add_special_tokens=False).input_ids
    rows = [[a, a, 0, b], [0, b, b, a]]
    for batch in (rows, np.array(rows), torch.tensor(rows)):
        assert letters.batch_decode(batch) == letters.decode(batch) == ["ab", "ba"]
    assert letters.decode(torch.tensor(rows[0])) == "ab"
    found = letters.decode(rows, output_word_offsets=True)
    assert [one.word_offsets[0]["word"] for one in found] == ["ab", "ba"]


def wav2vec2(tokenizer, tmp_path):
    vocabulary = {token.replace(" ", "|"): index for token, index in tokenizer.get_vocab().items()}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    return Wav2Vec2CTCTokenizer(
        str(tmp_path / "vocab.json"), pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )


def test_text_and_offsets_are_those_of_transformers_own_ctc_tokenizer(letters, tmp_path):
    theirs, rng = wav2vec2(letters, tmp_path), np.random.default_rng(1)
    for text in ("seen on abc", "noon", "a b a"):
        path = path_of(letters, letters(text, add_special_tokens=False).input_ids, rng)
        mine = letters.decode(path, output_char_offsets=True, output_word_offsets=True)
        expected = theirs.decode(path, output_char_offsets=True, output_word_offsets=True)
        assert mine.text == expected.text == text
        assert mine["char_offsets"] == expected.char_offsets
        assert mine["word_offsets"] == expected.word_offsets
        words = letters._get_word_offsets(mine["char_offsets"], letters.replace_word_delimiter_char)
        assert words == expected.word_offsets


@pytest.mark.parametrize("unit", UNITS)
def test_symbols_make_up_the_text_and_words_are_its_words(unit):
    tokenizer = CtcTokenizer.of(UNITS[unit])
    text = SAMPLES.get(unit, "seen noon abc")
    if unit == "word":
        text = "noon ab ba"
    path = path_of(tokenizer, tokenizer(text, add_special_tokens=False).input_ids, np.random.default_rng(2))
    found = tokenizer.decode(path, output_char_offsets=True, output_word_offsets=True)
    assert "".join(one["char"] for one in found.char_offsets) == text
    border = "|" if unit == "phoneme" else None
    assert [one["word"] for one in found.word_offsets] == [word.strip() for word in text.split(border)]
    for things in (found.char_offsets, found.word_offsets):
        borders = [one[edge] for one in things for edge in ("start_offset", "end_offset")]
        assert borders == sorted(borders)
        assert borders[-1] <= len(path)
    first = next(one for one in found.char_offsets if one["char"])  # a subword may be the space before a text alone
    assert found.word_offsets[0]["start_offset"] == first["start_offset"]
    assert found.word_offsets[-1]["end_offset"] == found.char_offsets[-1]["end_offset"]


def test_spaces_around_a_text_make_no_words(letters):
    offsets = [{"char": char, "start_offset": 2 * i, "end_offset": 2 * i + 1} for i, char in enumerate("  a b  ")]
    assert letters._get_word_offsets(offsets, " ") == [
        {"word": "a", "start_offset": 4, "end_offset": 5},
        {"word": "b", "start_offset": 8, "end_offset": 9},
    ]


def test_the_processor_reads_paths_and_labels(letters):
    processor = AuralProcessor(LogMelFeatureExtractor(), letters)
    labels = processor(text=["seen", "a"], return_tensors="pt")["labels"]
    assert (labels == -100).any()
    assert processor.batch_decode(labels) == ["seen", "a"]
    assert processor.decode(labels[0]) == "seen"
    s, e, n = (letters.convert_tokens_to_ids(letter) for letter in "sen")
    path = [s, s, e, 0, e, n, 0]
    assert processor.decode(path) == "seen"
    assert processor.batch_decode([path, [*path, -100]]) == ["seen", "seen"]
    assert processor.decode([s, e, e, n], group_tokens=False) == "seen"


@pytest.mark.parametrize("unit", UNITS)
def test_a_folder_loads_it_again_by_auto_classes(unit, tmp_path):
    tokenizer = CtcTokenizer.of(UNITS[unit])
    SpectrogramTransformerConfig(patch_stride=[10, 4], vocab_size=len(tokenizer)).save_pretrained(tmp_path)
    AuralProcessor(LogMelFeatureExtractor(), tokenizer).save_pretrained(tmp_path)
    path = path_of(tokenizer, list(range(4, len(tokenizer))), np.random.default_rng(0))
    for loaded in (
        AutoTokenizer.from_pretrained(tmp_path),
        AutoProcessor.from_pretrained(tmp_path).tokenizer,
        CtcTokenizer.of(AutoTokenizer.from_pretrained(tmp_path)),
    ):
        assert type(loaded) is CtcTokenizer
        assert unit_of(loaded) == unit
        assert loaded.replace_word_delimiter_char == tokenizer.replace_word_delimiter_char
        assert loaded.decode(path, output_char_offsets=True) == tokenizer.decode(path, output_char_offsets=True)


def test_a_plain_tokenizer_stays_without_code(tmp_path):
    AuralProcessor(LogMelFeatureExtractor(), UNITS["character"]).save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "TokenizersBackend"
    assert "auto_map" not in settings
    assert not (tmp_path / "processing_ctc_tokenizer.py").exists()


def test_tokens_without_our_special_ids_are_refused():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, "<unk>")))
    with pytest.raises(ValueError, match="<pad> has id None in the vocabulary; it must have 0"):
        CtcTokenizer.of(other)
