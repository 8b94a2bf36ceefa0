"""Rooms, noise and levels of synthetic speech, measured on the signals themselves."""

import dataclasses

import numpy as np
import pytest

from aural.training.synthetic_rooms import Setting, draw_setting, noise_of, recorded, room_response

PLAIN = Setting(
    pace=1.0, pitch=1.0, reverberation=None, direct=6.0, noise=60.0, colour=0.0, telephone=False, peak=-6.0
)


def tone(frequency: float, seconds: float = 1.0, rate: int = 16_000) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate).astype(np.float32)


def loudest(audio: np.ndarray) -> float:
    """The frequency with the most power, in Hz."""
    return float(np.argmax(np.abs(np.fft.rfft(audio))) * 16_000 / len(audio))


def record(audio: np.ndarray, rate: int = 16_000, **changes) -> np.ndarray:
    return recorded(audio, rate, dataclasses.replace(PLAIN, **changes), np.random.default_rng(0))


def test_pitch_moves_frequencies_and_shortens_by_the_same_factor():
    audio = record(tone(500, rate=22_050), 22_050, pitch=1.1)
    assert audio.dtype == np.float32
    assert len(audio) == pytest.approx(16_000 / 1.1, abs=2)
    assert loudest(audio) == pytest.approx(550, abs=2)


def test_noise_stands_so_many_db_below_the_speech():
    wave = tone(500)
    for colour in (0.0, 2.0):
        audio = record(wave, noise=20.0, colour=colour)
        part = wave * (audio @ wave) / (wave @ wave)  # what of the recording is speech
        ratio = 10 * np.log10(np.sum(part**2) / np.sum((audio - part) ** 2))
        assert ratio == pytest.approx(20.0, abs=0.3)


def test_colour_is_the_slope_of_the_noise():
    for colour in (0.0, 1.0, 2.0):
        noise = noise_of(160_000, colour, np.random.default_rng(1))
        assert np.mean(noise**2) == pytest.approx(1.0)
        power = np.abs(np.fft.rfft(noise)) ** 2
        octaves = [np.mean(power[low:high]) for low, high in ((5_000, 10_000), (20_000, 40_000))]  # 0.5 and 2 kHz up
        assert np.log2(octaves[0] / octaves[1]) == pytest.approx(2 * colour, abs=0.15)


def test_room_dies_away_by_60_db_and_stands_below_the_direct_sound():
    response = room_response(0.4, 6.0, np.random.default_rng(2))
    assert response[0] == 1.0
    assert len(response) == 6_400
    assert 10 * np.log10(1 / np.sum(response[1:] ** 2)) == pytest.approx(6.0)
    early, late = np.mean(response[800:1_600] ** 2), np.mean(response[4_000:4_800] ** 2)  # 0.2 s apart: half of 0.4 s
    assert 10 * np.log10(early / late) == pytest.approx(30.0, abs=1.5)


def test_room_rings_on_after_the_speech():
    click = np.zeros(1_600, dtype=np.float32)
    click[0] = 1.0
    assert len(record(click)) == 1_600
    assert len(record(click, reverberation=0.5, direct=0.0)) > 3_000


def test_telephone_takes_what_lies_above_4_khz():
    both = tone(1_000) + tone(6_000)
    spectrum = np.abs(np.fft.rfft(record(both, telephone=True)))
    assert spectrum[6_000] < 1e-2 * spectrum[1_000]
    spectrum = np.abs(np.fft.rfft(record(both)))
    assert spectrum[6_000] == pytest.approx(spectrum[1_000], rel=0.05)


def test_peak_is_what_was_drawn_and_nothing_clips():
    for peak in (-20.0, -1.0):
        audio = record(5 * tone(300), noise=0.0, peak=peak)
        assert np.abs(audio).max() == pytest.approx(10 ** (peak / 20), rel=1e-5)


@pytest.mark.parametrize("audio", [np.zeros(100, np.float32), np.zeros(0, np.float32)])
def test_silence_is_refused(audio):
    with pytest.raises(ValueError, match="said nothing"):
        record(audio)


def test_settings_are_drawn_within_their_bounds_and_repeat():
    settings = [draw_setting(np.random.default_rng(seed)) for seed in range(400)]
    assert settings[7] == draw_setting(np.random.default_rng(7))
    assert np.mean([setting.reverberation is not None for setting in settings]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([setting.telephone for setting in settings]) == pytest.approx(0.25, abs=0.1)
    for name, low, high in (("pace", 0.85, 1.2), ("pitch", 0.89, 1.13), ("noise", 10, 40), ("peak", -20, -1)):
        values = [getattr(setting, name) for setting in settings]
        assert low <= min(values) < max(values) <= high
