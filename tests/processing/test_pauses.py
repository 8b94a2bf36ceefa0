"""Where long recordings are cut."""

import itertools

import numpy as np
import pytest

from aural.processing.pauses import Cutting, Stretch, speech_stretches
from aural.processing.speech_energy import LULL, SPEECH, EnergyDetector

RATE = 16_000


def noise(seconds: float, level: float = 1e-3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE)).astype(np.float32)


def voice(seconds: float, seed: int = 0, level: float = 0.2) -> np.ndarray:
    """Sound like syllables: five bursts a second, 80 ms of near silence between."""
    time = np.arange(round(seconds * RATE)) / RATE
    burst = (time * 5) % 1 < 0.6
    return (noise(seconds, level, seed) * burst + noise(seconds, 1e-3, seed + 1)).astype(np.float32)


def cut(wave: np.ndarray, **options: float) -> list[Stretch]:
    return list(speech_stretches([wave], RATE, Cutting(**options)))


def spans(stretches: list[Stretch]) -> list[tuple[float, float]]:
    return [(stretch.start_seconds, stretch.end_seconds) for stretch in stretches]


def joined(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts)


def test_stretches_are_the_speech_between_pauses_with_a_little_silence():
    found = cut(joined(noise(3), voice(2), noise(1.5, seed=2), voice(3, 3), noise(2, seed=4)))
    assert np.abs(np.array(spans(found)) - [(2.6, 5.4), (6.1, 9.9)]).max() < 0.08
    assert [stretch.overlap for stretch in found] == [0, 0]


def test_a_stretch_holds_the_samples_of_its_place():
    wave = joined(noise(3), voice(2), noise(1.5, seed=2), voice(3, 3))
    for stretch in cut(wave):
        np.testing.assert_array_equal(stretch.audio, wave[stretch.start : stretch.end])


def test_the_rest_of_the_last_frame_is_not_lost():
    wave = joined(noise(1), voice(2))[: 3 * RATE - 37]
    assert cut(wave)[-1].end == len(wave)


@pytest.mark.parametrize("size", [101, 7_919, 1 << 20])
def test_the_cuts_do_not_depend_on_the_blocks(size):
    parts = [part for i in range(12) for part in (voice(1 + i % 4, 2 * i), noise(0.2 + 0.1 * i, seed=i))]
    wave = joined(*parts)
    blocks = (wave[at : at + size] for at in range(0, len(wave), size))
    found = list(speech_stretches(blocks, RATE, Cutting(max_seconds=8)))
    assert spans(found) == spans(cut(wave, max_seconds=8))


@pytest.mark.parametrize("wave", [np.zeros(20 * RATE, np.float32), noise(20), noise(20, 1e-2)])
def test_silence_and_steady_noise_hold_no_speech(wave):
    assert cut(wave) == []


def test_a_click_is_no_word_and_a_short_word_is():
    tick = noise(0.02, 0.3)
    assert cut(joined(noise(5), tick, noise(5, seed=1))) == []
    assert len(cut(joined(noise(5), voice(0.2), noise(5, seed=1)))) == 1


def test_no_speech_is_left_out_when_the_noise_rises():
    words = [(voice(1.5, i), noise(1.2, 1e-3 * 10 ** (i / 10), seed=i)) for i in range(16)]  # 30 dB in 43 s
    wave = joined(*(part for pair in words for part in pair))
    found = spans(cut(wave))
    starts = [2.7 * i for i in range(16)]
    for start in starts:
        assert any(begin <= start + 0.01 and start + 1.49 <= end for begin, end in found), start
    assert len(found) > 10


def test_loud_sound_is_never_silence():
    found = cut(noise(40, 0.2), max_seconds=10)
    assert found[0].start == 0
    assert found[-1].end == 40 * RATE
    assert all(after.start <= before.end for before, after in itertools.pairwise(found))


def test_no_stretch_is_too_long_and_the_longest_pause_is_where_it_is_cut():
    wave = joined(
        voice(5), noise(0.25), voice(4, 2), noise(0.4, seed=3), voice(4, 4), noise(0.25, seed=5), voice(6, 6)
    )
    found = cut(wave, max_seconds=15, pause=0.5)
    assert len(found) == 2
    assert abs(found[0].end_seconds - 9.45) < 0.2  # in the pause of 0.4 s
    assert found[1].start <= found[0].end + 0.1 * RATE
    assert all(end - start <= 15 for start, end in spans(found))


def test_without_a_pause_windows_overlap():
    found = cut(noise(20, 0.2), max_seconds=8, overlap=2)
    assert spans(found) == [(0, 8), (6, 14), (12, 20)]
    assert [stretch.overlap for stretch in found] == [0, 2 * RATE, 2 * RATE]


def test_a_pause_of_a_second_ends_even_a_short_stretch_and_a_shorter_one_does_not():
    word = voice(0.4)
    apart = joined(noise(2), word, noise(1.6, seed=1), voice(3, 2), noise(2, seed=3))
    near = joined(noise(2), word, noise(0.85, seed=1), voice(3, 2), noise(2, seed=3))
    assert len(cut(apart, min_seconds=2)) == 2
    assert len(cut(near, min_seconds=2)) == 1
    assert len(cut(near, min_seconds=0.3)) == 2


def test_a_lull_is_what_lies_far_below_both_sides_though_the_noise_moves():
    glide = (noise(1, 1.0) * np.linspace(0.02, 0.002, RATE)).astype(np.float32)
    before = (voice(6) + noise(6, 0.02, 5)).astype(np.float32)
    after = (voice(6, 2) + noise(6, 0.002, 6)).astype(np.float32)
    wave = joined(before, glide, after)
    detector = EnergyDetector(RATE)
    found = np.concatenate([detector.add(wave), detector.rest()])
    assert len(found) == 1300
    assert (found[605:695] != SPEECH).all()
    assert (found[605:640] == LULL).all()
    assert (found[:600] == SPEECH).mean() > 0.7


@pytest.mark.parametrize(
    "options",
    [
        *({name: 0.0} for name in ("max_seconds", "min_seconds", "pause", "overlap")),
        {"max_seconds": float("nan")},
        {"max_seconds": float("inf")},
        {"max_seconds": 3.0},
        {"min_seconds": 20.0},
    ],
)
def test_lengths_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError, match=r"must be"):
        Cutting(**options)


def test_usual_lengths_shrink_with_the_longest():
    assert Cutting.up_to(15) == Cutting()
    assert Cutting.up_to(2) == Cutting(2, 0.5, 0.7, 0.5)
    with pytest.raises(ValueError, match="max_seconds=-1"):
        Cutting.up_to(-1)
