"""Random equaliser: a smooth curve in dB over frequency, the same in every frame."""

import numpy as np
import pytest

from aural.training.augmentation import RandomEqualizer


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
