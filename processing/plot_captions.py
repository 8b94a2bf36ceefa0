"""The picture of a caption: the spectrogram, and for each word a panel of where it looked, in seconds and kHz.

As in `plots.py`, matplotlib is imported when a picture is drawn, and figures belong to no window.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .grid import PatchGrid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 4  # panels in a row
KHZ = (0.1, 0.5, 1, 2, 4, 8, 16)  # marks of the frequency axis, which is spaced as mels are


def plot_caption(
    features: np.ndarray,
    attention: Sequence[np.ndarray],
    words: Sequence[str],
    grid: PatchGrid,
    seconds_per_feature: float,
    sounds: Sequence[Any] = (),
    title: str = "",
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
    from matplotlib.figure import Figure

    end, rows = len(features) * seconds_per_feature, -(-len(words) // COLUMNS)
    figure = Figure(figsize=(11, 2.3 + 1.35 * rows), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=(2.3, 1.35 * rows))
    above, below = halves
    sound = above.subplots()
    _draw_sound(sound, features, grid, end, title)
    _name_sounds(sound, sounds)
    panels = below.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    for panel, word, weights in zip(panels.ravel(), words, attention, strict=False):
        _draw_word(panel, word, weights, grid, end)
    for panel in panels.ravel()[len(words) :]:
        panel.axis("off")
    for place, panel in enumerate(panels.ravel()[: len(words)]):
        if place + COLUMNS >= len(words):  # nothing is drawn under it
            panel.set_xlabel("s", fontsize=8, labelpad=1)
            panel.tick_params(labelbottom=True)
    for panel in panels[:, 0]:
        panel.set_ylabel("kHz", fontsize=8)
    return figure


def mel_of(hertz: Any) -> Any:
    """Height on the frequency axis: the mel scale of the features (HTK)."""
    return 1127.0 * np.log1p(np.asarray(hertz, dtype=np.float64) / 700.0)


def _draw_sound(axes: Any, features: np.ndarray, grid: PatchGrid, end: float, title: str) -> None:
    low, high = np.percentile(features, [2, 99.5])
    bottom, top = mel_of(grid.hertz.min()), mel_of(grid.hertz.max())
    axes.imshow(
        features.T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=low,
        vmax=high,
        extent=(0, end, bottom, top),
    )
    _mark_kilohertz(axes, bottom, top, fontsize=9)
    axes.set_ylabel("kHz")
    axes.set_xlabel("time in seconds")
    if title:
        axes.set_title(title, loc="left", fontsize=12)


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
    edges = _edges(grid.seconds)
    heights = mel_of(_edges(grid.hertz))
    axes.pcolormesh(edges, heights, weights, cmap="cividis", vmin=0, vmax=max(float(weights.max()), 1e-9))
    axes.set_xlim(0, end)
    axes.set_facecolor("#00204c")  # the lowest of cividis, where no patch reaches
    _mark_kilohertz(axes, heights[0], heights[-1], fontsize=7)
    axes.tick_params(labelsize=7, length=2)
    axes.set_title(word, loc="left", fontsize=10, pad=2)
    axes.set_title(f"{weights.max():.0%}", loc="right", fontsize=7, color="0.4", pad=2)


def _edges(ranges: np.ndarray) -> np.ndarray:
    """Borders `(steps + 1,)` between neighbours that may overlap, `(steps, 2)`: midway between the two."""
    between = (ranges[1:, 0] + ranges[:-1, 1]) / 2
    return np.concatenate([ranges[:1, 0], between, ranges[-1:, 1]])


def _mark_kilohertz(axes: Any, bottom: float, top: float, fontsize: int) -> None:
    marks = [mark for mark in KHZ if bottom <= mel_of(1000 * mark) <= top]
    axes.set_ylim(bottom, top)
    axes.set_yticks(mel_of(np.array(marks) * 1000), [f"{mark:g}" for mark in marks], fontsize=fontsize)
