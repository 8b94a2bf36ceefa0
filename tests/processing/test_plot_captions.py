"""The picture of a caption: a panel per word over the seconds and Hz of the grid, under the sound."""

from types import SimpleNamespace

import numpy as np
import pytest

from aural.processing.grid import PatchGrid
from aural.processing.plot_captions import mel_of, plot_caption

GRID = PatchGrid(np.array([[0.0, 0.1], [0.1, 0.2], [0.2, 0.3]]), np.array([[100.0, 1000.0], [900.0, 6000.0]]))
FEATURES = np.random.default_rng(0).normal(size=(32, 8))
MAPS = [np.arange(6.0).reshape(2, 3) / 15, np.eye(2, 3)]


def words_panels(figure):
    return [axes for axes in figure.axes if axes.collections]


def test_every_word_has_a_panel_with_its_own_weights():
    figure = plot_caption(FEATURES, MAPS, ["a", "dog"], GRID, 0.01, title="what is heard")
    assert figure.axes[0].get_title("left") == "what is heard"
    panels = words_panels(figure)
    assert [panel.get_title("left") for panel in panels] == ["a", "dog"]
    for panel, weights in zip(panels, MAPS, strict=True):
        mesh = panel.collections[0]
        np.testing.assert_array_equal(mesh.get_array().reshape(2, 3), weights)
        assert mesh.get_clim() == (0, weights.max())
    assert [panel.get_title("right") for panel in panels] == ["33%", "100%"]  # the highest weight of each


def test_panels_lie_over_the_seconds_and_the_mel_scale_of_the_sound():
    figure = plot_caption(FEATURES, MAPS, ["a", "dog"], GRID, 0.01)
    sound, panel = figure.axes[0], words_panels(figure)[0]
    assert sound.images[0].get_extent() == pytest.approx([0, 0.32, mel_of(100), mel_of(6000)])
    assert panel.get_xlim() == (0, 0.32)
    corners = panel.collections[0].get_coordinates()  # (rows + 1, columns + 1, 2)
    np.testing.assert_allclose(corners[0, :, 0], [0, 0.1, 0.2, 0.3])
    np.testing.assert_allclose(corners[:, 0, 1], mel_of([100, 950, 6000]))  # rows that overlap meet midway
    np.testing.assert_allclose(panel.get_yticks(), mel_of([100, 500, 1000, 2000, 4000]))
    assert [label.get_text() for label in panel.get_yticklabels()] == ["0.1", "0.5", "1", "2", "4"]


def test_mels_are_those_of_the_features():
    assert float(mel_of(1000.0)) == pytest.approx(999.99, abs=0.01)
    assert float(mel_of(0.0)) == 0


def test_what_really_sounded_is_written_over_the_spectrogram():
    sounds = [SimpleNamespace(source=s, start=a, end=b) for s, a, b in (("dog", 0, 0.1), ("owl", 0.1, 0.2))]
    sounds.append(SimpleNamespace(source="dog", start=0.15, end=0.3))
    axes = plot_caption(FEATURES, MAPS, ["a", "dog"], GRID, 0.01, sounds).axes[0]
    assert [text.get_text() for text in axes.texts] == ["dog", "owl"]
    lines = [line.get_xdata() for line in axes.lines]
    np.testing.assert_allclose(lines, [[0, 0.1], [0.15, 0.3], [0.1, 0.2]])
    heights = [line.get_ydata()[0] for line in axes.lines]
    assert heights[0] == heights[1] > heights[2]  # a row for each source


def test_words_and_maps_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="1 words and 2 maps"):
        plot_caption(FEATURES, MAPS, ["a"], GRID, 0.01)
    with pytest.raises(ValueError, match="0 words and 0 maps"):
        plot_caption(FEATURES, [], [], GRID, 0.01)
    with pytest.raises(ValueError, match=r"\(3, 2\) must be \(rows, columns\) = \(2, 3\)"):
        plot_caption(FEATURES, [MAPS[0], MAPS[1].T], ["a", "dog"], GRID, 0.01)
