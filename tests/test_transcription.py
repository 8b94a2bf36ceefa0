"""transcribe() on files and arrays, and what load_recognizer refuses."""

import json
import os
import shutil

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoModelForSpeechSeq2Seq, GPT2Config

from aural import AuralProcessor, LogMelFeatureExtractor, Transcriber, load_recognizer, train_tokenizer, transcribe
from aural.configuration.spectrogram_seq2seq import SpectrogramTransformerSeq2SeqConfig
from aural.modeling.spectrogram_seq2seq import SpectrogramTransformerForConditionalGeneration
from aural.processing.alignment import monotone_frames, time_tokens
from aural.recognition import recognize_batch
from tests.tiny import tiny_las
from tests.tiny_seq2seq import tiny_seq2seq
from tests.tiny_spectrogram import tiny_spectrogram_config
from tests.whole import save_folder, wave


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_folder(tmp_path_factory.mktemp("model"))


def test_files_of_any_rate_and_arrays_are_transcribed_as_generate_does(folder, tmp_path):
    model, processor = load_recognizer(folder)
    sound = wave(1.0)
    soundfile.write(tmp_path / "a.flac", sound, 16000, subtype="PCM_16")
    stored, _ = soundfile.read(tmp_path / "a.flac", dtype="float32")
    inputs = processor(audio=stored, sampling_rate=16000, return_tensors="pt")
    expected = processor.decode(model.generate(inputs["input_features"])[0])
    from_file, from_array = transcribe([tmp_path / "a.flac", stored], folder)
    assert from_file.text == from_array.text == expected
    assert from_file.source == str(tmp_path / "a.flac")
    assert from_array.source == "audio 1"
    assert from_file.seconds == pytest.approx(1.0)


def test_batched_clips_give_what_they_give_alone(folder):
    model, processor = load_recognizer(folder)
    sounds = [wave(seconds, seed=i) for i, seconds in enumerate((1.2, 0.4, 0.8))]
    together = transcribe(sounds, model, processor, batch_size=3)
    alone = [transcribe(sound, model, processor)[0] for sound in sounds]
    assert [t.text for t in together] == [t.text for t in alone]
    for mine, theirs in zip(together, alone, strict=True):
        assert mine.tokens == theirs.tokens
        assert mine.alignment.shape == theirs.alignment.shape
        np.testing.assert_allclose(mine.alignment, theirs.alignment, atol=1e-4)


def test_alignment_has_a_row_per_token_and_covers_the_clip(folder):
    result = transcribe(wave(1.0), folder)[0]
    assert result.alignment.shape[0] == len(result.tokens)
    assert result.tokens[-1] == "<eos>"
    np.testing.assert_allclose(result.alignment.sum(-1), 1, atol=1e-5)
    assert result.alignment.shape[1] * result.seconds_per_frame == pytest.approx(1.0, abs=0.05)


def test_a_loaded_model_needs_its_processor(folder):
    model, _ = load_recognizer(folder)
    with pytest.raises(ValueError, match="processor=None"):
        transcribe(wave(1.0), model)
    for option in ({"num_return_sequences": 2}, {"return_dict_in_generate": True}):
        with pytest.raises(ValueError, match="transcribe gives one text per clip"):
            transcribe(wave(1.0), folder, **option)
    with pytest.raises(ValueError, match="batch_size=0"):
        transcribe(wave(1.0), folder, batch_size=0)


def broken(folder, tmp_path, change):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    change(copy)
    return copy


def test_a_file_or_an_empty_folder_is_no_model(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError, match=r"file is a file; a model is a folder"):
        load_recognizer(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match=r"not a model folder: it has no config\.json"):
        load_recognizer(tmp_path)


def test_missing_weights_and_damaged_weights_name_the_folder(folder, tmp_path):
    missing = broken(folder, tmp_path, lambda copy: (copy / "model.safetensors").unlink())
    with pytest.raises(OSError, match=r"cannot load a model from .*copy"):
        load_recognizer(missing)
    (missing / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match=r"cannot load a model from .*copy"):
        load_recognizer(missing)


def test_another_vocabulary_is_refused_with_both_sizes(folder, tmp_path):
    def other_vocabulary(copy):
        AuralProcessor(LogMelFeatureExtractor(num_mel_bins=6), train_tokenizer(["abcdefg"])).save_pretrained(copy)

    with pytest.raises(ValueError, match=r"tokenizer has 11 symbols but the model's vocab_size is 9"):
        load_recognizer(broken(folder, tmp_path, other_vocabulary))


def test_other_features_are_refused_with_both_sizes(folder, tmp_path):
    def other_features(copy):
        AuralProcessor(LogMelFeatureExtractor(num_mel_bins=8), train_tokenizer(["abcd "])).save_pretrained(copy)

    with pytest.raises(ValueError, match=r"gives 8 mels but the model takes 6"):
        load_recognizer(broken(folder, tmp_path, other_features))


def changed_config(**changes):
    def change(copy):
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**config, **changes}))

    return change


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aural_format": 2}, r"aural_format=2.*saved by a newer aural"),
        ({"attention_kind": "foo"}, r"attention_kind='foo' must be one of dot, additive, location, multihead, none"),
        ({"vocab_size": 12}, r"tokenizer has 9 symbols but the model's vocab_size is 12"),
        ({"frame_shift_ms": 20.0}, r"a frame every 10 ms but the model's frame_shift_ms is 20"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_with_the_reason_in_one_line(folder, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        load_recognizer(broken(folder, tmp_path, changed_config(**changes)))
    assert "\n" not in str(error.value)


def test_no_name_at_all_is_refused():
    with pytest.raises(ValueError, match="model='' names nothing"):
        load_recognizer("")


def test_other_special_ids_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="eos_token_id is 2 but the model's is 3"):
        load_recognizer(broken(folder, tmp_path, changed_config(eos_token_id=3)))


def test_models_of_every_attention_kind_transcribe():
    processor = AuralProcessor(LogMelFeatureExtractor(num_mel_bins=6), train_tokenizer(["abcd "]))
    for kind in ("dot", "none"):
        result = transcribe(wave(0.5), tiny_las(attention_kind=kind), processor)[0]
        assert len(result.tokens) == len(result.alignment)


def test_sounds_without_a_name_are_numbered_through_all_batches(folder):
    sounds = [wave(0.3, seed=i) for i in range(3)]
    assert [result.source for result in transcribe(sounds, folder, batch_size=2)] == ["audio 0", "audio 1", "audio 2"]


def test_options_of_generate_reach_it(folder):
    model, processor = load_recognizer(folder)
    features = processor(audio=wave(1.0), sampling_rate=16000, return_tensors="pt")["input_features"]
    for options in ({"num_beams": 1}, {"max_new_tokens": 3}):
        expected = processor.decode(model.generate(features, **options)[0])
        assert transcribe(wave(1.0), model, processor, **options)[0].text == expected
    assert len(transcribe(wave(1.0), folder, max_new_tokens=3)[0].tokens) <= 3


def test_a_model_is_loaded_for_reading_in_full_precision(folder, tmp_path):
    save_folder(tmp_path)
    tiny_las().bfloat16().save_pretrained(tmp_path)
    model, _ = load_recognizer(tmp_path)
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("before", [None, "0"])
def test_loading_asks_no_service_to_convert_and_leaves_the_environment_as_it_was(monkeypatch, folder, before):
    name, asked = "DISABLE_SAFETENSORS_CONVERSION", []
    load = AutoModelForSpeechSeq2Seq.from_pretrained

    def from_pretrained(*args, **kwargs):
        asked.append(os.environ[name])
        return load(*args, **kwargs)

    monkeypatch.delenv(name, raising=False) if before is None else monkeypatch.setenv(name, before)
    monkeypatch.setattr(AutoModelForSpeechSeq2Seq, "from_pretrained", from_pretrained)
    load_recognizer(folder)
    assert (asked, os.environ.get(name)) == (["1"], before)


CHARACTERS = AuralProcessor(LogMelFeatureExtractor(num_mel_bins=6), train_tokenizer(["abcd "]))


def test_words_and_characters_have_times_inside_the_clip_and_in_order(folder):
    for result in transcribe([wave(1.0), wave(0.3, seed=1)], folder):
        assert [word.text for word in result.words] == result.text.split()
        assert [one.text for one in result.token_times] == list(result.tokens)
        for things in (result.words, result.token_times):
            borders = [border for one in things for border in (one.start, one.end)]
            assert borders == sorted(borders)
            assert borders[0] >= 0
            assert borders[-1] <= result.seconds
        assert [word for group in result.segments() for word in group] == list(result.words)


def test_confidence_is_that_of_the_text_under_the_model(folder):
    model, processor = load_recognizer(folder)
    result = transcribe(wave(0.6), model, processor)[0]
    features = processor(audio=wave(0.6), sampling_rate=16000, return_tensors="pt")["input_features"]
    labels = torch.tensor([processor.tokenizer.convert_tokens_to_ids(list(result.tokens))])
    with torch.no_grad():
        loss = model(features, labels=labels).loss  # mean negative logarithm of the probabilities
    assert result.confidence == pytest.approx(float(torch.exp(-loss)), rel=1e-4)
    shares = np.exp(np.mean(np.log([one.confidence for one in result.token_times])))
    assert result.confidence == pytest.approx(float(shares), rel=1e-4)


def test_attention_is_that_of_the_text_and_the_listener_hears_a_batch_once(folder):
    model, processor = load_recognizer(folder)
    heard = []
    model.get_encoder().register_forward_hook(lambda *_: heard.append(1))
    results = transcribe([wave(0.6), wave(0.4, seed=2)], model, processor)
    assert len(heard) == 1
    inputs = processor(audio=wave(0.6), sampling_rate=16000, return_tensors="pt")
    labels = torch.tensor([processor.tokenizer.convert_tokens_to_ids(list(results[0].tokens))])
    expected = model.attention_maps(inputs["input_features"], labels=labels)["speller"][0].mean(0)
    np.testing.assert_allclose(results[0].alignment, expected, atol=1e-5)


def test_a_model_without_attention_tells_no_times():
    result = transcribe(wave(0.5), tiny_las(attention_kind="none"), CHARACTERS)[0]
    assert (result.words, result.token_times, result.coverage, result.troubles) == ((), (), None, ())
    assert 0 < result.confidence <= 1


@pytest.mark.parametrize(("reductions", "seconds"), [([2, 2], 0.04), ([2, 2, 2], 0.08)])
def test_frames_of_40_or_80_ms_by_configuration_and_times_follow(reductions, seconds):
    model = tiny_las(listener_time_reductions=reductions)
    result = transcribe(wave(1.0), model, CHARACTERS)[0]
    assert result.seconds_per_frame == pytest.approx(seconds)
    frames = result.alignment.shape[1]
    assert frames == -(-98 // (seconds * 100))  # of 98 feature frames of 10 ms
    first, last = monotone_frames(result.alignment.numpy())
    path = time_tokens(result.alignment.numpy(), result.seconds_per_frame, result.seconds)
    assert ((path.starts / seconds >= first) & (path.starts / seconds < first + 1)).all()
    assert ((path.ends / seconds > last - 1e-6) & (path.ends / seconds <= last + 1 + 1e-6)).all()
    assert result.token_times[-1].end == pytest.approx(result.seconds)


def test_the_n_best_texts_come_with_their_scores(folder):
    model, processor = load_recognizer(folder)
    sounds = [wave(0.6), wave(0.4, seed=2)]
    inputs = processor(audio=sounds, sampling_rate=16000, return_tensors="pt")
    expected = model.generate(
        inputs["input_features"],
        attention_mask=inputs["attention_mask"],
        num_beams=4,
        num_return_sequences=3,
        return_dict_in_generate=True,
        output_scores=True,
    )
    results = transcribe(sounds, model, processor, nbest=3, num_beams=4)
    for i, result in enumerate(results):
        assert result.text == result.alternatives[0][0]
        scores = [score for _, score in result.alternatives]
        assert scores == sorted(scores, reverse=True)
        assert scores == pytest.approx(expected.sequences_scores[3 * i : 3 * i + 3].tolist(), abs=1e-5)
        ids = [row[: row.index(2)] if 2 in row else row for row in expected.sequences[3 * i : 3 * i + 3].tolist()]
        assert [text for text, _ in result.alternatives] == [processor.decode(row) for row in ids]
    assert [result.text for result in results] == [
        one.text for one in transcribe(sounds, model, processor, num_beams=4)
    ]
    assert transcribe(sounds[0], model, processor)[0].alternatives == ()
    for wrong, beams in ((5, 4), (0, 4), (2, 1)):
        with pytest.raises(ValueError, match=f"nbest={wrong} must be in 1 to num_beams={beams}"):
            transcribe(sounds[0], model, processor, nbest=wrong, num_beams=beams)


def test_words_of_phonemes_lie_between_borders():
    tokenizer = train_tokenizer(["a b | c"], "phoneme")
    processor = AuralProcessor(LogMelFeatureExtractor(num_mel_bins=6), tokenizer)
    result = transcribe(wave(1.0), tiny_las(vocab_size=len(tokenizer)), processor)[0]
    assert [word.text for word in result.words] == [part.strip() for part in result.text.split("|") if part.strip()]


def test_a_batch_of_waves_is_what_transcribe_makes_of_it(folder):
    model, processor = load_recognizer(folder)
    waves = [wave(0.5), wave(0.7, seed=3)]
    told = recognize_batch(waves, model, processor, {"num_beams": 2}, ["one", "two"])
    expected = transcribe(waves, model, processor, num_beams=2)
    assert [(one.source, one.text, one.words) for one in told] == [
        (name, one.text, one.words) for name, one in zip(("one", "two"), expected, strict=True)
    ]


def test_a_patch_decoder_tells_words_times_and_trouble_from_its_last_layers_attention(tmp_path):
    tiny_seq2seq().save_pretrained(tmp_path)
    CHARACTERS.save_pretrained(tmp_path)
    model, processor = load_recognizer(tmp_path)
    assert type(model) is SpectrogramTransformerForConditionalGeneration
    sounds = [wave(0.5), wave(0.3, seed=2)]
    told = transcribe(sounds, model, processor, max_new_tokens=20)
    for sound, one in zip(sounds, told, strict=True):
        inputs = processor(audio=sound, sampling_rate=16000, return_tensors="pt")
        labels = torch.tensor([processor.tokenizer.convert_tokens_to_ids(list(one.tokens))])
        written = model.generate(inputs["input_features"], max_new_tokens=20)[0, 1:].tolist()
        assert one.text == processor.decode(written)
        cross = model.attention_maps(**inputs, labels=labels)["decoder.1.cross"][0].mean(0)
        tokens = model.config.encoder.num_class_tokens
        columns = cross[:, tokens:].unflatten(1, (model.config.encoder.frequency_patches, -1)).sum(1)
        np.testing.assert_allclose(one.alignment, columns / columns.sum(-1, keepdim=True), atol=1e-5)
        assert one.seconds_per_frame == pytest.approx(0.03)
        assert [word.text for word in one.words] == one.text.split()
        assert [each.text for each in one.token_times] == list(one.tokens)
        assert 0 <= one.coverage <= 1


def test_a_patch_decoder_gives_its_n_best_and_what_a_corpus_gets(tmp_path):
    tiny_seq2seq(seed=3).save_pretrained(tmp_path)
    CHARACTERS.save_pretrained(tmp_path)
    told = transcribe(wave(0.5), tmp_path, nbest=2, num_beams=3, max_new_tokens=12)[0]
    assert told.alternatives[0][0] == told.text
    assert len(told.alternatives) == 2
    rows = Transcriber(tmp_path, num_beams=3, max_new_tokens=12)(
        {"audio": [{"array": wave(0.5), "sampling_rate": 16000}]}
    )
    assert rows["predicted_text"] == [told.text]


def test_a_decoder_of_transformers_whose_attention_is_not_told_writes_without_times():
    encoder = tiny_spectrogram_config(num_mel_bins=6).to_dict()
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    decoder = GPT2Config(vocab_size=9, n_embd=16, n_layer=1, n_head=2, **ids).to_dict()
    config = SpectrogramTransformerSeq2SeqConfig(encoder=encoder, decoder=decoder, **ids)
    for implementation, timed in (("sdpa", False), ("eager", True)):
        torch.manual_seed(0)
        model = SpectrogramTransformerForConditionalGeneration._from_config(config, attn_implementation=implementation)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0, 0.5)
        told = transcribe(wave(0.5), model.eval(), CHARACTERS, max_new_tokens=12)[0]
        assert told.text
        assert bool(told.words) == bool(len(told.alignment)) == timed
