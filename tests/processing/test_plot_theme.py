"""Light and dark: what has matplotlib's own colours takes the ground's, what was given a colour keeps it."""

import numpy as np
import pytest
from matplotlib.colors import same_color, to_rgb

from aural.processing.plot_theme import DARK, LIGHT, dress, new_figure, theme


def luminance(colour):
    """Relative luminance, as WCAG 2 has it."""
    parts = np.array(to_rgb(colour))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_text_can_be_read_and_marks_are_seen_on_their_ground(colours):
    assert contrast(colours.text, colours.ground) >= 7 and contrast(colours.faint, colours.ground) >= 4.5
    assert all(contrast(mark, colours.ground) >= 2 for mark in colours.marks)
    assert theme(colours is DARK) is colours


def drawn(dark):
    figure = new_figure((4, 3), dark)
    upper, lower = figure.subplots(2, 1)
    upper.plot([0, 1], label="a line", color="#123456")
    upper.legend(title="lines")
    upper.set_title("left", loc="left")
    upper.grid()
    upper.text(0, 0, "red", color="red")
    lower.set_ylabel("label")
    lower.set_facecolor("#00224e")
    beside = lower.secondary_yaxis("right")
    beside.set_yticks([0, 1], ["x", "y"])
    beside.set_ylabel("beside")
    return dress(figure, dark), upper, lower, beside


def test_dark_ground_changes_what_nobody_gave_a_colour():
    figure, upper, lower, beside = drawn(dark=True)
    texts = [upper._left_title, upper.xaxis.label, lower.yaxis.label, beside.yaxis.label]
    texts += upper.get_legend().get_texts()
    texts += [*upper.get_xticklabels(), *lower.get_yticklabels(), *beside.get_yticklabels()]
    assert all(same_color(text.get_color(), DARK.text) for text in texts)
    assert same_color(figure.get_facecolor(), DARK.ground) and same_color(upper.get_facecolor(), DARK.ground)
    assert same_color(lower.get_facecolor(), "#00224e") and same_color(upper.lines[0].get_color(), "#123456")
    assert same_color(upper.texts[0].get_color(), "red")
    assert same_color(upper.get_xgridlines()[0].get_color(), DARK.grid)


def test_light_ground_leaves_a_figure_as_it_is():
    _, upper, lower, _ = drawn(dark=False)
    assert same_color(upper._left_title.get_color(), "black") and same_color(upper.get_facecolor(), "white")
    assert same_color(lower.yaxis.label.get_color(), "black")
