"""Light and dark: the colours that every picture shares, so that pictures of one page look like one page.

    colours = theme(dark=True)
    figure = new_figure((9, 4), dark=True)
    axes = figure.subplots()
    ...
    dress(figure, dark=True)  # last, once all axes, titles and colour bars are there

Notable here:
- Maps of numbers are cividis (attention, scores), magma (sound) and, where there is a sign, PuOr: all three can be
  read by the colour-blind, and they are the same on light and dark ground.
- Lines and marks take the colours of Okabe and Ito (2008), in an order in which neighbours differ most; black, which
  dark ground would swallow, is the text's colour instead.
- As in `plots.py`, matplotlib is imported when a picture is drawn, and figures belong to no window.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ATTENTION = "cividis"  # colour map of weights and scores from 0 up
SOUND = "magma"  # colour map of spectrograms
DIFFERENCE = "PuOr_r"  # colour map of what has a sign, 0 in its middle
LOWEST = "#00224e"  # cividis at 0: the ground where no patch lies
HIGHEST = "#fee838"  # cividis at 1
SILENT = "#000004"  # magma at 0
MARKED = "#ff8c42"  # of outlines over magma and cividis, on any ground


@dataclass(frozen=True)
class Theme:
    """Colours of one ground, all as `#rrggbb`.

    Attributes:
        ground: Of the figure and its axes.
        text: Of titles and labels.
        faint: Of ticks, frames and what is said on the side.
        grid: Of lines behind the data.
        marks: Of lines and marks, the strongest first; Okabe and Ito's.
        accent: Of what is chosen or outlined; seen on the ground, on magma and on cividis.
    """

    ground: str
    text: str
    faint: str
    grid: str
    marks: tuple[str, ...]
    accent: str


LIGHT = Theme(
    ground="#ffffff",
    text="#1a1a1a",
    faint="#5c5c5c",
    grid="#d9d9d9",
    marks=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1a1a1a"),
    accent="#d55e00",
)
DARK = Theme(
    ground="#14171c",
    text="#eceff4",
    faint="#a7afbb",
    grid="#3a414c",
    marks=("#56b4e9", "#e69f00", "#00b98a", "#e19cc3", "#f0e442", "#ff8c42", "#eceff4"),
    accent="#ff8c42",
)


def theme(dark: bool = False) -> Theme:
    """The colours of light or dark ground."""
    return DARK if dark else LIGHT


def new_figure(size: tuple[float, float], dark: bool = False, **options: Any) -> "Figure":
    """An empty figure on its ground, laid out so that nothing overlaps; it belongs to no window.

    Args:
        size: Width and height in inches.
        dark: On dark ground.
        options: For `matplotlib.figure.Figure`, in place of `layout="constrained"`, such as another layout.
    """
    from matplotlib.figure import Figure  # no pyplot: nothing global, no backend chosen for the caller

    return Figure(figsize=size, facecolor=theme(dark).ground, **{"layout": "constrained", **options})


def dress(figure: "Figure", dark: bool = False) -> "Figure":
    """Give all that is drawn so far the colours of the ground; a light figure is left as it is.

    Changed are grounds of figures, subfigures and axes, frames, ticks, grids, labels, titles and legends, where they
    have matplotlib's own colours; what was drawn in a colour of its own keeps it, such as names over a spectrogram.

    Returns:
        The same figure.
    """
    if not dark:
        return figure
    from matplotlib.colors import same_color

    colours = theme(dark)

    def repaint(text: Any) -> None:
        if same_color(text.get_color(), "black"):
            text.set_color(colours.text)

    for part in (figure, *_subfigures(figure)):
        part.set_facecolor(colours.ground)
        for text in (*part.texts, *([part._suptitle] if part._suptitle else [])):
            repaint(text)
    every = cast(list[Any], figure.get_axes())
    for axes in [*every, *(inner for outer in every for inner in outer.child_axes)]:
        if same_color(axes.get_facecolor(), "white"):
            axes.set_facecolor(colours.ground)
        axes.tick_params(which="both", color=colours.faint)
        for text in (axes.title, axes._left_title, axes._right_title, axes.xaxis.label, axes.yaxis.label, *axes.texts):
            repaint(text)
        for axis in (axes.xaxis, axes.yaxis):
            for text in (*axis.get_ticklabels(which="both"), axis.get_offset_text()):
                repaint(text)
            axis.set_tick_params(labelcolor=colours.text)
        for spine in axes.spines.values():
            spine.set_edgecolor(colours.faint)
        for line in (*axes.get_xgridlines(), *axes.get_ygridlines()):
            line.set_color(colours.grid)
        _dress_legend(axes.get_legend(), colours)
    return figure


def _subfigures(figure: Any) -> list[Any]:
    return [each for part in figure.subfigs for each in (part, *_subfigures(part))]


def _dress_legend(legend: Any, colours: Theme) -> None:
    if legend is None:
        return
    legend.get_frame().set_facecolor(colours.ground)
    legend.get_frame().set_edgecolor(colours.grid)
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_color(colours.text)
