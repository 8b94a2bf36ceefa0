"""The sound in a picture: its spectrogram on a mel axis marked in kHz, and above it what was said or sounded, when.

What other pictures put together. As in `plots.py`, matplotlib is imported when a picture is drawn.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from .plot_theme import MARKED, SILENT, SOUND, Theme

KHZ = (0.1, 0.5, 1, 2, 4, 8, 16)  # marks of the frequency axis, which is spaced as mels are
CHARACTER = 0.085  # inches: an upper bound of a letter's mean width at 9 pt
LEVEL = 0.19  # inches: a line of text at 9 pt


def mel_of(hertz: Any) -> Any:
    """Height on the frequency axis: the mel scale of the features (HTK)."""
    return 1127.0 * np.log1p(np.asarray(hertz, dtype=np.float64) / 700.0)


def middle_edges(ranges: np.ndarray) -> np.ndarray:
    """Borders `(steps + 1,)` between neighbours that may overlap, `(steps, 2)`: midway between the two."""
    between = (ranges[1:, 0] + ranges[:-1, 1]) / 2
    return np.concatenate([ranges[:1, 0], between, ranges[-1:, 1]])


def mark_kilohertz(axes: Any, bottom: float, top: float, fontsize: int) -> None:
    """Limit a frequency axis to `bottom` to `top`, in mel, and mark it in kHz."""
    marks = [mark for mark in KHZ if bottom <= mel_of(1000 * mark) <= top]
    axes.set_ylim(bottom, top)
    axes.set_yticks(mel_of(np.array(marks) * 1000), [f"{mark:g}" for mark in marks], fontsize=fontsize)


def draw_spectrogram(
    axes: Any,
    features: np.ndarray,
    span: tuple[float, float],
    title: str = "",
    hertz: tuple[float, float] | None = None,
    fontsize: int = 9,
) -> None:
    """A spectrogram over seconds, with a frequency axis in kHz where it is known, else in mel bands.

    Args:
        axes: To draw on.
        features: `(frames, mels)`.
        span: Seconds at which the first frame begins and the last ends.
        title: Written above, on the left.
        hertz: Lowest and highest frequency.
        fontsize: Of the marks in kHz.
    """
    low, high = np.percentile(features, [2, 99.5])
    bottom, top = (0.0, float(features.shape[1])) if hertz is None else (float(mel_of(edge)) for edge in hertz)
    extent = (*span, bottom, top)
    axes.imshow(features.T, origin="lower", aspect="auto", cmap=SOUND, vmin=low, vmax=high, extent=extent)
    axes.set_facecolor(SILENT)  # before the first frame and after the last
    axes.set_xlim(0, span[1])
    if hertz is None:
        axes.set_ylabel("mel band")
    else:
        mark_kilohertz(axes, bottom, top, fontsize)
        axes.set_ylabel("kHz")
    if title:
        axes.set_title(title, loc="left", fontsize=11)


def outline(axes: Any, seconds: tuple[float, float], hertz: tuple[float, float], colour: str = MARKED) -> None:
    """A rectangle around a place on axes of seconds and mels, seen on magma and on cividis."""
    from matplotlib.patches import Rectangle

    bottom, top = (float(mel_of(edge)) for edge in hertz)
    (start, end), style = seconds, cast(dict[str, Any], {"fill": False, "zorder": 5})
    axes.add_patch(Rectangle((start, bottom), end - start, top - bottom, edgecolor="black", linewidth=2.6, **style))
    axes.add_patch(Rectangle((start, bottom), end - start, top - bottom, edgecolor=colour, linewidth=1.4, **style))


def text_levels(
    spans: Sequence[tuple[float, float]], texts: Sequence[str], seconds: float, width: float
) -> tuple[list[int], list[float]]:
    """A level from 0 and a middle in seconds for each text, so that no two of a level overlap, nor leave the picture.

    Args:
        spans: When each begins and ends; in order of their starts.
        texts: What is written above each.
        seconds: That the picture is wide.
        width: Inches that it is wide.
    """
    ends: list[float] = []  # where each level is taken up to
    levels, middles = [], []
    for (start, end), text in zip(spans, texts, strict=True):
        half = (len(text) + 1) * CHARACTER / width * seconds / 2
        middle = min(max((start + end) / 2, half), max(seconds - half, half))
        free = [level for level, taken in enumerate(ends) if taken <= middle - half]
        level = free[0] if free else len(ends)
        ends[level : level + 1] = [middle + half]
        levels.append(level)
        middles.append(middle)
    return levels, middles


def strip_height(items: Sequence[Any], seconds: float, width: float) -> float:
    """Inches that `draw_spans` needs for its items."""
    levels, _ = text_levels([_span(item) for item in items], [_text(item) for item in items], seconds, width)
    return 0.1 + LEVEL * (1 + max(levels, default=0))


def draw_spans(axes: Any, items: Sequence[Any], seconds: float, width: float, colours: Theme) -> None:
    """Words or sounds over the seconds at which they were heard: a bar for each, and its text above.

    Args:
        axes: To draw on, `strip_height` high.
        items: With `text`, `start` and `end` (words), or `label`, `onset` and `offset` (events), in order.
        seconds: Of the time axis.
        width: Of the axes in inches.
        colours: Of the ground; bars of words take turns of two, bars of events have a colour for each label.
    """
    spans, texts = [_span(item) for item in items], [_text(item) for item in items]
    levels, middles = text_levels(spans, texts, seconds, width)
    labels = list(dict.fromkeys(texts)) if items and hasattr(items[0], "label") else None
    for place, ((start, end), text, level, middle) in enumerate(zip(spans, texts, levels, middles, strict=True)):
        turn = place % 2 if labels is None else labels.index(text) % len(colours.marks)
        colour = colours.marks[turn]
        axes.plot((start, end), (0, 0), color=colour, linewidth=3.5, solid_capstyle="butt")
        if level:
            axes.plot(((start + end) / 2,) * 2, (0, 0.75 + level - 0.35), color=colour, linewidth=0.6)
        axes.text(middle, 0.75 + level, text, ha="center", va="center", fontsize=9, color=colours.text)
    axes.set_ylim(-0.3, 1.3 + max(levels, default=0))
    axes.axis("off")


def _span(item: Any) -> tuple[float, float]:
    return (item.start, item.end) if hasattr(item, "start") else (item.onset, item.offset)


def _text(item: Any) -> str:
    return item.text if hasattr(item, "text") else item.label
