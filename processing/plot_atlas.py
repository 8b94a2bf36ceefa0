"""The map of an atlas: layers over heads, their names, and a panel for each thing that was measured of them.

As in `plots.py`, matplotlib is imported when a picture is drawn, and figures belong to no window.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .plot_theme import ATTENTION, DIFFERENCE, dress, new_figure, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL = 0.25  # inches that a layer is high
NAME_WIDTH, NUMBER_WIDTH = 0.76, 0.42  # inches that a head needs for its name and for a number
LEAST_WIDTH = 1.5  # inches of a panel, for its title
FONT = 8
BESIDE = 6  # heads up to which names stand beside the panels, not above
GROUPS = {  # which names have one colour: of theme.marks, by index; the rest have none
    **dict.fromkeys(("itself", "previous", "next", "same time", "same frequency", "nearby", "position"), 0),
    "content": 1,
    "same source": 2,
    "class token": 3,
    "silence": 4,
}


@dataclass(frozen=True)
class _Panel:
    """What a panel shows: a title, values, and how their numbers are written.

    `low` and `high` are intervals, None where there are none; numbers whose interval leaves out 0 are bold. `middle`
    is the value that has the middle colour of a map with two ends; None for a map from 0 up.
    """

    title: str
    values: np.ndarray
    form: str
    middle: float | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def plot_atlas(
    names: Sequence[Sequence[str]], measures: Mapping[str, np.ndarray], title: str = "", dark: bool = False
) -> "Figure":
    """Names of all heads, and panels of what they do and are worth; the first layer is the lowest row.

    Panels: mean distance along time and frequency, entropy over that of uniform attention, content against position,
    attention to the own source beyond what distance gives it, to class tokens, and the drop of tags and onsets without
    the head in points of a hundred. What was measured of no head has no panel; a head of which it was not, no colour.

    Args:
        names: Of each layer, one per head.
        measures: `(layers, heads)` by the names of `aural.atlas.MEASURES`; what is not there is not drawn.
        title: Written above.
        dark: On dark ground.

    Returns:
        A matplotlib figure that belongs to no window; save it with `save_figure`.

    Raises:
        ValueError: No heads, or measures of another shape.
    """
    layers, heads = len(names), len(names[0]) if names else 0
    if not heads or any(len(row) != heads for row in names):
        raise ValueError(f"names of {layers} layers must have as many heads each, at least one")
    if wrong := [name for name, values in measures.items() if np.shape(values) != (layers, heads)]:
        raise ValueError(f"measures {wrong[0]!r} must be (layers, heads) = {(layers, heads)}")
    panels = [panel for panel in _panels(measures) if np.isfinite(panel.values).any()]
    figure, map_axes, grid = _layout(layers, heads, len(panels), dark)
    _draw_names(map_axes, names, dark)
    numbers = heads <= BESIDE
    for panel, axes in zip(panels, grid, strict=True):
        _draw_panel(figure, axes, panel, numbers, dark)
    if numbers and any(panel.low is not None for panel in panels):
        figure.supxlabel("bold: the 95% interval leaves out 0", x=0.99, ha="right", fontsize=FONT)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return dress(figure, dark)


def _panels(measures: Mapping[str, np.ndarray]) -> list[_Panel]:
    def of(name: str) -> np.ndarray:
        return np.asarray(measures.get(name, np.full((1, 1), np.nan)), dtype=np.float64)

    classes = of("class_token")
    more = (of("own") - of("by_distance"), of("own_low"), of("own_high"))
    return [
        _Panel("distance in time,\nseconds", of("seconds"), "{:.2f}"),
        _Panel("distance in frequency,\nmel bands", of("mels"), "{:.0f}"),
        _Panel("entropy, 1 is to all\npatches alike", of("relative_entropy"), "{:.2f}"),
        _Panel("to class tokens,\nshare of attention", np.where((classes > 0).any(), classes, np.nan), "{:.2f}"),
        _Panel("0 follows position,\n1 content, grey neither", of("content"), "{:.2f}", middle=0.5),
        _Panel("own source, beyond\ndistance, in points", 100 * more[0], "{:+.0f}", 0.0, more[1], more[2]),
        _Panel(
            "worth for tags,\npoints lost without", 100 * of("tags"), "{:+.1f}", 0.0, of("tags_low"), of("tags_high")
        ),
        _Panel(
            "worth for onsets,\npoints of F1 lost",
            *(100 * of("onsets"), "{:+.1f}", 0.0, of("onsets_low"), of("onsets_high")),
        ),
    ]


def _layout(layers: int, heads: int, panels: int, dark: bool) -> tuple["Figure", Any, list[Any]]:
    """A figure, the axes of the names, and those of the panels, two rows of them."""
    across = max(1, -(-panels // 2))
    wide, high = max(LEAST_WIDTH, NUMBER_WIDTH * heads), max(0.9, CELL * layers)
    name_width = max(LEAST_WIDTH, NAME_WIDTH * heads)
    shown = 2 if panels > 1 else 1
    if heads <= BESIDE:
        size = (name_width + across * (wide + 0.2) + 1.0, shown * (high + 0.55) + 0.9)
        figure = new_figure(size, dark)
        cells = figure.add_gridspec(shown, 1 + across, width_ratios=[name_width, *[wide] * across])
        map_axes, offset = figure.add_subplot(cells[:, 0]), (0, 1)
    else:
        wide = max(LEAST_WIDTH, 0.17 * heads)
        size = (max(name_width + 0.8, across * (wide + 0.9)), 0.34 * layers + shown * (high + 0.7) + 1.2)
        figure = new_figure(size, dark)
        cells = figure.add_gridspec(1 + shown, across, height_ratios=[0.34 * layers, *[high] * shown])
        map_axes, offset = figure.add_subplot(cells[0, :]), (1, 0)
    grid = [
        figure.add_subplot(cells[offset[0] + place // across, offset[1] + place % across]) for place in range(panels)
    ]
    return figure, map_axes, grid


def _draw_names(axes: Any, names: Sequence[Sequence[str]], dark: bool) -> None:
    from matplotlib.colors import to_rgba

    colours = theme(dark)
    ground = [
        [to_rgba(colours.marks[GROUPS[name]], 0.35) if name in GROUPS else (0, 0, 0, 0) for name in row]
        for row in names
    ]
    axes.imshow(np.array(ground), origin="lower", aspect="auto")
    for layer, row in enumerate(names):
        for head, name in enumerate(row):
            text = name.replace(" ", "\n")
            axes.text(head, layer, text, ha="center", va="center", fontsize=FONT, color=colours.text, linespacing=0.9)
    _frame(axes, len(names), len(names[0]), dark)
    axes.set_title("what each head mostly does", fontsize=FONT + 1, loc="left")
    axes.set_ylabel("layer", fontsize=FONT + 1)
    axes.set_xlabel("head", fontsize=FONT + 1)


def _draw_panel(figure: "Figure", axes: Any, panel: _Panel, numbers: bool, dark: bool) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    values = panel.values
    if panel.middle is None:
        scale, colour_map = Normalize(0.0, max(float(np.nanmax(values)), 1e-9)), colormaps[ATTENTION]
    else:
        reach = 0.5 if panel.middle else max(float(np.nanmax(np.abs(values))), 1e-9)
        scale, colour_map = Normalize(panel.middle - reach, panel.middle + reach), colormaps[DIFFERENCE]
    axes.set_facecolor(theme(dark).grid)
    image = axes.imshow(np.ma.masked_invalid(values), origin="lower", aspect="auto", cmap=colour_map, norm=scale)
    if numbers:
        for (layer, head), value in np.ndenumerate(values):
            if np.isfinite(value):
                red, green, blue, _ = colour_map(scale(value))
                ink = "#ffffff" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "#101010"
                weight = "bold" if _leaves_out_zero(panel, layer, head) else "normal"
                place = {"ha": "center", "va": "center", "fontsize": FONT, "color": ink, "weight": weight}
                axes.text(head, layer, _written(panel.form, value), **place)
    else:
        bar = figure.colorbar(image, ax=axes, fraction=0.06, pad=0.02)
        bar.ax.tick_params(labelsize=FONT)
    _frame(axes, len(values), values.shape[1], dark)
    axes.set_title(panel.title, fontsize=FONT, loc="left", linespacing=1.15)


def _written(form: str, value: float) -> str:
    """A number with a minus as long as the plus; what is rounded to 0 has no sign."""
    text = form.format(value)
    return text.replace("-", "−") if float(text) else text.lstrip("+-")


def _leaves_out_zero(panel: _Panel, layer: int, head: int) -> bool:
    if panel.low is None or panel.high is None:
        return False
    return bool(panel.low[layer, head] > 0 or panel.high[layer, head] < 0)


def _frame(axes: Any, layers: int, heads: int, dark: bool) -> None:
    """Numbers of layers and heads, thin lines between the cells, and no box."""
    axes.set_xticks(range(heads), [str(head) for head in range(heads)], fontsize=FONT)
    step = 1 if layers <= 16 else 2
    axes.set_yticks(range(0, layers, step), [str(layer) for layer in range(0, layers, step)], fontsize=FONT)
    axes.set_xticks(np.arange(heads + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(layers + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=theme(dark).ground, linewidth=1.2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
