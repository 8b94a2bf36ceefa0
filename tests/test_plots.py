"""aural.plots: what is bright lies where hand-set weights say, in seconds and Hz; axes, words, times; refusals."""

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from aural import look, plots
from aural.processing.plot_sound import mel_of
from aural.processing.plot_theme import theme
from tests.looks import captioner, hand_made, hand_made_patches, las, tagger
from tests.whole import wave

REFERENCES = Path(__file__).parent / "fixtures" / "pictures"
YELLOW, BLUE = np.array([254, 232, 56]), np.array([0, 34, 78])  # the ends of cividis


def pixels(figure, dpi=100):
    """A figure as it is drawn, `(height, width, 3)` uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def bright(figure, axes, xs, ys):
    """Whether the brightest colour, not the darkest, is drawn at places of axes in their own units: `(ys, xs)`."""
    image = pixels(figure)
    found = np.zeros((len(ys), len(xs)), dtype=bool)
    for row, y in enumerate(ys):
        for column, x in enumerate(xs):
            across, up = axes.transData.transform((x, y))
            colour = image[image.shape[0] - 1 - round(up), round(across)]
            found[row, column] = near(colour, YELLOW)
            assert found[row, column] or near(colour, BLUE)
    return found


def near(colour, wanted):
    return np.abs(colour - wanted).max() <= 4


@pytest.mark.parametrize("dark", [False, True])
def test_an_alignment_is_bright_where_each_token_looks(dark):
    figure = plots.alignment(hand_made(), dark=dark)
    found = bright(figure, figure.axes[2], 0.1 * np.arange(10) + 0.05, np.arange(5) + 0.1)
    np.testing.assert_array_equal(found, np.eye(10, dtype=bool)[[0, 2, 4, 5, 9]])


def test_an_alignment_says_words_and_times_over_the_same_seconds_and_kilohertz():
    figure = plots.alignment(hand_made())
    strip, sound, attention = figure.axes[:3]
    assert strip.get_title("left") == "“ab c”"
    assert [text.get_text() for text in strip.texts] == ["ab", "c"]
    bars = [line.get_xdata() for line in strip.lines if line.get_linewidth() > 2]
    np.testing.assert_allclose(bars, [[0, 0.4], [0.6, 0.8]])
    assert sound.images[0].get_extent() == pytest.approx([0, 1.0, mel_of(100), mel_of(6000)])
    kilohertz = (0.1, 0.5, 1, 2, 4)  # of those marked, what lies in 100 to 6000 Hz
    np.testing.assert_allclose(sound.get_yticks(), 1127 * np.log1p(np.array(kilohertz) * 1000 / 700))
    assert [label.get_text() for label in sound.get_yticklabels()] == ["0.1", "0.5", "1", "2", "4"]
    assert attention.images[0].get_extent() == pytest.approx([0, 1.0, 4.5, -0.5])
    assert [label.get_text() for label in attention.get_yticklabels()] == ["a", "b", "␣", "c", "end"]
    (beside,) = attention.child_axes
    assert [label.get_text() for label in beside.get_yticklabels()] == ["0.00", "0.20", "0.40", "0.60", "0.80"]
    assert attention.get_xlim() == sound.get_xlim() == strip.get_xlim() == (0, 1.0)
    assert attention.get_xlabel() == "time in seconds" and sound.get_ylabel() == "kHz"


def test_one_word_has_its_own_tokens():
    figure = plots.alignment(hand_made(), word="c")
    assert [label.get_text() for label in figure.axes[2].get_yticklabels()] == ["c"]
    np.testing.assert_array_equal(figure.axes[2].images[0].get_array(), np.eye(10)[[5]])


def test_heads_of_an_alignment_are_drawn_alone_or_as_their_mean():
    model, processor = las()
    seen = look(wave(0.9), model, processor, text="ab")
    weights = seen.maps["alignment"].weights[:, :, 0]
    np.testing.assert_allclose(plots.alignment(seen).axes[2].images[0].get_array(), weights.mean(0), atol=1e-7)
    np.testing.assert_array_equal(plots.alignment(seen, head=1).axes[2].images[0].get_array(), weights[1])
    assert plots.alignment(seen, head=1).axes[0].get_title("left") == "“ab” · head 1"


@pytest.mark.parametrize("dark", [False, True])
def test_a_rollout_is_bright_in_the_patch_that_is_drawn_from(dark):
    figure = plots.rollout(hand_made_patches((1, 3)), dark=dark)
    sound, shown = figure.axes[:2]
    found = bright(figure, shown, 0.2 * np.arange(5) + 0.1, mel_of([300, 3000]))
    np.testing.assert_array_equal(found, [[False] * 5, [False, False, False, True, False]])
    mesh = shown.collections[0].get_coordinates()
    np.testing.assert_allclose(mesh[0, :, 0], np.arange(6) * 0.2)
    np.testing.assert_allclose(mesh[:, 0, 1], 1127 * np.log1p(np.array([100, 1000, 6000]) / 700))
    assert sound.get_title("left") == "hand.wav · rollout, from the whole clip"
    assert shown.get_ylabel() == "kHz" and shown.get_xlabel() == "time in seconds"
    assert near(pixels(figure)[2, 2], np.array(to_rgb(theme(dark).ground)) * 255)


def test_heads_of_a_layer_stand_side_by_side_and_what_looks_is_outlined():
    figure = plots.self_attention(hand_made_patches(), query=(0.5, 3000))
    panels = [axes for axes in figure.axes if axes.collections]
    assert [panel.get_title("left") for panel in panels] == ["head 0", "head 1"]
    np.testing.assert_allclose(panels[1].collections[0].get_array().reshape(2, 5), 0.1)
    for axes in (figure.axes[0], *panels):
        box = axes.patches[-1].get_bbox()
        assert box.intervalx == pytest.approx((0.4, 0.6)) and box.intervaly == pytest.approx(mel_of([1000, 6000]))
    assert figure.axes[0].get_title("left") == "hand.wav · layers.0, from the patch 0.40–0.60 s, 1.0–6.0 kHz"


def test_a_moment_is_the_mean_of_its_patches():
    figure = plots.self_attention(hand_made_patches(), head=1, query=0.5)
    shown = figure.axes[1].collections[0].get_array().reshape(2, 5)
    expected = np.full((2, 5), 0.05)  # of the two patches at 0.5 s one looks everywhere alike, by 0.1
    expected[1, 3] = 0.55
    np.testing.assert_allclose(shown, expected, atol=1e-7)
    box = figure.axes[1].patches[-1].get_bbox()
    assert box.intervaly == pytest.approx(mel_of([100, 6000]))  # all rows of the column
    assert "from the moment 0.50 s · head 1" in figure.axes[0].get_title("left")


def test_events_of_a_tagger_stand_over_its_spectrogram():
    model, extractor = tagger()
    seen = look(wave(0.9), model, extractor, threshold=0.0)
    assert seen.events
    strip = plots.rollout(seen).axes[0]
    assert [text.get_text() for text in strip.texts] == [event.label for event in seen.events]


def test_words_of_a_caption_have_a_panel_each_and_one_word_a_panel_per_head():
    model, processor = captioner()
    seen = look(wave(0.9), model, processor, text="a dog then")
    figure = plots.cross_attention(seen)
    panels = [axes for axes in figure.axes if axes.collections]
    assert [panel.get_title("left") for panel in panels] == ["a", "dog", "then"]
    weights = seen.map("decoder.1.cross").weights
    shape = weights.shape[2:]
    for panel, word in zip(panels, seen.words, strict=True):
        expected = weights.mean(0)[word.first : word.last].mean(0)
        np.testing.assert_allclose(panel.collections[0].get_array().reshape(shape), expected, atol=1e-7)
    heads = [axes for axes in plots.cross_attention(seen, word="dog", layer=0).axes if axes.collections]
    assert [panel.get_title("left") for panel in heads] == ["head 0", "head 1"]
    expected = seen.map("decoder.0.cross").weights[1, 1]
    np.testing.assert_allclose(heads[1].collections[0].get_array().reshape(shape), expected, atol=1e-7)
    one = plots.cross_attention(seen, word=1, head=0).axes[1].collections[0].get_array().reshape(shape)
    np.testing.assert_allclose(one, weights[0, 1], atol=1e-7)


def test_two_looks_share_axes_and_their_difference_is_signed():
    one, other = hand_made_patches((1, 3), "early"), hand_made_patches((0, 1), "late")
    figure = plots.compare(one, other)
    sound, first, second, between = figure.axes[:4]
    assert [axes.get_title("left") for axes in (first, second)] == ["early", "late"]
    expected = np.zeros((2, 5))
    expected[0, 1], expected[1, 3] = 1, -1
    np.testing.assert_allclose(between.collections[0].get_array().reshape(2, 5), expected)
    assert between.collections[0].get_clim() == (-1, 1)
    assert first.get_xlim() == second.get_xlim() == between.get_xlim() == sound.get_xlim()
    assert first.collections[0].get_clim() == second.collections[0].get_clim() == (0, 1)
    assert sound.get_title("left") == "hand.wav · rollout, from the whole clip"


def test_two_texts_are_compared_token_by_token():
    figure = plots.compare(hand_made("ab c"), hand_made("ab d"))
    first, second, between = figure.axes[2:5]
    assert [axes.get_title("left") for axes in (first, second)] == ["first hand: “ab c”", "second hand: “ab d”"]
    labels = [label.get_text() for label in between.get_yticklabels()]
    assert labels == ["a", "b", "␣", "−c", "+d", "end"]
    shown = between.collections[0].get_array().reshape(6, 10)
    expected = np.zeros((6, 10))
    expected[3, 5], expected[4, 5] = -1, 1
    np.testing.assert_allclose(shown, expected)


def test_the_natural_picture_of_each_model():
    model, processor = captioner()
    figure = plots.figure(look(wave(0.5), model, processor, text="a dog"))
    assert figure.axes[0].get_title("left") == "“a dog” · decoder.1.cross, mean of 2 heads"
    assert "rollout, from the whole clip" in plots.figure(hand_made_patches()).axes[0].get_title("left")
    assert "written, top to bottom" in [axes.get_ylabel() for axes in plots.figure(hand_made()).axes]
    assert "layers.0" in plots.figure(hand_made_patches(), layer=0, head=1).axes[0].get_title("left")
    assert "0.50 s" in plots.figure(hand_made_patches(), query=0.5).axes[0].get_title("left")


def test_what_a_model_lacks_is_refused_in_words():
    patches = hand_made_patches()
    for call, message in (
        (lambda: plots.alignment(patches), "tagger attends to no text: it has no alignment"),
        (lambda: plots.cross_attention(patches), "tagger has no text decoder that attends, but layers.0, rollout"),
        (lambda: plots.self_attention(patches, 3), "layer=3: tagger has layers.0, rollout"),
        (lambda: plots.self_attention(patches, 0, 2), "head=2: layers.0 has the heads 0 to 1, or 'mean'"),
        (lambda: plots.self_attention(hand_made(), 0), "layer=0: hand has alignment"),
        (
            lambda: plots.rollout(patches, (9.0, 100)),
            r"query=\(9\.0, 100\): 9 s lies outside of the patches",
        ),
        (lambda: plots.figure(patches, word="a"), "word='a': tagger wrote no words"),
        (lambda: plots.figure(patches, layer=0, word="a"), "in layers.0 patches attend, not words"),
        (lambda: plots.figure(hand_made(), word="ab", query=0.5), "exclude each other"),
        (lambda: plots.figure(patches, head=1), "head=1: a rollout joins all heads; choose a layer too"),
        (lambda: plots.alignment(hand_made(), word="x"), "word='x': the words are 0 'ab', 1 'c'"),
        (lambda: plots.compare(hand_made(), patches), "neither alignment nor rollout in common: hand has alignment"),
        (lambda: plots.save_figure(plots.rollout(patches), "a.jpg"), r"ends in \.png, \.svg or \.pdf"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("alignment", lambda: plots.alignment(hand_made())),
        ("alignment-dark", lambda: plots.alignment(hand_made(), dark=True)),
        ("heads", lambda: plots.self_attention(hand_made_patches(), query=(0.5, 3000))),
        ("compare", lambda: plots.compare(hand_made_patches(), hand_made_patches((0, 1), "other"))),
    ],
)
def test_pictures_look_as_those_that_were_looked_at(name, draw):
    """Fonts and their hinting differ between machines by a pixel here and there; a lost axis or colour is far more."""
    file = io.BytesIO()
    draw().savefig(file, format="png", dpi=50)
    file.seek(0)
    image, kept = imread(file)[..., :3], imread(REFERENCES / f"{name}.png")[..., :3]
    assert np.abs(np.subtract(image.shape, kept.shape)).max() <= 2
    height, width = np.minimum(image.shape, kept.shape)[:2]
    away = np.abs(image[:height, :width] - kept[:height, :width]).max(axis=-1)
    assert (away > 0.25).mean() < 0.03
