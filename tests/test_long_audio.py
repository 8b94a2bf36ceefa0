"""Recordings of any length to text, with hand-made recognisers and tiny models; the demo's proof is in
`test_long_strings.py`."""

import io

import numpy as np
import pytest
import soundfile
import torch

from aural import AuralProcessor, LogMelFeatureExtractor, train_tokenizer, transcribe
from aural.long_audio import (
    MAX_SECONDS,
    LongRecording,
    is_long,
    longest_stretch,
    make_detector,
    one_transcript,
    transcribe_long,
    transcribe_recordings,
)
from aural.processing.alignment import TimedWord
from aural.processing.pauses import Cutting
from aural.processing.segments import Segment
from aural.processing.stitching import stitched
from aural.transcript import Transcript
from tests.processing.test_pauses import noise, voice
from tests.tiny import tiny_las
from tests.whole import wave

RATE = 16_000


@pytest.fixture(scope="module")
def processor():
    return AuralProcessor(LogMelFeatureExtractor(num_mel_bins=6), train_tokenizer(["abcd "]))


@pytest.fixture(scope="module")
def model():
    model = tiny_las()
    model.generation_config.max_tokens_per_second = 3
    model.generation_config.num_beams = 1
    return model


def bells(count: int, every: float = 1.0) -> np.ndarray:
    """Bells without a pause: tone i, every second another, fades into the next one; loud noise under all."""
    time = np.arange(round(every * RATE)) / RATE
    tones = [0.5 * np.sin(2 * np.pi * (300 + 40 * i) * time) for i in range(count)]
    return (np.concatenate(tones) + noise(count * every, 0.1)).astype(np.float32)


def hears_bells(waves: list[np.ndarray]) -> list[Transcript]:
    """A recogniser of `bells`: a word for each tone of which it hears 0.3 s or more, `b0`, `b1`, …"""
    results = []
    for sound in waves:
        frames = sound[: len(sound) // 1600 * 1600].reshape(-1, 1600)
        spectra = np.abs(np.fft.rfft(frames, RATE, axis=1))
        tones = np.round((spectra[:, 250:3000].argmax(axis=1) + 250 - 300) / 40).astype(int)
        words = []
        for tone in sorted(set(tones.tolist())):
            at = np.flatnonzero(tones == tone)
            if len(at) >= 3:
                words.append(TimedWord(f"b{tone}", at[0] / 10, (at[-1] + 1) / 10, 0.9))
        text = " ".join(word.text for word in words)
        seconds = len(sound) / RATE
        results.append(Transcript(text, seconds, "", torch.zeros(0, 0), (), 0.0, tuple(words), 0.5))
    return results


def heard(recording: LongRecording, done=()) -> list[Segment]:
    return [segment for batch in recording.batches(done) for segment in batch]


def test_overlapping_windows_give_every_word_once_at_its_time():
    recording = LongRecording(bells(40), hears_bells, RATE, Cutting(max_seconds=7.7, overlap=2.3), batch_size=3)
    raw = heard(recording)
    assert len(raw) > 5
    assert all(segment.overlap == pytest.approx(2.3) for segment in raw[1:])
    found = list(stitched(raw))
    assert " ".join(segment.text for segment in found) == " ".join(f"b{i}" for i in range(40))
    words = [word for segment in found for word in segment.words]
    assert max(abs(word.start - i) + abs(word.end - i - 1) for i, word in enumerate(words)) < 0.25
    assert recording.seconds == 40


def test_a_recording_that_is_taken_at_once_is_heard_whole():
    waves = []

    def recognize(batch):
        waves.extend(batch)
        return hears_bells(batch)

    sound = np.concatenate([noise(3), voice(2), noise(3)])
    (segment,) = heard(LongRecording(sound, recognize, RATE, Cutting(max_seconds=8)))
    np.testing.assert_array_equal(waves[0], sound)
    assert (segment.start, segment.end, segment.overlap) == (0, 8, 0)


def test_silence_is_not_decoded():
    def recognize(batch):
        raise AssertionError("decoded")

    assert heard(LongRecording(noise(30), recognize, RATE, Cutting())) == []


def spoken(seed: int = 0, parts: int = 6) -> np.ndarray:
    """About `parts` times 4 s of sound like speech, with pauses."""
    pairs = [(voice(2 + i % 3, seed + 2 * i), noise(1.1, seed=seed + i)) for i in range(parts)]
    return np.concatenate([part for pair in pairs for part in pair])


def test_stretches_are_decoded_as_they_are_alone_with_times_of_the_recording(model, processor):
    sound = spoken()
    segments = list(transcribe_long(sound, model, processor, batch_size=2, max_seconds=6))
    assert len(segments) == 6
    for segment in segments:
        part = sound[round(segment.start * RATE) : round(segment.end * RATE)]
        alone = transcribe(part, model, processor)[0]
        assert segment.text == alone.text
        assert segment.confidence == pytest.approx(alone.confidence, abs=1e-4)
        assert all(segment.start - 1e-6 <= word.start <= word.end <= segment.end + 0.1 for word in segment.words)


def test_a_short_recording_is_one_segment_with_the_text_of_transcribe(model, processor):
    sound = wave(1.5)
    (segment,) = transcribe_long(sound, model, processor)
    assert segment.text == transcribe(sound, model, processor)[0].text


def test_options_reach_generate_and_progress_is_told(model, processor):
    told: list[tuple] = []
    segments = list(
        transcribe_long(
            spoken(), model, processor, 4, 6.0, progress=lambda *heard: told.append(heard), max_new_tokens=2
        )
    )
    assert all(len(segment.text) <= 2 for segment in segments)
    assert [length for _, length in told] == [len(spoken()) / RATE] * 2
    assert told[-1][0] == segments[-1].end


def test_a_model_without_attention_gets_words_spread_over_their_segment(processor):
    model = tiny_las(attention_kind="none")
    for segment in transcribe_long(spoken(parts=5), model, processor, max_seconds=6, num_beams=1, max_new_tokens=9):
        assert [word.text for word in segment.words] == segment.text.split()
        if segment.words:
            assert segment.words[0].start == pytest.approx(segment.start)
            assert segment.words[-1].end == pytest.approx(segment.end)


def test_a_run_goes_on_from_what_is_done_without_decoding_it_again():
    cutting, sound = Cutting(max_seconds=7.7, overlap=2.3), bells(40)
    whole = list(LongRecording(sound, hears_bells, RATE, cutting, batch_size=2).batches())
    done = [segment for batch in whole[:2] for segment in batch]
    rest = list(LongRecording(sound, hears_bells, RATE, cutting, batch_size=2).batches(done))
    assert rest == whole[2:]
    with pytest.raises(ValueError, match="it is of another recording, or was cut otherwise"):
        heard(LongRecording(sound, hears_bells, RATE, Cutting(max_seconds=9)), done)
    with pytest.raises(ValueError, match="cut to nothing"):
        heard(LongRecording(noise(30), hears_bells, RATE, cutting), done)


def test_what_a_model_takes_at_once_is_its_own_or_asked_for():
    model = tiny_las()
    assert longest_stretch(model) == MAX_SECONDS
    model.generation_config.max_seconds = 8
    assert longest_stretch(model) == 8
    assert longest_stretch(model, 20) == 20
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="max_seconds="):
            longest_stretch(model, wrong)


def test_length_is_told_without_decoding(tmp_path):
    soundfile.write(tmp_path / "a.flac", wave(2.0), RATE)
    assert is_long(tmp_path / "a.flac", RATE, 1.9)
    assert not is_long(tmp_path / "a.flac", RATE, 2.0)
    assert is_long(wave(2.0), RATE, 1.0)
    flac = io.BytesIO()
    soundfile.write(flac, wave(1.0), RATE, format="FLAC")
    stream = bytearray(flac.getvalue())
    stream[21] &= 0xF0  # the number of samples, 36 bits, is 0 for unknown
    stream[22:26] = bytes(4)
    assert is_long(bytes(stream), RATE, 100)
    with pytest.raises(FileNotFoundError):
        is_long(tmp_path / "b.flac", RATE, 1)
    with pytest.raises(ValueError, match="empty"):
        is_long(b"", RATE, 1)


def test_detectors_go_by_name(monkeypatch):
    with pytest.raises(ValueError, match="vad='loud' must be one of energy, silero"):
        make_detector("loud", RATE)
    monkeypatch.setattr("aural.processing.silero.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install silero-vad"):
        make_detector("silero", RATE)
    with pytest.raises(ValueError, match="not 44100"):
        make_detector("silero", 44_100)
    with pytest.raises(ValueError, match="batch_size=0"):
        LongRecording(noise(1), hears_bells, RATE, Cutting(), batch_size=0)


def test_one_transcript_holds_all_segments():
    words = (TimedWord("a", 0.0, 1.0, 0.5), TimedWord("bc", 5.0, 6.0, 0.5))
    segments = [Segment(0, 1, "a", words[:1], 0.25), Segment(2, 3, ""), Segment(5, 6, "bc", words[1:], 1.0)]
    whole = one_transcript(segments, 7.0, "a.wav")
    assert (whole.text, whole.words, whole.seconds, whole.source) == ("a bc", words, 7.0, "a.wav")
    assert whole.confidence == pytest.approx(0.25 ** (1 / 4))  # a letter, an empty text, two letters
    assert one_transcript([], 7.0, "a.wav").text == ""


def test_recordings_short_and_long_come_back_in_order(tmp_path):
    soundfile.write(tmp_path / "long.flac", bells(20), RATE)
    soundfile.write(tmp_path / "short.wav", bells(3), RATE)
    opened = io.BytesIO((tmp_path / "long.flac").read_bytes())
    batches = []

    def recognize(waves, names):
        batches.append([(round(len(one) / RATE), name) for one, name in zip(waves, names, strict=True)])
        return hears_bells(waves)

    sources = [tmp_path / "short.wav", tmp_path / "long.flac", bells(4), opened, bells(5)]
    found = transcribe_recordings(sources, recognize, RATE, 7.7, batch_size=2)
    assert [len(one.text.split()) for one in found] == [3, 20, 4, 20, 5]
    assert [one.text.split()[-1] for one in found] == ["b2", "b19", "b3", "b19", "b4"]
    assert [round(one.seconds, 1) for one in found] == [3, 20, 4, 20, 5]
    assert found[1].source == str(tmp_path / "long.flac")
    assert found[3].source == "audio 3"
    assert [(3, str(sources[0])), (4, "audio 2")] in batches
    assert found[1].words[10].start == pytest.approx(10, abs=0.15)


def test_transcribe_takes_recordings_of_any_length():
    processor = AuralProcessor(LogMelFeatureExtractor(num_mel_bins=6), train_tokenizer(["abcd "]))
    model, sound, options = tiny_las(), spoken(), {"num_beams": 1, "max_new_tokens": 5}
    long, short = transcribe([sound, wave(1.0)], model, processor, max_seconds=6, **options)
    segments = list(transcribe_long(sound, model, processor, max_seconds=6, **options))
    assert long.text == " ".join(segment.text for segment in segments if segment.text)
    assert long.words == tuple(word for segment in segments for word in segment.words)
    assert (long.source, long.seconds) == ("audio 0", len(sound) / RATE)
    assert short.text == transcribe(wave(1.0), model, processor, **options)[0].text
