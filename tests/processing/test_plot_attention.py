"""Two maps compared: over each other's steps, token by token; and texts above a spectrogram that do not overlap."""

from types import SimpleNamespace

import numpy as np
import pytest

from aural.processing.plot_attention import Shown, Sound, difference, paired_tokens, plot_map, rebinned
from aural.processing.plot_sound import CHARACTER, draw_spectrogram, mel_of, text_levels
from aural.processing.plot_theme import new_figure


def test_weights_are_spread_over_other_steps_by_their_overlap():
    weights = np.array([[0.6, 0.4], [0.0, 1.0]])
    found = rebinned(weights, np.array([0.0, 1.0, 3.0]), np.array([0.0, 0.5, 2.0, 2.5, 3.0]))
    # Half of the first step; its other half and half of the second; a quarter of the second, twice.
    np.testing.assert_allclose(found, [[0.3, 0.3 + 0.2, 0.1, 0.1], [0.0, 0.5, 0.25, 0.25]])
    np.testing.assert_allclose(rebinned(weights, np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0, 3.0])), weights)
    assert rebinned(np.ones((1, 1)), np.array([0.0, 1.0]), np.array([0.5, 2.0])).tolist() == [[0.5]]  # 1 to 2: nothing


def test_equal_tokens_are_paired_in_order():
    assert paired_tokens("abc", "abc") == [(0, 0), (1, 1), (2, 2)]
    assert paired_tokens("abc", "axc") == [(0, 0), (1, None), (None, 1), (2, 2)]
    assert paired_tokens("", "a") == [(None, 0)] and paired_tokens("a", "") == [(0, None)]


def steps(count, end=1.0):
    edges = np.linspace(0, end, count + 1)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def test_maps_of_other_steps_are_compared_on_the_finer_ones():
    bands = np.array([[0.0, 700.0], [700.0, 700 * (np.e**2 - 1)]])  # ln 2 and 2 - ln 2 high
    coarse = Shown("one", np.array([[0.25, 0.25], [0.25, 0.25]]), steps(2), bands)
    fine = Shown("two", np.eye(2, 4), steps(4), bands)
    between = difference(coarse, fine)
    np.testing.assert_allclose(between.weights, np.eye(2, 4) - 0.125)
    np.testing.assert_allclose(difference(fine, coarse).weights, 0.125 - np.eye(2, 4))
    whole = Shown("whole", np.array([[1.0, 0.0]]), steps(2), np.array([[0.0, 700 * (np.e**2 - 1)]]))
    share = np.log(2) / 2  # of the whole height that the lower band has
    assert float(mel_of(700)) / float(mel_of(700 * (np.e**2 - 1))) == pytest.approx(share)
    expected = np.array([[share, 0.0], [1 - share, 0.0]]) - 0.25
    np.testing.assert_allclose(difference(coarse, whole).weights, expected)


def test_tokens_and_bands_are_not_compared():
    tokens = Shown("one", np.eye(2), steps(2), None, ("a", "b"))
    bands = Shown("two", np.eye(2), steps(2), np.array([[0.0, 500.0], [500.0, 900.0]]))
    with pytest.raises(ValueError, match="one shows tokens and two bands of frequency"):
        difference(tokens, bands)
    with pytest.raises(ValueError, match=r"two: weights \(2, 3\) must be \(rows, columns\) = \(2, 2\)"):
        plot_map(Sound(np.zeros((9, 4)), (0, 1), (0, 900)), Shown("two", np.zeros((2, 3)), steps(2), bands.hertz))


def test_columns_that_overlap_meet_midway():
    shown = Shown("", np.zeros((1, 3)), np.array([[0.0, 0.3], [0.2, 0.5], [0.4, 0.7]]), np.array([[0.0, 100.0]]))
    np.testing.assert_allclose(shown.columns, [0.0, 0.25, 0.45, 0.7])


def test_texts_of_one_level_never_overlap_and_stay_inside():
    spans = [(0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.95, 1.0)]
    texts = ["extraordinarily", "long", "words", "end"]
    levels, middles = text_levels(spans, texts, seconds=1.0, width=5.0)
    halves = [(len(text) + 1) * CHARACTER / 5.0 / 2 for text in texts]
    for one in range(4):
        assert middles[one] - halves[one] >= -1e-9 and middles[one] + halves[one] <= 1 + 1e-9
        for other in range(one):
            if levels[one] == levels[other]:
                assert middles[other] + halves[other] <= middles[one] - halves[one] + 1e-9
    assert levels == [0, 1, 0, 0] or max(levels) >= 1


def test_a_spectrogram_begins_where_its_first_frame_does():
    axes = new_figure((3, 2)).subplots()
    features = np.arange(12.0).reshape(3, 4)
    draw_spectrogram(axes, features, (0.0075, 0.0375), hertz=(20.0, 8000.0))
    assert axes.images[0].get_extent() == pytest.approx([0.0075, 0.0375, mel_of(20), mel_of(8000)])
    np.testing.assert_array_equal(axes.images[0].get_array(), features.T)
    assert axes.images[0].origin == "lower" and axes.get_xlim() == (0, 0.0375)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0.1", "0.5", "1", "2", "4", "8"]


def test_what_was_heard_stands_above_the_map():
    items = [SimpleNamespace(label="dog", onset=0.2, offset=0.5), SimpleNamespace(label="dog", onset=0.6, offset=0.7)]
    bands = np.array([[0.0, 500.0], [500.0, 900.0]])
    shown = Shown("m", np.eye(2), steps(2), bands)
    figure = plot_map(Sound(np.zeros((9, 4)), (0, 1), (0, 900), items), shown, "a title", ((0.5, 1.0), (0.0, 500.0)))
    strip, sound, below = figure.axes[:3]
    assert strip.get_title("left") == "a title" and [text.get_text() for text in strip.texts] == ["dog", "dog"]
    assert len({line.get_color() for line in strip.lines}) == 1  # a colour for each label
    for axes in (sound, below):
        assert axes.patches[-1].get_bbox().intervalx == pytest.approx((0.5, 1.0))
