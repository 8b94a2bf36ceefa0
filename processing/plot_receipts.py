"""Pictures of attention receipts: what each word was heard in and what that is worth, curves of muting, and a study.

As in `plots.py`, matplotlib is imported when a picture is drawn, and figures belong to no window.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .plot_sound import draw_spectrogram, middle_edges
from .plot_theme import ATTENTION, Theme, dress, new_figure, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW = 0.3  # inches of a word's row
SOUND = 1.7  # inches of the spectrogram
LONGEST = 24  # characters of a word; longer ones end in "…"


def plot_receipts(
    features: np.ndarray,
    span: tuple[float, float],
    hertz: tuple[float, float],
    seconds: np.ndarray,
    items: Sequence[Any],
    title: str = "",
    dark: bool = False,
) -> "Figure":
    """The spectrogram; under it where each word attended, its evidence underlined; and beside that what muting costs.

    Args:
        features: `(frames, mels)` log-mel features.
        span: Seconds at which the first frame begins and the last ends.
        hertz: Lowest and highest frequency of the features.
        seconds: `(columns, 2)`, start and end of the cells of attention.
        items: Words, tags or events, with `text`, `attention` and `evidence` `(rows, columns)`, `drop` and
            `random_drops` in nats, and `without_evidence`.
        title: Written above.
        dark: On dark ground.

    Returns:
        A matplotlib figure that belongs to no window; save it with `save_figure`.

    Raises:
        ValueError: There are no items, or one's attention has other columns.
    """
    if not items:
        raise ValueError("items is empty: nothing was said, and there is nothing to draw")
    if wrong := [item.text for item in items if item.attention.shape[1] != len(seconds)]:
        raise ValueError(f"attention of {wrong[0]!r} must have {len(seconds)} columns, as seconds {seconds.shape}")
    colours, rows = theme(dark), ROW * max(2, len(items))
    figure = new_figure((10, SOUND + rows + 1.1), dark)
    grid = figure.subplots(2, 2, width_ratios=(2.2, 1), height_ratios=(SOUND, rows), squeeze=False)
    (sound, corner), (attended, costs) = grid
    draw_spectrogram(sound, features, span, title, hertz)
    sound.set_xlim(*span)
    sound.tick_params(labelbottom=False)
    corner.axis("off")
    _draw_attention(attended, seconds, items, span, colours)
    _draw_costs(costs, items, colours)
    handles, labels = costs.get_legend_handles_labels()
    corner.legend(
        handles, labels, loc="lower left", fontsize=9, frameon=False, title="log probability lost when muted"
    )
    return dress(figure, dark)


def _draw_attention(
    axes: Any, seconds: np.ndarray, items: Sequence[Any], span: tuple[float, float], colours: Theme
) -> None:
    """A row for each item: its attention over time, relative to its highest, and a line under its evidence."""
    edges = middle_edges(seconds)
    over_time = np.stack([item.attention.sum(axis=0) for item in items])
    relative = over_time / np.maximum(over_time.max(axis=1, keepdims=True), 1e-12)
    axes.pcolormesh(edges, np.arange(len(items) + 1), relative, cmap=ATTENTION, vmin=0, vmax=1)
    for place, item in enumerate(items):
        held = item.evidence.mean(axis=0)  # of the frequencies
        for column in np.flatnonzero(held):
            line = {"color": colours.accent, "linewidth": 3.5 * np.sqrt(held[column]), "solid_capstyle": "butt"}
            axes.plot(edges[column : column + 2], (place + 0.9,) * 2, **line)
    names = [item.text if len(item.text) <= LONGEST else f"{item.text[: LONGEST - 1]}…" for item in items]
    axes.set_yticks(np.arange(len(items)) + 0.5, names, fontsize=9)
    axes.set_xlim(*span)
    axes.set_ylim(len(items), 0)
    axes.set_xlabel("time in seconds (bright: attended to; underlined: muted)")


def _draw_costs(axes: Any, items: Sequence[Any], colours: Theme) -> None:
    heights = np.arange(len(items)) + 0.5
    axes.axvline(0, color=colours.faint, linewidth=0.8)
    others = [(drop, height) for item, height in zip(items, heights, strict=True) for drop in item.random_drops]
    if others:
        axes.scatter(*zip(*others, strict=True), s=16, color=colours.faint, alpha=0.5, label="as much elsewhere")
    kinds: dict[bool, tuple[str, str, str]] = {
        False: ("what it attended to", "o", colours.marks[0]),
        True: ("the same: no evidence in the sound", "X", colours.marks[1]),
    }
    for flagged, (label, marker, colour) in kinds.items():
        own = [
            (item.drop, height)
            for item, height in zip(items, heights, strict=True)
            if item.without_evidence is flagged
        ]
        if own:
            axes.scatter(*zip(*own, strict=True), s=46, marker=marker, color=colour, label=label, zorder=3)
    axes.set_ylim(len(items), 0)
    axes.set_yticks(heights, [""] * len(items))
    axes.grid(axis="x", color=colours.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("nats lost")


def plot_curves(
    amounts: Sequence[float], curves: Mapping[str, np.ndarray], ylabel: str, title: str = "", dark: bool = False
) -> "Figure":
    """What is lost along the amount that is muted: one line per order, and the range that its mean is known to.

    Args:
        amounts: `(points,)`, shares of the cells, 0 to 1.
        curves: By name `(clips, points)`; the line is the mean, the band 1.96 standard errors of it.
        ylabel: What is lost, with its unit.
        title: Written above.
        dark: On dark ground.

    Raises:
        ValueError: No curves, or one of another number of points.
    """
    if not curves or any(curve.ndim != 2 or curve.shape[1] != len(amounts) for curve in curves.values()):
        raise ValueError(f"curves {[curve.shape for curve in curves.values()]} must be (clips, {len(amounts)}) each")
    figure, colours = new_figure((6.4, 4), dark), theme(dark)
    axes = figure.subplots()
    _draw_curves(axes, amounts, curves, ylabel, colours)
    if title:
        axes.set_title(title, loc="left", fontsize=11)
    return dress(figure, dark)


def _draw_curves(
    axes: Any, amounts: Sequence[float], curves: Mapping[str, np.ndarray], ylabel: str, colours: Theme
) -> None:
    percents = 100 * np.asarray(amounts)
    for (name, curve), colour, marker in zip(curves.items(), colours.marks, "osD^vPX", strict=False):
        mean = curve.mean(axis=0)
        error = 1.96 * curve.std(axis=0, ddof=min(1, len(curve) - 1)) / np.sqrt(len(curve))
        axes.plot(percents, mean, color=colour, marker=marker, label=name)
        axes.fill_between(percents, mean - error, mean + error, color=colour, alpha=0.18, linewidth=0)
    axes.set_xlabel("muted, in % of the clip")
    axes.set_ylabel(ylabel)
    axes.grid(color=colours.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)


def plot_study(
    worth: Mapping[str, tuple[np.ndarray, np.ndarray]],
    confidence: Mapping[str, tuple[np.ndarray, np.ndarray]],
    threshold: float,
    amounts: Sequence[float],
    curves: Mapping[str, np.ndarray],
    dark: bool = False,
) -> "Figure":
    """What evidence is worth to words that were said and to words that were not, what that finds beside the model's
    confidence, and what muting costs.

    Args:
        worth: By how words were cut out, of words that are there and of words that are not, `(words,)` each.
        confidence: The same of the model's confidence.
        threshold: Of worth.
        amounts: `(points,)` of the curve, shares.
        curves: By name `(clips, points)` nats lost per word.
        dark: On dark ground.

    Raises:
        ValueError: Other names in `confidence` than in `worth`.
    """
    if list(worth) != list(confidence):
        raise ValueError(f"confidence of {list(confidence)} must be of the same words as worth, {list(worth)}")
    figure, colours = new_figure((13, 4.2), dark), theme(dark)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.25, 1, 1.1))
    _draw_worth(left, worth, threshold, colours)
    _draw_found(middle, worth, confidence, colours)
    _draw_curves(right, amounts, curves, "nats lost per word", colours)
    right.set_title("what muting costs", loc="left", fontsize=11)
    return dress(figure, dark)


def _draw_worth(
    axes: Any, worth: Mapping[str, tuple[np.ndarray, np.ndarray]], threshold: float, colours: Theme
) -> None:
    """A row of dots for the words of each kind, scattered in height so that they can be counted."""
    generator = np.random.default_rng(0)
    names, height = [], 0
    for name, kinds in worth.items():
        for kind, values, colour in zip(("said", "not said"), kinds, colours.marks, strict=False):
            at = height + generator.uniform(-0.32, 0.32, len(values))
            axes.scatter(values, at, s=9, color=colour, alpha=0.55, linewidth=0)
            names.append(f"{name}:\n{kind} ({len(values)})")
            height += 1
    axes.axvline(threshold, color=colours.text, linestyle="--", linewidth=1)
    axes.annotate(
        f" below {threshold:.2f}: no evidence", (threshold, -0.62), fontsize=8, color=colours.faint, va="center"
    )
    axes.set_yticks(range(height), names, fontsize=9)
    axes.set_ylim(height - 0.5, -0.8)
    axes.set_xlabel("worth of the evidence, in points of confidence")
    axes.set_title("words that the model was made to say", loc="left", fontsize=11)


def _draw_found(
    axes: Any,
    worth: Mapping[str, tuple[np.ndarray, np.ndarray]],
    confidence: Mapping[str, tuple[np.ndarray, np.ndarray]],
    colours: Theme,
) -> None:
    for place, name in enumerate(worth):
        for label, values, style in (("worth", worth[name], "-"), ("confidence", confidence[name], ":")):
            alarms, found = roc(*values)
            axes.plot(
                100 * alarms, 100 * found, style, color=colours.marks[place], linewidth=1.8, label=f"{label}, {name}"
            )
    axes.plot((0, 100), (0, 100), color=colours.grid, linewidth=0.8)
    axes.set_xlabel("false alarms, in % of the words said")
    axes.set_ylabel("found, in % of the words not said")
    axes.set_title("what each threshold finds", loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=9, loc="lower right")


def roc(said: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Along a rising threshold, the shares of `said` and of `missing` that lie below it: each `(thresholds,)`."""
    lines = np.append(np.unique(np.concatenate([said, missing])), np.inf)
    below_said, below_missing = (np.searchsorted(np.sort(each), lines) / max(len(each), 1) for each in (said, missing))
    return below_said, below_missing
