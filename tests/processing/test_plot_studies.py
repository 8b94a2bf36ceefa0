"""Pictures of studies: what is drawn where, and that names of lines stay legible."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from aural.processing.plot_studies import plot_lengths, plot_reconstruction, spread


def test_lines_are_means_and_bands_reach_from_the_lowest_to_the_highest_seed():
    rates = {"1 slot": np.array([[0.5, 0.9], [0.7, 0.7]]), "all": np.array([[0.1, 0.2], [0.1, 0.4]])}
    figure = plot_lengths(rates, [3, 9], trained=6, apart=["all"], title="a study")
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[3, 60], [9, 80]])
    np.testing.assert_allclose(axes.lines[1].get_xydata(), [[3, 10], [9, 30]])
    band = axes.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose([band[:, 1].min(), band[:, 1].max()], [50, 90])
    assert [line.get_linestyle() for line in axes.lines[:2]] == ["-", "--"]
    assert len({to_hex(line.get_color()) for line in axes.lines[:2]}) == 2
    assert len({line.get_marker() for line in axes.lines[:2]}) == 2
    shaded = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (shaded.x0, shaded.x1) == pytest.approx((2.5, 6.5))
    assert axes.get_xlabel() == "recordings in the string"
    names = {text.get_text() for text in axes.texts}
    assert {"1 slot", "all"} <= names


def test_names_of_lines_that_end_together_do_not_cover_each_other():
    places = spread([0.5, 0.5, 0.52, 0.1], 0.1)
    assert places[3] == pytest.approx(0.1)
    np.testing.assert_allclose(sorted(places[:3]), [0.40667, 0.50667, 0.60667], atol=1e-4)  # about their mean
    assert places[0] < places[1] < places[2]  # in the order that they had
    assert spread([0.1, 0.9], 0.1) == [0.1, 0.9]


def test_rates_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"rates of 'a' \(1, 3\) must be \(seeds, lengths=2\)"):
        plot_lengths({"a": np.zeros((1, 3))}, [1, 2], 1)
    with pytest.raises(ValueError, match="rates of 0 models"):
        plot_lengths({}, [1, 2], 1)


def test_a_reconstruction_stands_under_what_sounded_and_what_was_seen_in_the_same_colours():
    original = np.arange(24.0).reshape(6, 4)
    masked = np.zeros((6, 4))
    masked[2:4, :2] = 1.0
    figure = plot_reconstruction(original, masked, original + 1, 0.5, title="a clip")
    sounded, seen, told = (axes.images[0] for axes in figure.axes)
    np.testing.assert_array_equal(sounded.get_array(), original.T)
    np.testing.assert_array_equal(np.ma.getmaskarray(seen.get_array()), masked.T == 1)
    np.testing.assert_array_equal(told.get_array(), original.T + 1)
    assert sounded.get_clim() == seen.get_clim() == told.get_clim()
    assert all(image.get_extent() == [0, 3.0, 0, 4] for image in (sounded, seen, told))
    assert figure.axes[0].get_title(loc="left") == "a clip"
    with pytest.raises(ValueError, match=r"original \(6, 4\), masked \(6, 3\), reconstructed \(6, 4\) must be alike"):
        plot_reconstruction(original, masked[:, :3], original, 0.5)
