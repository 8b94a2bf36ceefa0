"""The picture of a caption: the spectrogram, and for each word a panel of where it looked, in seconds and kHz.

As in `plots.py`, matplotlib is imported when a picture is drawn, and figures belong to no window.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .grid import PatchGrid
from .plot_sound import draw_spectrogram, mark_kilohertz, mel_of, middle_edges, outline
from .plot_theme import ATTENTION, LOWEST, dress, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 4  # panels in a row


def plot_caption(
    features: np.ndarray,
    attention: Sequence[np.ndarray],
    words: Sequence[str],
    grid: PatchGrid,
    seconds_per_feature: float,
    sounds: Sequence[Any] = (),
    title: str = "",
    *,
    start: float = 0.0,
    place: tuple[tuple[float, float], tuple[float, float]] | None = None,
    dark: bool = False,
) -> "Figure":
    """The spectrogram above, and below it each word over the same axes: bright where it looked.

    A panel's brightness is relative to its own highest weight, which stands in its corner.

    Args:
        features: `(frames, mels)` log-mel features.
        attention: Of each word `(rows, columns)` weights over patches, low mels first.
        words: One per map.
        grid: Where rows and columns lie; its columns count from the start of the features.
        seconds_per_feature: Seconds per frame of `features`.
        sounds: What really sounded, with `source`, `start` and `end` in seconds: written over the spectrogram.
        title: Written above.
        start: Seconds at which the first frame of the features begins.
        place: Seconds and Hz, from and to, that are outlined everywhere: what looked.
        dark: On dark ground.

    Returns:
        A matplotlib figure that belongs to no window; save it with `save_figure`.

    Raises:
        ValueError: No words, another number of maps, or a map that does not fit the grid.
    """
    shape = (len(grid.hertz), len(grid.seconds))
    if not words or len(words) != len(attention):
        raise ValueError(f"{len(words)} words and {len(attention)} maps; there must be as many, at least one")
    if wrong := [each.shape for each in attention if each.shape != shape]:
        raise ValueError(f"attention {wrong[0]} must be (rows, columns) = {shape}, as the grid")
    columns = min(COLUMNS, len(words))
    end, rows = start + len(features) * seconds_per_feature, -(-len(words) // columns)
    high = (1.35 if columns > 2 else 1.8) * rows
    figure = new_figure((11, 2.3 + high), dark)
    halves: Any = figure.subfigures(2, 1, height_ratios=(2.3, high))
    above, below = halves
    sound = above.subplots()
    draw_spectrogram(sound, features, (start, end), hertz=(grid.hertz.min(), grid.hertz.max()))
    sound.set_xlabel("time in seconds")
    if title:
        sound.set_title(title, loc="left", fontsize=12)
    _name_sounds(sound, sounds)
    panels = below.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for panel, word, weights in zip(panels.ravel(), words, attention, strict=False):
        _draw_word(panel, word, weights, grid, end)
    for panel in panels.ravel()[len(words) :]:
        panel.axis("off")
    for index, panel in enumerate(panels.ravel()[: len(words)]):
        if index + columns >= len(words):  # nothing is drawn under it
            panel.set_xlabel("s", fontsize=8, labelpad=1)
            panel.tick_params(labelbottom=True)
    for panel in panels[:, 0]:
        panel.set_ylabel("kHz", fontsize=8)
    if place is not None:
        for axes in (sound, *panels.ravel()[: len(words)]):
            outline(axes, *place)
    return dress(figure, dark)


def _name_sounds(axes: Any, sounds: Sequence[Any]) -> None:
    """Over the spectrogram a row for each source, with its name and a line for as long as each of its sounds lasts."""
    bottom, top = axes.get_ylim()
    rows = {source: place for place, source in enumerate(dict.fromkeys(sound.source for sound in sounds))}
    step = 0.1 * (top - bottom)
    for source, place in rows.items():
        height = top - 0.05 * (top - bottom) - place * step
        own = [sound for sound in sounds if sound.source == source]
        for sound in own:
            axes.plot((sound.start, sound.end), (height, height), color="white", linewidth=2.5, solid_capstyle="butt")
        first = min(sound.start for sound in own)
        place_of_name = {"xytext": (-4, 0), "textcoords": "offset points", "ha": "right", "va": "center"}
        axes.annotate(source, (first, height), color="white", fontsize=9, **place_of_name)
    axes.set_ylim(bottom, top)


def _draw_word(axes: Any, word: str, weights: np.ndarray, grid: PatchGrid, end: float) -> None:
    edges = middle_edges(grid.seconds)
    heights = mel_of(middle_edges(grid.hertz))
    axes.pcolormesh(edges, heights, weights, cmap=ATTENTION, vmin=0, vmax=max(float(weights.max()), 1e-9))
    axes.set_xlim(0, end)
    axes.set_facecolor(LOWEST)  # where no patch reaches
    mark_kilohertz(axes, heights[0], heights[-1], fontsize=8)
    axes.tick_params(labelsize=8, length=2)
    axes.set_title(word, loc="left", fontsize=10, pad=2)
    axes.set_title(f"{weights.max():.0%}", loc="right", fontsize=8, color="0.5", pad=2)
