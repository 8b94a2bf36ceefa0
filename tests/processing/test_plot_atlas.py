"""The map of heads: what stands in which cell, in which colour, on light and dark ground."""

import numpy as np
import pytest
from matplotlib import colormaps

from aural.processing.plot_atlas import FONT, plot_atlas
from aural.processing.plot_theme import theme

LAYERS, HEADS = 3, 2
NAMES = [["previous", "same time"], ["content", "mixed"], ["same source", "class token"]]
SHAPE = (LAYERS, HEADS)
SECONDS = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
CONTENT = np.array([[0.0, 0.5], [1.0, np.nan], [0.25, 0.75]])
TAGS = np.array([[0.012, -0.002], [0.0, 0.05], [0.001, 0.002]])
MEASURES = {
    "seconds": SECONDS,
    "mels": 10 * SECONDS,
    "relative_entropy": SECONDS,
    "class_token": np.zeros(SHAPE),
    "content": CONTENT,
    "own": np.full(SHAPE, np.nan),
    "by_distance": np.full(SHAPE, np.nan),
    "tags": TAGS,
    "tags_low": TAGS - 0.01,
    "tags_high": TAGS + 0.01,
}


def panels(figure):
    """Axes of numbers by the first words of their titles, without the names."""
    return {axes.get_title("left").split(",")[0]: axes for axes in figure.axes[1:]}


def texts(axes):
    """What stands in each cell: `{(layer, head): text}`."""
    return {(int(text.get_position()[1]), int(text.get_position()[0])): text for text in axes.texts}


def test_names_stand_in_their_cells_the_first_layer_lowest():
    axes = plot_atlas(NAMES, MEASURES, title="a model").axes[0]
    told = {place: text.get_text().replace("\n", " ") for place, text in texts(axes).items()}
    assert told == {(layer, head): NAMES[layer][head] for layer in range(LAYERS) for head in range(HEADS)}
    assert axes.get_ylim() == (-0.5, LAYERS - 0.5)  # not turned over
    ground = axes.images[0].get_array()
    colour = ground[:, :, :3]
    assert (colour[0, 0] == colour[0, 1]).all()  # both are places
    assert ground[1, 1, 3] == 0  # mixed has no colour
    assert len({tuple(colour[place]) for place in ((0, 0), (1, 0), (2, 0), (2, 1))}) == 4
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("head", "layer")


def test_a_panel_for_everything_measured_with_its_numbers():
    figure = plot_atlas(NAMES, MEASURES)
    found = panels(figure)
    assert list(found) == [
        "distance in time",
        "distance in frequency",
        "entropy",
        "0 follows position",
        "worth for tags",
    ]
    np.testing.assert_array_equal(found["distance in time"].images[0].get_array(), SECONDS)
    assert texts(found["distance in time"])[2, 1].get_text() == "0.60"
    assert texts(found["distance in frequency"])[2, 1].get_text() == "6"
    assert found["distance in time"].images[0].get_clim() == (0, 0.6)
    assert texts(found["worth for tags"])[0, 0].get_text() == "+1.2"  # points
    np.testing.assert_allclose(found["worth for tags"].images[0].get_array(), 100 * TAGS)
    np.testing.assert_allclose(found["worth for tags"].images[0].get_clim(), (-5, 5))  # 0 in the middle
    assert min(text.get_fontsize() for axes in figure.axes for text in axes.texts) >= FONT == 8


def test_what_a_head_was_not_measured_for_has_no_number_and_no_colour():
    axes = panels(plot_atlas(NAMES, MEASURES))["0 follows position"]
    assert axes.images[0].get_clim() == (0, 1)
    assert (1, 1) not in texts(axes)
    assert len(texts(axes)) == 5
    assert np.ma.getmaskarray(axes.images[0].get_array()).tolist() == [[False, False], [False, True], [False, False]]


def test_numbers_whose_interval_leaves_out_zero_are_bold():
    axes = panels(plot_atlas(NAMES, MEASURES))["worth for tags"]
    bold = {place for place, text in texts(axes).items() if text.get_weight() == "bold"}
    assert bold == {(0, 0), (1, 1)}
    figure = plot_atlas(NAMES, MEASURES)
    assert figure._supxlabel.get_text() == "bold: the 95% interval leaves out 0"
    assert plot_atlas(NAMES, {"seconds": SECONDS})._supxlabel is None
    assert texts(axes)[0, 1].get_text() == "−0.2"


def test_the_own_source_is_told_beyond_distance():
    own = {"own": np.full(SHAPE, 0.8), "by_distance": np.full(SHAPE, 0.6)}
    interval = {"own_low": np.full(SHAPE, 0.1), "own_high": np.full(SHAPE, 0.3)}
    axes = panels(plot_atlas(NAMES, MEASURES | own | interval))["own source"]
    assert {text.get_text() for text in axes.texts} == {"+20"}
    assert {text.get_weight() for text in axes.texts} == {"bold"}
    tokens = panels(plot_atlas(NAMES, MEASURES | {"class_token": SECONDS}))
    assert "to class tokens" in tokens


@pytest.mark.parametrize("dark", [False, True])
def test_ink_is_legible_on_every_cell_and_ground(dark):
    figure = plot_atlas(NAMES, MEASURES, dark=dark)
    assert figure.get_facecolor()[:3] == pytest.approx(
        [int(theme(dark).ground[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    )
    axes = panels(figure)["distance in time"]
    cells = colormaps["cividis"](SECONDS / 0.6)[..., :3] @ [0.299, 0.587, 0.114]
    for place, text in texts(axes).items():
        ink = int(text.get_color()[1:3], 16) / 255
        assert abs(ink - cells[place]) > 0.4
    names = texts(figure.axes[0])
    assert names[1, 1].get_color() == theme(dark).text


def test_many_heads_have_names_above_and_bars_in_place_of_numbers():
    names = [["mixed"] * 12 for _ in range(12)]
    figure = plot_atlas(names, {"seconds": np.random.default_rng(0).random((12, 12))})
    assert len(figure.axes[0].texts) == 144
    assert not figure.axes[1].texts
    assert len(figure.axes) == 3  # the bar
    figure.draw_without_rendering()
    rendered = [text.get_window_extent() for text in figure.axes[0].texts]
    step = abs(
        figure.axes[0].transData.transform([[0, 0], [1, 0]])[1, 0] - figure.axes[0].transData.transform((0, 0))[0]
    )
    assert max(box.width for box in rendered) < step


def test_names_fit_their_cells():
    names = [["same frequency", "everywhere", "class token"]] * 12
    figure = plot_atlas(names, {"seconds": np.ones((12, 3))})
    figure.draw_without_rendering()
    axes = figure.axes[0]
    corner = axes.transData.transform([[0, 0], [1, 1]])
    width, height = corner[1] - corner[0]
    for text in axes.texts:
        box = text.get_window_extent()
        assert box.width < width
        assert box.height < height


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="names of 0 layers"):
        plot_atlas([], {})
    with pytest.raises(ValueError, match="names of 2 layers must have as many heads"):
        plot_atlas([["mixed"], ["mixed", "next"]], {})
    with pytest.raises(ValueError, match=r"measures 'seconds' must be \(layers, heads\) = \(3, 2\)"):
        plot_atlas(NAMES, {"seconds": SECONDS.T})
