"""The processor: audio becomes features, text becomes labels, ids become text, and a folder holds it all."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoProcessor, AutoTokenizer

from aural.configuration.las import LasConfig
from aural.processing.features import LogMelFeatureExtractor
from aural.processing.processor import AuralProcessor
from aural.processing.tokenizers import language_of, train_tokenizer, unit_of

RATE = 16_000  # Hz
AutoFeatureExtractor.register(LasConfig, LogMelFeatureExtractor, exist_ok=True)  # `import aural` does so too


def wave(seconds, seed=0):
    return np.random.default_rng(seed).normal(scale=0.1, size=int(seconds * RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def processor():
    return AuralProcessor(LogMelFeatureExtractor(), train_tokenizer(["zero one two'"]))


def test_audio_and_text_become_features_and_labels(processor):
    waves, texts = [wave(0.5), wave(0.3, 1)], ["zero", "one two"]
    inputs = processor(audio=waves, text=texts, sampling_rate=RATE, return_tensors="pt")
    assert set(inputs) == {"input_features", "attention_mask", "labels"}
    expected = processor.feature_extractor(
        waves, sampling_rate=RATE, return_tensors="pt", padding=True, return_attention_mask=True
    )
    assert torch.equal(inputs["input_features"], expected["input_features"])
    assert torch.equal(inputs["attention_mask"], expected["attention_mask"])
    assert inputs["attention_mask"].sum(1).tolist() != [inputs["attention_mask"].shape[1]] * 2
    zero, one_two = processor.tokenizer(texts).input_ids
    assert inputs["labels"].tolist() == [zero + [-100] * 3, one_two]
    assert inputs["labels"].dtype == torch.int64


def test_audio_alone_and_text_alone_work(processor):
    assert set(processor(audio=wave(0.3), sampling_rate=RATE)) == {"input_features", "attention_mask"}
    assert set(processor(text="one")) == {"labels"}


def test_neither_is_an_error(processor):
    with pytest.raises(ValueError, match="audio and text"):
        processor(sampling_rate=RATE)


def test_numbers_of_waveforms_and_texts_must_match(processor):
    with pytest.raises(ValueError, match="1 waveforms, text 2 texts"):
        processor(audio=wave(0.3), text=["one", "two"], sampling_rate=RATE)


def test_labels_have_the_form_that_was_asked_for(processor):
    ids = processor.tokenizer("one").input_ids
    assert processor(text="one")["labels"] == ids
    assert processor(text=["one", "zero"])["labels"] == processor.tokenizer(["one", "zero"]).input_ids
    assert processor(text=["one", "zero"], padding=True)["labels"][0] == [*ids, -100]
    assert processor(text="one", return_tensors="np")["labels"].tolist() == [ids]
    fixed = processor(text="one", return_tensors="pt", text_kwargs={"padding": "max_length", "max_length": 6})
    assert fixed["labels"].tolist() == [[*ids, -100, -100]]


def test_literal_pad_in_the_text_is_not_ignored(processor):
    tokenizer = train_tokenizer(["<pad>"])
    labels = AuralProcessor(processor.feature_extractor, tokenizer)(text=["<pad>", "<"], return_tensors="pt")["labels"]
    assert (labels[0] >= 0).all()


@pytest.mark.parametrize("form", [list, np.array, torch.tensor])
def test_decoding_leaves_special_tokens_and_ignored_labels_out(processor, form):
    ids = processor.tokenizer(" one  two ").input_ids
    assert processor.decode(form([1, *ids, 0, -100])) == " one  two "
    rows = [[1, *ids, -100], [1, 2, 0, *[0] * len(ids[1:])]]
    assert processor.batch_decode(form(rows)) == [" one  two ", ""]
    assert processor.decode(form([1, *ids]), skip_special_tokens=False) == "<bos> one  two <eos>"


def test_rows_of_different_lengths_decode(processor):
    labels = processor(text=["one", "zero two"])["labels"]
    assert processor.batch_decode(labels) == ["one", "zero two"]


def test_trainer_reads_the_padding_id_and_the_main_input(processor):
    assert processor.pad_token_id == 0
    assert processor.model_input_names == ["input_features", "attention_mask", "labels"]


def test_saved_folder_gives_the_same_processor(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    loaded = AuralProcessor.from_pretrained(tmp_path)
    arguments = {"audio": wave(0.4), "text": "two'", "sampling_rate": RATE, "return_tensors": "pt"}
    expected, again = processor(**arguments), loaded(**arguments)
    for name in expected:
        assert torch.equal(again[name], expected[name])
    assert type(loaded.feature_extractor) is LogMelFeatureExtractor
    assert json.loads((tmp_path / "processor_config.json").read_text())["processor_class"] == "AuralProcessor"
    assert AutoTokenizer.from_pretrained(tmp_path).get_vocab() == processor.tokenizer.get_vocab()


def test_wrong_rate_is_refused(processor):
    with pytest.raises(ValueError, match="8000"):
        processor(audio=wave(0.3), sampling_rate=8_000)


def test_lists_of_numpy_integers_and_of_tensors_decode_without_the_ignored(processor):
    ids = [*processor.tokenizer("ab").input_ids, -100]
    expected = processor.decode(ids)
    assert processor.decode([np.int64(i) for i in ids]) == processor.decode([torch.tensor(i) for i in ids]) == expected


def test_an_empty_list_of_texts_is_refused(processor):
    with pytest.raises(ValueError, match="text is an empty list"):
        processor(text=[])


@pytest.fixture(scope="module")
def hearing(processor):
    """A processor of characters, with phonemes beside."""
    phonemes = train_tokenizer(["w ʌ n | t uː", "aɪ tʃ"], "phoneme", language="en-us")
    return AuralProcessor(processor.feature_extractor, processor.tokenizer, phonemes)


def test_phonemes_become_labels_beside_those_of_the_text(hearing):
    inputs = hearing(text=["one", "two one"], phonemes=["w ʌ n", "t uː | w ʌ n"], return_tensors="pt")
    rows = hearing.phoneme_tokenizer(["w ʌ n", "t uː | w ʌ n"]).input_ids
    assert [len(row) for row in rows] == [4, 7]
    assert inputs["phoneme_targets"].tolist() == [rows[0] + [-100] * 3, rows[1]]
    assert inputs["phoneme_targets"].dtype == torch.int64
    assert torch.equal(inputs["labels"], hearing(text=["one", "two one"], return_tensors="pt")["labels"])
    assert hearing(phonemes="aɪ tʃ") == {"phoneme_targets": hearing.phoneme_tokenizer("aɪ tʃ").input_ids}
    assert hearing.model_input_names == ["input_features", "attention_mask", "labels", "phoneme_targets"]


def test_phonemes_that_nothing_hears_or_of_another_number_are_refused(processor, hearing):
    with pytest.raises(ValueError, match="has no phoneme_tokenizer"):
        processor(phonemes="w ʌ n")
    with pytest.raises(ValueError, match="audio holds 1 waveforms, phonemes 2 texts"):
        hearing(audio=wave(0.3), phonemes=["w", "n"], sampling_rate=RATE)
    with pytest.raises(ValueError, match="phonemes is an empty list"):
        hearing(phonemes=[])
    with pytest.raises(TypeError, match="phoneme_tokenizer is a str, not a tokenizer"):
        AuralProcessor(processor.feature_extractor, processor.tokenizer, "phonemes")


def test_the_second_tokenizer_is_saved_and_loaded_with_the_first(processor, hearing, tmp_path):
    hearing.save_pretrained(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]  # a folder on the Hub is flat
    for loader in (AuralProcessor, AutoProcessor):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is AuralProcessor
        assert loaded(text="two'", phonemes="tʃ | w ʌ n") == hearing(text="two'", phonemes="tʃ | w ʌ n")
        assert loaded.tokenizer.get_vocab() == hearing.tokenizer.get_vocab()
        assert loaded.phoneme_tokenizer.get_vocab() == hearing.phoneme_tokenizer.get_vocab()
        assert (unit_of(loaded.phoneme_tokenizer), language_of(loaded.phoneme_tokenizer)) == ("phoneme", "en-us")
        assert loaded.to_dict()["phoneme_tokenizer"] == hearing.to_dict()["phoneme_tokenizer"]
    assert AutoTokenizer.from_pretrained(tmp_path).get_vocab() == processor.tokenizer.get_vocab()
    processor.save_pretrained(tmp_path)  # over it
    assert AuralProcessor.from_pretrained(tmp_path).phoneme_tokenizer is None


def test_the_second_tokenizer_is_copied_with_the_processor(hearing):
    copied = pickle.loads(pickle.dumps(hearing))
    assert copied(phonemes="tʃ") == hearing(phonemes="tʃ")


def test_without_aural_the_folders_own_code_loads_both_tokenizers(hearing, tmp_path):
    hearing.save_pretrained(tmp_path / "model")
    script = (
        "import json, sys\n"
        "sys.modules['aural'] = None\n"
        "from transformers import AutoProcessor\n"
        "processor = AutoProcessor.from_pretrained(sys.argv[1], trust_remote_code=True)\n"
        "processor.save_pretrained(sys.argv[1] + '-again')\n"
        "print(json.dumps(dict(processor(text='two', phonemes='tʃ | w ʌ n'))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "model")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == dict(hearing(text="two", phonemes="tʃ | w ʌ n"))
    again = AuralProcessor.from_pretrained(f"{tmp_path / 'model'}-again")
    assert again.to_dict()["phoneme_tokenizer"] == hearing.to_dict()["phoneme_tokenizer"]
