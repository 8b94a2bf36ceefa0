"""Random equaliser: a smooth curve in dB over frequency, the same in every frame."""

import numpy as np
import pytest

from aural.training.augmentation import InTurn, RandomEqualizer, RandomGain, RandomNoise, RandomSpeed


def test_the_curve_is_linear_between_its_points_and_as_strong_as_asked_for():
    features = np.random.default_rng(0).normal(size=(7, 11)).astype(np.float32)
    curves = []
    for seed in range(3000):
        changed = RandomEqualizer(6.0, std=2.0, points=6)(features, np.random.default_rng(seed)) - features
        np.testing.assert_allclose(changed, np.broadcast_to(changed[:1], changed.shape), atol=1e-5)
        curves.append(changed[0])
    curves = np.stack(curves)
    np.testing.assert_allclose(
        curves[:, 1], (curves[:, 0] + curves[:, 2]) / 2, atol=1e-5
    )  # 11 mels, points at even ones
    nepers = 6.0 * np.log(10) / 10 / 2.0  # log-mel features are natural logs of energy, divided by std
    assert curves[:, 0].std() == pytest.approx(nepers, rel=0.05)


def test_the_same_generator_gives_the_same_curve_in_float32():
    features = np.zeros((2, 8), np.float32)
    one, other = (RandomEqualizer(3.0)(features, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert one.dtype == np.float32


def test_impossible_curves_are_refused():
    for options in ({"db": -1.0}, {"db": 1.0, "std": 0.0}, {"db": 1.0, "points": 1}):
        with pytest.raises(ValueError, match="allowed are 0 up, above 0, 2 up"):
            RandomEqualizer(**options)


def test_speed_resamples_by_each_factor_alike_often():
    wave = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000).astype(np.float32)
    change = RandomSpeed((0.8, 1.0, 1.25))
    lengths = [len(change(wave, np.random.default_rng(seed))) for seed in range(300)]
    assert {round(16_000 / length, 2) for length in lengths} == {0.8, 1.0, 1.25}
    assert all(80 < lengths.count(length) < 120 for length in set(lengths))
    faster = RandomSpeed((1.25,))(wave, np.random.default_rng(0))  # 440 Hz becomes 550
    peak = np.abs(np.fft.rfft(faster[:12_000])).argmax() * 16_000 / 12_000
    assert peak == pytest.approx(550, abs=1.5)


def test_gain_scales_the_whole_wave_by_decibels_with_the_given_deviation():
    wave = np.linspace(-1, 1, 9, dtype=np.float32)
    decibels = []
    for seed in range(2000):
        louder = RandomGain(4.0)(wave, np.random.default_rng(seed))
        np.testing.assert_allclose(louder / louder[-1], wave, atol=1e-6)
        decibels.append(20 * np.log10(louder[-1]))
    assert np.std(decibels) == pytest.approx(4.0, rel=0.05)
    assert louder.dtype == np.float32


def test_noise_is_added_at_the_drawn_ratio():
    wave = np.sin(np.arange(40_000, dtype=np.float32))
    ratios = []
    for seed in range(40):
        noise = RandomNoise(10.0, 20.0)(wave, np.random.default_rng(seed)) - wave
        ratios.append(10 * np.log10(np.mean(wave.astype(float) ** 2) / np.mean(noise.astype(float) ** 2)))
    assert 9.8 < min(ratios) < 12 and 18 < max(ratios) < 20.2


def test_changes_follow_one_another_with_one_generator():
    wave = np.ones(8, np.float32)
    both = InTurn([RandomGain(3.0), RandomGain(3.0)])(wave, np.random.default_rng(5))
    generator = np.random.default_rng(5)
    np.testing.assert_allclose(both, wave * 10 ** (generator.normal(0, 3, 2).sum() / 20), rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomSpeed(()),
        lambda: RandomSpeed((1.0, 0.0)),
        lambda: RandomGain(-1.0),
        lambda: RandomNoise(20.0, 10.0),
    ],
)
def test_impossible_changes_of_waveforms_are_refused(make):
    with pytest.raises(ValueError, match=r"expected|must be"):
        make()
