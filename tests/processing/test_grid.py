"""The grid of patches in seconds and Hz."""

import numpy as np
import pytest

from aural import LogMelFeatureExtractor, SpectrogramTransformerConfig
from aural.processing.grid import patch_grid
from aural.processing.log_mel import mel_edges, mel_filters

AST = {"num_mel_bins": 128, "window_type": "hanning", "waveform_scale": 1.0}


def test_seconds_are_those_of_the_frames_a_patch_covers():
    grid = patch_grid(SpectrogramTransformerConfig(), LogMelFeatureExtractor(**AST), 1024)
    assert grid.seconds.shape == (101, 2)
    # Frame t is centred on 12.5 ms + t * 10 ms and speaks for 10 ms; patch k covers frames 10 k to 10 k + 15.
    np.testing.assert_allclose(grid.seconds[0], [0.0075, 0.1675])
    np.testing.assert_allclose(grid.seconds[40], [4.0075, 4.1675])


def test_hertz_are_the_edges_of_the_filters_a_patch_covers():
    extractor = LogMelFeatureExtractor(**AST)
    grid = patch_grid(SpectrogramTransformerConfig(), extractor, 100)
    top = 1127 * np.log(1 + 8000 / 700)
    bottom = 1127 * np.log(1 + 20 / 700)

    def point(i: int) -> float:
        return 700 * (np.exp((bottom + (top - bottom) * i / 129) / 1127) - 1)

    assert grid.hertz.shape == (12, 2)
    np.testing.assert_allclose(grid.hertz[0], [20, point(17)])
    np.testing.assert_allclose(grid.hertz[11], [point(110), point(127)])


def test_edges_hold_all_that_a_filter_hears():
    options = LogMelFeatureExtractor(num_mel_bins=40).options
    filters, edges = mel_filters(options).numpy(), mel_edges(options)
    frequencies = np.arange(filters.shape[0]) * 16_000 / options.fft_length
    for mel in range(40):
        heard = frequencies[filters[:, mel] > 0]
        assert edges[mel, 0] <= heard.min()
        assert heard.max() <= edges[mel, 1]


def test_another_number_of_mels_is_refused():
    with pytest.raises(ValueError, match="the model takes 128 mels, the feature extractor gives 80"):
        patch_grid(SpectrogramTransformerConfig(), LogMelFeatureExtractor(), 100)
