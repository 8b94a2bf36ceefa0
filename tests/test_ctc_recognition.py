"""CTC folders by `transcribe`, `load_recognizer`, the command line and corpora: texts, times, search, refusals."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch

from aural import (
    AuralProcessor,
    LogMelFeatureExtractor,
    Transcriber,
    load_recognizer,
    load_tagger,
    train_tokenizer,
    transcribe,
)
from aural.ctc_recognition import lexicon_words
from aural.decoding import ngram_of_texts
from aural.long_audio import transcribe_long
from aural.processing.ctc_search import ctc_prefix_search
from aural.processing.lexicon import Lexicon
from aural.processing.ngram_training import train_ngram
from aural.recognition import recognize_batch
from tests.test_cli import run
from tests.tiny import tiny_las
from tests.tiny_spectrogram import tiny_spectrogram
from tests.tones import RATE, TEXTS, save_tones, spoken, sung, tone_model, tone_processor
from tests.whole import save_folder, save_tagger, wave

SPECIAL = (1, 2, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tones(tmp_path_factory.mktemp("tones"))


def noisy(text, seed=0, amount=0.25):
    return sung(text) + np.random.default_rng(seed).normal(0, amount, len(sung(text))).astype(np.float32)


def log_probs_of(sound):
    inputs = tone_processor()(audio=sound, sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        return tone_model()(**inputs).logits[0].log_softmax(-1)


def test_texts_are_written_alone_and_together(folder):
    sounds = [sung(text) for text in TEXTS]
    assert [told.text for told in transcribe(sounds, folder)] == list(TEXTS)
    assert [transcribe(sound, folder)[0].text for sound in sounds] == list(TEXTS)
    model, processor = load_recognizer(folder)
    assert not model.training
    told = recognize_batch(sounds[:2], model, processor, sources=["one", "two"])
    assert [(one.source, one.text) for one in told] == [("one", TEXTS[0]), ("two", TEXTS[1])]


def test_words_and_letters_have_times_and_confidence(folder):
    for text in TEXTS:
        told = transcribe(sung(text), folder)[0]
        assert [word.text for word in told.words] == text.split()
        for word, (_, start, end) in zip(told.words, spoken(text), strict=True):
            assert (word.start, word.end) == pytest.approx((start, end), abs=0.02)  # by the pauses, to 10 ms
            assert 0.5 < word.confidence <= 1
        assert "".join(one.text for one in told.token_times) == text
        borders = [edge for one in told.token_times for edge in (one.start, one.end)]
        assert borders == sorted(borders)
        assert told.tokens == tuple(text)
        assert told.seconds == pytest.approx(len(sung(text)) / RATE)
        assert told.seconds_per_frame == 0.04


def test_confidence_is_the_geometric_mean_of_the_highest_probabilities_on_the_path(folder):
    told, log_probs = transcribe(noisy("a son"), folder)[0], log_probs_of(noisy("a son"))
    best, path = log_probs.max(-1)
    highest, before = [], 0
    for value, token in zip(best.tolist(), path.tolist(), strict=True):
        if token and token == before:
            highest[-1] = max(highest[-1], value)
        elif token:
            highest.append(value)
        before = token
    assert told.confidence == pytest.approx(np.exp(np.mean(highest)), rel=1e-4)


def test_what_a_ctc_model_lacks_stays_empty(folder):
    told = transcribe(sung("seen"), folder)[0]
    assert told.alignment.shape == (0, 0)
    assert (told.coverage, told.troubles, told.alternatives) == (None, (), ())
    silence = transcribe(np.zeros(RATE, dtype=np.float32), folder)[0]
    assert (silence.text, silence.words, silence.tokens, silence.confidence) == ("", (), (), 1.0)


def test_beams_find_the_texts_of_the_prefix_search_with_their_scores(folder):
    sound = noisy("noon bee")
    symbols = tone_processor().tokenizer.convert_ids_to_tokens(range(11))
    expected: dict[str, float] = {}
    for one in ctc_prefix_search(log_probs_of(sound), beams=8, nbest=8, excluded=SPECIAL):
        expected.setdefault("".join(symbols[token] for token in one.ids).strip(), one.score)
    told = transcribe(sound, folder, num_beams=8, nbest=3)[0]
    assert [text for text, _ in told.alternatives] == list(expected)[:3]
    assert [score for _, score in told.alternatives] == pytest.approx(list(expected.values())[:3], abs=1e-4)
    assert told.text == told.alternatives[0][0]
    assert [word.text for word in told.words] == told.text.split()
    for wrong, beams in ((9, 8), (0, 8), (2, 1)):
        with pytest.raises(ValueError, match=f"nbest={wrong} must be in 1 to num_beams={beams}"):
            transcribe(sound, folder, nbest=wrong, num_beams=beams)


def test_an_ngram_has_its_say_by_file_or_object(folder, tmp_path):
    ngram = ngram_of_texts(["a nose"] * 3 + ["a son"], tone_processor().tokenizer, 4)
    ngram.write(tmp_path / "n.arpa")
    sound = sung("a none")
    assert transcribe(sound, folder)[0].text == "a none"
    expected = ctc_prefix_search(
        log_probs_of(sound),
        symbols=tone_processor().tokenizer.convert_ids_to_tokens(range(11)),
        ngram=ngram,
        ngram_weight=8.0,
        excluded=SPECIAL,
    )[0]
    for given in (tmp_path / "n.arpa", str(tmp_path / "n.arpa"), ngram):
        told = transcribe(sound, folder, ngram=given, ngram_weight=8.0)[0]
        assert told.text == "".join(expected.tokens)
    assert told.text != "a none"


def test_hot_words_lead_the_search(folder):
    sound = sung("a nee") + 0.6 * sung("a son")  # two songs at once: one is louder
    plain = transcribe(sound, folder, num_beams=64)[0].text
    wanted = transcribe(sound, folder, num_beams=64, hot_words={"son": 60.0})[0].text
    assert "son" not in plain.split()
    assert "son" in wanted.split()
    assert transcribe(sound, folder, num_beams=64, hot_words=["son"], hot_word_bias=60.0)[0].text == wanted


def test_a_lexicon_lets_only_its_words_be_written_with_their_times(folder, tmp_path):
    words = {"SEEN": ["seen"], "ON": ["on"], "BEE": ["be", "bee"]}
    Lexicon({word: map(tuple, spellings) for word, spellings in words.items()}).write(tmp_path / "l.txt")
    told = transcribe(sung("seen on bee"), folder, lexicon=tmp_path / "l.txt")[0]
    assert told.text == "SEEN ON BEE"
    assert [word.text for word in told.words] == ["SEEN", "ON", "BEE"]
    for word, (_, start, end) in zip(told.words, spoken("seen on bee"), strict=True):
        assert (word.start, word.end) == pytest.approx((start, end), abs=0.02)
    assert set(transcribe(sung("abba on sea"), folder, lexicon=tmp_path / "l.txt")[0].text.split()) <= set(words)


def test_an_ngram_and_hot_words_of_a_lexicon_are_over_its_words(folder, tmp_path):
    lexicon = Lexicon({"seen": [tuple("seen")], "scene": [tuple("seen")], "on": [tuple("on")]})
    for wanted in ("seen", "scene"):
        train_ngram([[wanted, "on"]] * 5 + [["on", "seen"], ["on", "scene"]], 2).write(tmp_path / "w.arpa")
        told = transcribe(sung("seen on"), folder, lexicon=lexicon, ngram=tmp_path / "w.arpa", ngram_weight=1.0)[0]
        assert told.text == f"{wanted} on"
        assert transcribe(sung("seen on"), folder, lexicon=lexicon, hot_words=[wanted])[0].text == f"{wanted} on"


def test_words_of_a_lexicon_are_found_in_their_symbols_with_and_without_a_separator():
    lexicon = Lexicon({"ab": [("a", "b")], "a": [("a",)], "bc": [("b", "c"), ("b",)]})
    found = lexicon_words(["a", "bc", "ab"], list("a|b|ab"), lexicon)
    assert [(one.text, one.first, one.last) for one in found] == [("a", 0, 1), ("bc", 2, 3), ("ab", 4, 6)]
    found = lexicon_words(["a", "bc", "ab"], list("abcab"), lexicon)
    assert [(one.text, one.first, one.last) for one in found] == [("a", 0, 1), ("bc", 1, 3), ("ab", 3, 5)]
    assert lexicon_words([], [], lexicon) == []


def test_a_long_recording_is_heard_stretch_by_stretch(folder):
    pause = np.zeros(RATE, dtype=np.float32)
    sound = np.concatenate([part for text in TEXTS for part in (sung(text), pause)])
    told = transcribe(sound, folder, max_seconds=3.0)[0]
    assert told.text == " ".join(TEXTS)
    model, processor = load_recognizer(folder)
    segments = list(transcribe_long(sound, model, processor, max_seconds=3.0))
    assert [segment.text for segment in segments] == list(TEXTS)
    at = 0.0
    for text, segment in zip(TEXTS, segments, strict=True):
        for word, (_, start, end) in zip(segment.words, spoken(text), strict=True):
            assert (word.start, word.end) == pytest.approx((at + start, at + end), abs=0.03)
        at += len(sung(text)) / RATE + 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lm": "somewhere"}, "lm is not for CTC models, which take num_beams, ngram"),
        ({"ctc_weight": 0.3}, "ctc_weight is not for CTC models"),
        ({"ngram_weight": 0.3}, "ngram_weight=0.3 weights an n-gram, and ngram is None"),
        ({"hot_words": ["xyz"]}, "words hold 'xyz', which has symbols that the tokenizer does not know"),
    ],
)
def test_options_that_do_not_fit_are_refused(folder, options, message):
    with pytest.raises(ValueError, match=message):
        transcribe(sung("a"), folder, **options)


def test_options_of_ctc_are_refused_by_a_speller(tmp_path):
    processor = AuralProcessor(LogMelFeatureExtractor(num_mel_bins=6), train_tokenizer(["abcd "]))
    with pytest.raises(ValueError, match="lexicon is for CTC models; LasForConditionalGeneration writes by a decoder"):
        transcribe(wave(0.3), tiny_las(), processor, lexicon=tmp_path / "l.txt")


def test_an_ngram_over_other_symbols_is_refused(folder, tmp_path):
    ngram_of_texts(["xyz"], train_tokenizer(["xyz"]), 2).write(tmp_path / "n.arpa")
    with pytest.raises(ValueError, match="none of which is among the recogniser's tokens; `aural ngram` makes one"):
        transcribe(sung("a"), folder, ngram=tmp_path / "n.arpa")
    with pytest.raises(ValueError, match="none of which is among the lexicon's words"):
        transcribe(sung("a"), folder, ngram=tmp_path / "n.arpa", lexicon=Lexicon.spelled(["on"]))


def test_a_model_that_does_not_write_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="SpectrogramTransformerForAudioClassification, which does not recognise"):
        transcribe(sung("a"), tiny_spectrogram(), tone_processor())
    save_tagger(tmp_path / "tagger")
    with pytest.raises(ValueError, match="which is not for `aural transcribe`; `aural tag` is the command for it"):
        load_recognizer(tmp_path / "tagger")


def changed(folder, tmp_path, file, **changes):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / file).write_text(json.dumps({**json.loads((copy / file).read_text()), **changes}))
    return copy


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 12}, "tokenizer has 11 symbols but the model's vocab_size is 12"),
        ({"sampling_rate": 8000}, "feature extractor takes 16000 Hz but the model's sampling_rate is 8000"),
        ({"num_mel_bins": 16, "patch_size": [16, 4]}, "gives 8 mels but the model takes 16"),
        ({"patch_stride": [8, 5], "patch_size": [8, 5]}, "needs a column every 4 frames at most"),
    ],
)
def test_a_folder_whose_parts_do_not_fit_is_refused(folder, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        load_recognizer(changed(folder, tmp_path, "config.json", **changes))


def test_a_ctc_folder_is_not_for_tagging(folder):
    with pytest.raises(
        ValueError, match="holds a SpectrogramTransformerForCTC, which is not for `aural tag`; `aural transcribe`"
    ):
        load_tagger(folder)


def test_the_command_writes_texts_and_words_and_takes_ngram_lexicon_and_hot_words(
    folder, tmp_path, capsys, monkeypatch
):
    for index, text in enumerate(("seen on", "a son")):
        soundfile.write(tmp_path / f"{index}.wav", sung(text), RATE, subtype="FLOAT")
    files = [tmp_path / "0.wav", tmp_path / "1.wav"]
    code, out, _ = run(capsys, monkeypatch, "transcribe", *files, "--model", folder)
    assert (code, out) == (0, f"{files[0]}: seen on\n{files[1]}: a son\n")
    _, out, _ = run(capsys, monkeypatch, "transcribe", files[0], "--model", folder, "--format", "json")
    assert [word["text"] for word in json.loads(out)["words"]] == ["seen", "on"]
    (tmp_path / "texts.txt").write_text("seen on\na son\n")
    arpa, words = tmp_path / "n.arpa", tmp_path / "l.txt"
    assert run(capsys, monkeypatch, "ngram", tmp_path / "texts.txt", "--model", folder, "--out", arpa)[0] == 0
    Lexicon({"SEEN": [tuple("seen")], "ON": [tuple("on")]}).write(words)
    for options, text in (
        (["--ngram", arpa, "--beams", "4"], "seen on"),
        (["--hot-word", "on=3"], "seen on"),
        (["--lexicon", words], "SEEN ON"),
    ):
        assert run(capsys, monkeypatch, "transcribe", files[0], "--model", folder, *options)[:2] == (0, text + "\n")
    code, _, err = run(capsys, monkeypatch, "transcribe", files[0], "--model", folder, "--ctc-weight", "0.5")
    assert code == 2
    assert "ctc_weight is not for CTC models" in err
    code, _, err = run(
        capsys, monkeypatch, "transcribe", files[0], "--model", save_folder(tmp_path / "las"), "--lexicon", words
    )
    assert code == 2
    assert "lexicon is for CTC models" in err


def test_corpora_are_written_as_files_are(folder):
    sounds = [sung("a son"), sung("seen on")]
    found = Transcriber(folder)({"audio": [{"array": sound, "sampling_rate": RATE} for sound in sounds]})
    assert found["predicted_text"] == ["a son", "seen on"]
    searched = Transcriber(folder, num_beams=4, hot_words=["son"])
    assert searched({"audio": [{"array": sounds[0], "sampling_rate": RATE}]})["predicted_text"] == ["a son"]
