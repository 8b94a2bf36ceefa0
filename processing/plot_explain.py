"""What the figures of `aural explain` have in common: a board measured in inches, and matrices drawn on it.

Notable here:
- a board places everything by hand, from its upper left corner: the figures are diagrams, whose parts stand in rows
  and point at each other, and no layout engine knows what belongs together;
- a matrix shows its numbers where there is room to read them, and the range of its colours where there is not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .explained import Sound
from .plot_theme import DIFFERENCE, SOUND, new_figure, theme

WIDTH = 9.0  # inches of every board: 900 pixels at 100 dots an inch, where 8 points can be read
SMALL, NORMAL, LARGE = 8, 9, 12.5  # points
KHZ = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16)  # marks of frequency axes


class Board:
    """A figure without layout; places are inches from its upper left corner.

    Args:
        height: In inches.
        dark: On dark ground.
    """

    def __init__(self, height: float, dark: bool) -> None:
        self.height, self.colours = height, theme(dark)
        self.figure = new_figure((WIDTH, height), dark, layout=None)

    def axes(self, x: float, y: float, width: float, height: float) -> Any:
        """Axes whose upper left corner is at (x, y), without ticks."""
        area = (x / WIDTH, 1 - (y + height) / self.height, width / WIDTH, height / self.height)
        axes = self.figure.add_axes(area, facecolor=self.colours.ground)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.tick_params(colors=self.colours.faint, labelcolor=self.colours.text, labelsize=SMALL, length=2, pad=2)
        for spine in axes.spines.values():
            spine.set(edgecolor=self.colours.faint, linewidth=0.7)
        return axes

    def text(self, x: float, y: float, text: str, size: float = NORMAL, **options: Any) -> Any:
        """Text whose upper left corner is at (x, y); `options` of matplotlib's text, such as `ha` and `va`."""
        named = {"color": self.colours.text, "va": "top", "fontsize": size, "linespacing": 1.3, **options}
        return self.figure.text(x / WIDTH, 1 - y / self.height, text, **named)

    def title(self, title: str, said: str) -> None:
        """The two lines above everything."""
        self.text(0.3, 0.2, title, LARGE, weight="bold")
        self.text(0.3, 0.5, said, NORMAL, color=self.colours.faint)

    def step(self, y: float, number: str, title: str, said: str = "", x: float = 0.3) -> None:
        """The heading of a part: its number, what happens in it, and more in smaller letters."""
        from matplotlib.text import Annotation

        start = self.text(x, y, f"{number}  {title}", 10.5, weight="bold")
        behind = {"facecolor": self.colours.ground, "edgecolor": "none", "pad": 1}
        after = {"xycoords": start, "textcoords": "offset points", "va": "bottom", "bbox": behind}
        self.figure.add_artist(Annotation(said, (1, 0), (7, 1.3), fontsize=NORMAL, color=self.colours.faint, **after))

    def arrow(self, x: float, y: float, to_x: float, to_y: float, label: str = "", **options: Any) -> None:
        """An arrow with a label above its middle; to the right of it where it is upright."""
        from matplotlib.patches import FancyArrowPatch

        ends = [(a / WIDTH, 1 - b / self.height) for a, b in ((x, y), (to_x, to_y))]
        named = {"color": self.colours.faint, "linewidth": 1.2, **options}
        self.figure.add_artist(
            FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=9, shrinkA=0, shrinkB=0, **named)
        )
        if label:
            middle = ((x + to_x) / 2, (y + to_y) / 2)
            if abs(to_x - x) >= abs(to_y - y):
                self.text(middle[0], middle[1] - 0.05, label, SMALL + 0.5, ha="center", va="bottom")
            else:
                self.text(middle[0] + 0.08, middle[1], label, SMALL + 0.5, va="center")

    def line(self, x: Sequence[float], y: Sequence[float], **options: Any) -> None:
        """A line through places."""
        from matplotlib.lines import Line2D

        named = {"color": self.colours.faint, "linewidth": 0.8, **options}
        across, down = np.array(x) / WIDTH, 1 - np.array(y) / self.height
        self.figure.add_artist(Line2D(across, down, transform=self.figure.transFigure, **named))

    def image(
        self, x: float, y: float, width: float, height: float, values: np.ndarray, **options: Any
    ) -> tuple[Any, Any]:
        """An array as a picture, row 0 on top: its axes and image. With a sign, 0 is in the middle of the colours."""
        axes = self.axes(x, y, width, height)
        if "cmap" not in options:
            limit = max(float(np.abs(values).max()), 1e-9)
            options = {"cmap": DIFFERENCE, "vmin": -limit, "vmax": limit, **options}
        return axes, axes.imshow(values, **{"aspect": "auto", "interpolation": "nearest", **options})

    def scale(self, x: float, y: float, width: float, image: Any, form: str = "{:.1f}") -> None:
        """A thin bar of an image's colours, its lowest and highest value at its ends."""
        low, high = image.get_clim()
        axes = self.axes(x, y, width, 0.07)
        axes.imshow(np.linspace(0, 1, 64)[None], aspect="auto", cmap=image.get_cmap())
        for spine in axes.spines.values():
            spine.set_visible(False)
        self.text(x, y + 0.09, form.format(low).replace("-", "−"), SMALL, color=self.colours.faint)
        self.text(x + width, y + 0.09, form.format(high), SMALL, color=self.colours.faint, ha="right")

    def matrix(
        self,
        x: float,
        y: float,
        cell: tuple[float, float],
        values: np.ndarray,
        rows: Sequence[str] = (),
        columns: Sequence[str] = (),
        **options: Any,
    ) -> tuple[Any, Any]:
        """A small matrix with its numbers: its axes and image; minus infinity is a dark cell with −∞.

        Args:
            x, y: Upper left corner.
            cell: Width and height of a cell.
            values: `(rows, columns)`.
            rows, columns: Their labels, left and above.
            options: Of `image`.
        """
        finite = np.where(np.isfinite(values), values, 0.0)
        height, width = values.shape[0] * cell[1], values.shape[1] * cell[0]
        axes, image = self.image(x, y, width, height, np.ma.masked_where(~np.isfinite(values), finite), **options)
        image.set_cmap(image.get_cmap().with_extremes(bad=self.colours.faint))
        for (row, column), value in np.ndenumerate(values):
            shade = self.colours.faint if not np.isfinite(value) else image.cmap(image.norm(value))
            axes.text(column, row, number(value), ha="center", va="center", fontsize=SMALL, color=readable(shade))
        for edge in np.arange(1, values.shape[1]):
            axes.axvline(edge - 0.5, color=self.colours.ground, linewidth=0.8)
        for edge in np.arange(1, values.shape[0]):
            axes.axhline(edge - 0.5, color=self.colours.ground, linewidth=0.8)
        self.labels(x, y, cell, rows, columns)
        return axes, image

    def labels(
        self, x: float, y: float, cell: tuple[float, float], rows: Sequence[str], columns: Sequence[str]
    ) -> None:
        """Labels left of rows and above columns of cells."""
        for place, label in enumerate(rows):
            self.text(
                x - 0.07, y + (place + 0.5) * cell[1], label, SMALL + 0.5, ha="right", va="center", weight="bold"
            )
        for place, label in enumerate(columns):
            self.text(x + (place + 0.5) * cell[0], y - 0.05, label, SMALL + 0.5, ha="center", va="bottom")

    def spectrogram(self, x: float, y: float, width: float, height: float, sound: Sound, seconds: bool = True) -> Any:
        """What was heard, over seconds and kHz: its axes, in seconds and mel bands."""
        low, high = np.percentile(sound.features, [2, 99.5])
        axes = self.axes(x, y, width, height)
        extent = (0, sound.seconds, 0, len(sound.hertz))
        axes.imshow(
            sound.features.T,
            origin="lower",
            aspect="auto",
            cmap=SOUND,
            vmin=low,
            vmax=max(high, low + 1e-6),
            extent=extent,
        )
        marks = kilohertz_marks(sound.hertz)
        axes.set_yticks(list(marks.values()), [f"{mark:g}" for mark in marks])
        axes.set_ylabel("kHz", fontsize=SMALL, color=self.colours.text, labelpad=2)
        if seconds:
            self.seconds(axes)
        return axes

    def seconds(self, axes: Any) -> None:
        """Marks of time under axes that lie over seconds."""
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 5, 10]))
        axes.set_xlabel("seconds", fontsize=SMALL, color=self.colours.text, labelpad=1)

    def box(
        self, axes: Any, box: np.ndarray, colour: str, label: str = "", corner: str = "top", **options: Any
    ) -> None:
        """A box `(4,)` on a spectrogram's axes, with a label inside its upper left or lower right corner."""
        from matplotlib.patches import Rectangle

        start, end, low, high = box
        named = {"fill": False, "edgecolor": colour, "linewidth": 1.6, "clip_on": False, **options}
        axes.add_patch(Rectangle((start, low), end - start, high - low, **named))
        if label:
            place, to = ((start, high), (2, -2)) if corner == "top" else ((end, low), (-2, 2))
            axes.annotate(
                label,
                place,
                to,
                textcoords="offset points",
                fontsize=SMALL,
                weight="bold",
                color=readable(colour),
                ha="left" if corner == "top" else "right",
                va="top" if corner == "top" else "bottom",
                bbox={"boxstyle": "square,pad=0.12", "facecolor": colour, "edgecolor": "none"},
            )


def kilohertz_marks(hertz: np.ndarray) -> Mapping[float, float]:
    """kHz to mark, and the mel band at which each lies, of bands whose middles are `hertz` `(mels,)`."""
    bands = {mark: float(np.interp(mark * 1000, hertz, np.arange(len(hertz)) + 0.5)) for mark in KHZ}
    inside = {mark: band for mark, band in bands.items() if hertz[0] <= mark * 1000 <= hertz[-1]}
    kept: dict[float, float] = {}
    for mark, band in reversed(inside.items()):  # from the top, where there is room
        if not kept or min(kept.values()) - band >= len(hertz) / 8:
            kept[mark] = band
    return kept


def number(value: float) -> str:
    """A number of four signs or so: two digits after the point, fewer of large ones."""
    if not np.isfinite(value):
        return "−∞"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits}f}".replace("-", "−")


def readable(colour: Any) -> str:
    """Black or white, whichever is read on a colour."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(colour)
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "#ffffff"
