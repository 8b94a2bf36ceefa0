"""Pauses by the network of silero-vad, where that package is installed; how its answers are told needs none."""

import numpy as np
import pytest

from aural.processing import silero
from aural.processing.pauses import Cutting, speech_stretches
from aural.processing.silero import SileroDetector
from aural.processing.speech_energy import SILENCE, SPEECH
from aural.training.clips import load_clips

RATE = 16_000


class Loud:
    """In place of the network: the probability is how loud a hearing is."""

    def __call__(self, wave, rate):
        assert wave.shape == (1, {16_000: 512, 8_000: 256}[rate])
        return wave.abs().mean()


@pytest.mark.parametrize("rate", [8_000, 16_000])
@pytest.mark.parametrize("size", [77, 5_000, 10**6])
def test_each_frame_is_told_what_the_hearing_around_its_middle_found(monkeypatch, rate, size):
    monkeypatch.setattr(silero, "load_network", Loud)
    hearing = 256 * rate // 8_000
    levels = np.array([0.1, 0.6, 0.4, 0.3, 0.4, 0.9, 0.0])  # between 0.35 and 0.5 it stays as it was
    wave = np.repeat(levels, hearing).astype(np.float32)[: -hearing // 2]
    detector = SileroDetector(rate)
    found = [detector.add(wave[at : at + size]) for at in range(0, len(wave), size)]
    told = np.concatenate([*found, detector.rest()])
    hop = rate // 100
    expected = np.array([SILENCE, SPEECH, SPEECH, SILENCE, SILENCE, SPEECH, SILENCE])
    middles = np.arange(len(wave) // hop) * hop + hop // 2
    np.testing.assert_array_equal(told, expected[middles // hearing])


def test_the_network_finds_words_between_noise_that_is_as_loud():
    pytest.importorskip("silero_vad", exc_type=ImportError)
    words = [clip.audio for clip in load_clips(("phonetic",))[:4]]
    rng = np.random.default_rng(0)
    level = np.float32(np.sqrt(np.mean(words[0] ** 2)) / 4)
    parts = [part for word in words for part in (np.zeros(2 * RATE, np.float32), word)]
    wave = np.concatenate([*parts, np.zeros(2 * RATE, np.float32)])
    wave = wave + level * rng.standard_normal(len(wave)).astype(np.float32)
    found = list(speech_stretches([wave], RATE, Cutting(), SileroDetector(RATE)))
    assert len(found) == 4
    at = 0
    for word, stretch in zip(words, found, strict=True):
        at += 2 * RATE
        middle = at + len(word) // 2
        assert stretch.start < middle < stretch.end
        at += len(word)
