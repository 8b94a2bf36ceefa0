"""The figures of `aural explain`: the numbers behind them, their words, nothing outside, and how they look."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from aural.processing.explained import AttentionSteps, Enlarged, LasSteps, ListenerLayer, PatchSteps, Sound
from aural.processing.plot_explain import kilohertz_marks, number, readable
from aural.processing.plot_explain_attention import plot_attention_steps
from aural.processing.plot_explain_las import plot_las_steps
from aural.processing.plot_explain_patches import plot_patch_steps

KEPT = Path(__file__).parents[1] / "fixtures" / "explain"
RNG = np.random.default_rng(0)
SOUND = Sound(RNG.normal(size=(24, 8)), 0.01, np.geomspace(100, 6000, 8))


def boxes(rows, columns):
    place = np.arange(rows * columns)
    return np.stack(
        [place % columns * 0.06, place % columns * 0.06 + 0.06, place // columns * 4, place // columns * 4 + 4], 1
    )


def attention_steps():
    mask = np.broadcast_to(np.arange(10) % 5 < 4, (8, 10))  # the last column of both rows is padding
    weights = np.where(mask, RNG.random((2, 8, 10)), 0)
    weights /= weights.sum(-1, keepdims=True)
    real = np.arange(10) % 5 < 4
    v = RNG.normal(size=(2, 10, 3))
    return AttentionSteps(
        name="layers.1",
        kind="patches look at patches",
        sound=SOUND,
        queries=tuple("abcdefgh"),
        keys=tuple("0123456789"),
        query_boxes=boxes(2, 5)[real],
        key_boxes=boxes(2, 5),
        q=RNG.normal(size=(2, 8, 4)),
        k=RNG.normal(size=(2, 10, 4)),
        v=v,
        mask=mask,
        weights=weights,
        context=weights @ v,
        output=RNG.normal(size=(8, 6)),
        projection=RNG.normal(size=(6, 6)),
        masked="padding",
    )


def las_steps():
    alignment = RNG.dirichlet(np.ones(6), size=4)
    layers = tuple(ListenerLayer(RNG.normal(size=(count, 6)), 2, second) for count, second in ((12, 0.02), (6, 0.04)))
    symbols = ("<pad>", "a", "b", "end", "␣")
    arrays = (alignment, RNG.normal(size=(4, 6)), RNG.normal(size=(4, 5)), RNG.dirichlet(np.ones(5), size=4))
    return LasSteps(SOUND, layers, "dot", *arrays, ("a", "b", "a", "end"), symbols, "aba", 1)


def patch_steps(**changes):
    maps = RNG.dirichlet(np.ones(8), size=3)
    given = {
        "sound": SOUND,
        "rows": 2,
        "columns": 4,
        "boxes": boxes(2, 4),
        "patches": RNG.normal(size=(8, 4, 6)),
        "embeddings": RNG.normal(size=(8, 5)),
        "position_kind": "joint",
        "positions": RNG.normal(size=(8, 5)),
        "alike": np.linspace(-1, 1, 8),
        "norms": RNG.random((4, 8)) + 1,
        "maps": maps,
        "class_tokens": 1,
        "pooling": "the class token",
        "pooled": None,
        "labels": ("bell", "drum"),
        "scores": RNG.random((4, 2)),
        "clip_scores": np.array([0.2, 0.9]),
        "text": "",
        "query": 5,
        "shown": (5, 2, 0),
    }
    return PatchSteps(**{**given, **changes})


SHOWN = Enlarged(1, (2, 5), (0, 3, 4, 7))
FIGURES = {
    "attention": lambda dark=False: plot_attention_steps(attention_steps(), SHOWN, "a model, a sound", dark),
    "las": lambda dark=False: plot_las_steps(las_steps(), "a model, a sound", dark),
    "patches": lambda dark=False: plot_patch_steps(patch_steps(), "a model, a sound", dark),
}


@pytest.fixture(autouse=True)
def same_numbers():
    global RNG
    RNG = np.random.default_rng(0)


def words(figure):
    """All texts of a figure, of its axes too."""
    found = [text.get_text() for text in figure.texts] + [
        part.get_text() for part in figure.artists if hasattr(part, "get_text")
    ]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts] + [axes.get_xlabel(), axes.get_ylabel()]
    return found


def images(figure, shape):
    return [
        np.ma.asarray(axes.images[0].get_array())
        for axes in figure.axes
        if axes.images and axes.images[0].get_array().shape == shape
    ]


def drawn(figure, dpi=50):
    """The figure as grey values from 0 to 1, `(height, width)`."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(dpi)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].mean(-1) / 255


def test_the_numbers_of_attention_are_those_of_the_chosen_head_rows_and_columns():
    steps = attention_steps()
    figure = plot_attention_steps(steps, SHOWN, "a model, a sound")
    cells = images(figure, (2, 4))
    part = np.ix_(SHOWN.queries, SHOWN.keys)
    np.testing.assert_allclose(cells[0], steps.q[1][[2, 5]])  # as many features as keys
    np.testing.assert_allclose(cells[1], steps.scores[1][part])
    np.testing.assert_allclose(cells[2], steps.scores[1][part] / 2)
    assert cells[3].mask.sum() == 2  # a key of padding, for two queries
    np.testing.assert_allclose(cells[4], steps.weights[1][part])
    for head in range(2):
        np.testing.assert_array_equal(images(figure, (8, 10))[head], steps.weights[head])
    np.testing.assert_allclose(images(figure, (8, 6))[0], np.concatenate(list(steps.context), axis=-1))
    np.testing.assert_allclose(images(figure, (6, 6))[0], steps.projection.T)
    said = words(figure)
    assert said.count("= 1.000") == 2 and said.count("−∞") == 2
    rest = 1 - steps.weights[1][part].sum(1)
    assert [text for text in said if text.startswith("+ 0.")] == [f"+ {each:.2f}" for each in rest]
    assert {"Scaled dot-product attention: layers.1, head 1", "padding", "seconds", "kHz", "6 more", "head 0"} <= set(
        said
    )
    assert any("2 of 8 queries and 4 of 10 keys are enlarged; 3 is padding" in text for text in said)


def test_layers_of_a_las_lie_over_the_same_seconds():
    steps = las_steps()
    figure = plot_las_steps(steps, "a model, a sound")
    over_time = [axes for axes in figure.axes if axes.images and axes.get_xlim() == (0, pytest.approx(0.24))]
    sound, first, second, alignment = over_time[:4]
    assert sound.images[0].get_extent() == pytest.approx([0, 0.24, 0, 8])
    assert first.images[0].get_extent() == pytest.approx([0, 0.24, 0, 6])
    np.testing.assert_array_equal(first.images[0].get_array(), steps.layers[0].states.T)
    np.testing.assert_array_equal(second.images[0].get_array(), steps.layers[1].states.T)
    np.testing.assert_array_equal(alignment.images[0].get_array(), steps.alignment)
    assert alignment.images[0].get_extent() == pytest.approx([0, 0.24, 3.5, -0.5])
    said = words(figure)
    assert {"layer 0: 12 × 6", "states of 20 ms", "layer 1: 6 × 6", "states of 40 ms", "seconds"} <= set(said)
    assert "written: “aba”" in said and [text for text in said if text in ("a", "b", "end")].count("a") == 3
    (chances,) = [each for each in images(figure, (4, 4)) if np.allclose(each.sum(1), 1)]  # a, b, end and the others
    np.testing.assert_allclose(chances[:, :3], steps.probabilities[:, [1, 2, 3]])
    columns = [
        axes.images[0].get_array()[:, 0]
        for axes in figure.axes
        if axes.images and axes.images[0].get_array().shape[1] == 1
    ]
    frames, low, high = steps.path
    expected = [
        *steps.sound.features[slice(*frames)],
        *steps.layers[0].states[slice(*low)],
        *steps.layers[1].states[slice(*high)],
    ]
    assert len(columns) == 7  # four frames, two states, one
    for column, state in zip(columns, expected, strict=True):
        np.testing.assert_array_equal(column, state)


def test_the_grid_of_patches_lies_over_the_spectrogram_and_maps_low_mels_below():
    steps = patch_steps()
    figure = plot_patch_steps(steps, "a model, a sound")
    sound = figure.axes[0]
    grid = {tuple(np.round(segment[0], 6)) for lines in sound.collections for segment in lines.get_segments()}
    assert grid == {(0.0, 0.0), (0.06, 0.0), (0.12, 0.0), (0.18, 0.0), (0.24, 0.0), (0.0, 4.0), (0.0, 8.0)}
    assert [patch.get_xy() for patch in sound.patches] == [
        (steps.boxes[at, 0], steps.boxes[at, 2]) for at in (5, 2, 0)
    ]
    cut = images(figure, (4, 6))
    np.testing.assert_array_equal(cut, steps.patches[[5, 2, 0]])
    parts = images(figure, (3, 5))
    np.testing.assert_allclose(
        parts,
        [steps.embeddings[[5, 2, 0]], steps.positions[[5, 2, 0]], (steps.embeddings + steps.positions)[[5, 2, 0]]],
    )
    on_grid = images(figure, (2, 4))
    np.testing.assert_allclose(on_grid[0], steps.alike.reshape(2, 4))
    np.testing.assert_allclose(on_grid[1:4], steps.maps.reshape(3, 2, 4))
    np.testing.assert_allclose(on_grid[4], steps.scores.T)
    assert all(
        axes.images[0].origin == "lower"
        for axes in figure.axes
        if axes.images
        and axes.images[0].get_extent()[2] < 0
        and axes.images[0].get_array().shape == (2, 4)
        and axes.images[0].cmap.name != ""
    )
    norms = next(axes for axes in figure.axes if len(axes.lines) == 2 and axes.get_xlabel() == "layers passed")
    np.testing.assert_allclose(norms.lines[0].get_ydata(), np.median(steps.norms, axis=1))
    np.testing.assert_allclose(norms.lines[1].get_ydata(), steps.norms[:, 5])
    said = words(figure)
    assert "8 patches of 4 mels × 6 frames: 2 rows × 4 columns" in said and "drum" in said and "0.90" in said
    assert said.index("0.90") < said.index("0.20")  # the best first
    assert "layers.2" in said and f"brightest {steps.maps[2].max():.1%}" in said


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"scores": None, "clip_scores": None, "labels": (), "text": "a dog barks"}, "the class token: “a dog barks”"),
        ({"scores": None, "clip_scores": None, "labels": ()}, "the model has no head: its states are what it gives"),
        ({"scores": None, "pooled": np.arange(8.0) / 28}, "the clip's score is that of the class token"),
        ({"position_kind": "rotary", "positions": None, "alike": np.linspace(0.5, 1, 8)}, "“rotary”"),
    ],
)
def test_patches_end_in_what_the_model_has(changes, said):
    assert said in words(plot_patch_steps(patch_steps(**changes)))


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_cut_and_every_letter_is_large_enough(name, dark):
    figure = FIGURES[name](dark)
    canvas = FigureCanvasAgg(figure)
    width, height = figure.get_size_inches() * figure.dpi
    assert width == 9 * figure.dpi
    parts = [*figure.texts, *(part for part in figure.artists if hasattr(part, "get_text"))]
    for axes in figure.axes:
        parts += axes.texts
        for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            seen = (min(ends) - 1e-9, max(ends) + 1e-9)  # ticks outside of the axes are not drawn
            parts += [tick.label1 for tick in axis.get_major_ticks() if seen[0] <= tick.get_loc() <= seen[1]]
    for text in parts:
        if text.get_text():
            box = text.get_window_extent(canvas.get_renderer())
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width + 0.5 and box.y1 <= height + 0.5, text.get_text()
            assert text.get_fontsize() >= 8, text.get_text()


@pytest.mark.parametrize("name", FIGURES)
def test_figures_look_as_they_were_kept(name):
    """Means over squares of 5 pixels: letters may move by a pixel, nothing else may."""
    picture, kept = drawn(FIGURES[name]()), imread(KEPT / f"{name}.png")
    assert abs(np.array(picture.shape) - kept.shape[:2]).max() <= 1
    kept = kept if kept.ndim == 2 else kept[..., :3].mean(-1)

    def coarse(pixels):
        high, wide = (min(a, b) // 5 for a, b in zip(picture.shape, kept.shape, strict=True))
        return pixels[: high * 5, : wide * 5].reshape(high, 5, wide, 5).mean((1, 3))

    apart = np.abs(coarse(picture) - coarse(kept))
    assert apart.mean() < 0.004 and np.percentile(apart, 99.5) < 0.1


def test_numbers_are_short_and_read_on_any_colour():
    assert [number(value) for value in (-3.14159, 31.4159, 314.159, -np.inf)] == ["−3.14", "31.4", "314", "−∞"]
    assert readable("#fee838") == "#000000" and readable("#00224e") == "#ffffff"


def test_kilohertz_are_marked_where_their_bands_lie():
    marks = kilohertz_marks(np.array([100.0, 500.0, 1000.0, 2000.0]))
    assert marks == {2: 3.5, 1: 2.5, 0.5: 1.5, 0.25: 0.875}  # 0.1, below half a band further down, has no room
