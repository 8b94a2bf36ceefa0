"""Pictures of studies: error rates of several models over one scale, with the spread of their repetitions.

As in `plots.py`, matplotlib is imported when a picture is drawn, and figures belong to no window.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "osD^vP*X"
ENDS = ("#D55E00", "#000000")  # vermilion and black of Okabe and Ito, which no eye takes for cividis
APART = 0.045  # of the axis' height: labels of lines that end closer than this would cover each other
LINEAR = 2.0  # %, up to which the axis is linear, so that it has a 0; above it is logarithmic
TICKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # %


def plot_lengths(
    rates: Mapping[str, np.ndarray],
    lengths: Sequence[int],
    trained: int,
    apart: Sequence[str] = (),
    title: str = "",
    unit: str = "recordings in the string",
) -> "Figure":
    """Word error rate over length: per model the mean over seeds, with the range from the lowest to the highest.

    Lines differ by colour, which the colour-blind can tell, by marker, and by the name at their right end. The axis is
    logarithmic: a model that repeats itself until its length limit writes several wrong words per spoken one.

    Args:
        rates: By name, in the order of the colours, `(seeds, lengths)` word error rates, 1 being all words wrong.
        lengths: Of the columns.
        trained: The longest that training had; up to it the background is shaded.
        apart: Names, two at most, of what is no part of the scale that the other lines make; drawn dashed.
        title: Written above.
        unit: What a length counts.

    Returns:
        A matplotlib figure that belongs to no window; save it with `save_figure`.

    Raises:
        ValueError: Nothing to draw, rates that do not fit the lengths, or more than two names apart.
    """
    if not rates or len(apart) > len(ENDS):
        raise ValueError(f"rates of {len(rates)} models, apart={list(apart)}: at least one, and at most {len(ENDS)}")
    for name, each in rates.items():
        if each.ndim != 2 or each.shape[1] != len(lengths) or not len(each):
            raise ValueError(f"rates of {name!r} {each.shape} must be (seeds, lengths={len(lengths)})")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(min(lengths) - 0.5, trained + 0.5, color="0.93", zorder=0)
    axes.text(trained + 0.4, 1.3, "lengths that training had", ha="right", color="0.4")
    colours = _colours(list(rates), apart)
    for place, (name, each) in enumerate(rates.items()):
        style = {"color": colours[name], "marker": MARKERS[place % len(MARKERS)], "markersize": 4.5, "label": name}
        axes.plot(lengths, 100 * each.mean(0), linestyle="--" if name in apart else "-", **style)
        axes.fill_between(lengths, 100 * each.min(0), 100 * each.max(0), color=colours[name], alpha=0.12, linewidth=0)
    top = 100 * max(1.0, *(float(each.max()) for each in rates.values()))
    axes.set_yscale("symlog", linthresh=LINEAR, linscale=0.5)
    axes.set_ylim(-0.1, 1.3 * top)
    axes.set_yticks(ticks := [tick for tick in TICKS if tick < 1.3 * top], [f"{tick}" for tick in ticks])
    axes.minorticks_off()
    axes.axhline(100, color="0.6", linewidth=0.8, zorder=1)
    axes.set_xlim(min(lengths) - 0.5, max(lengths) + 0.3)
    axes.set_xticks(lengths)
    axes.set_xlabel(unit)
    axes.set_ylabel("word error rate in %")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    _name_lines(axes, {name: 100 * float(each.mean(0)[-1]) for name, each in rates.items()}, colours, max(lengths))
    if title:
        axes.set_title(title, loc="left", fontsize=11)
    return figure


def plot_reconstruction(
    original: np.ndarray,
    masked: np.ndarray,
    reconstructed: np.ndarray,
    seconds_per_feature: float,
    title: str = "",
) -> "Figure":
    """A spectrogram, what a model saw of it, and what it made of the rest: one above the other, in the same colours.

    Args:
        original: `(frames, mels)` log-mel features.
        masked: `(frames, mels)`, the share of what lies there that was hidden: 0 to 1.
        reconstructed: `(frames, mels)`.
        seconds_per_feature: Seconds per frame.
        title: Written above.

    Returns:
        A matplotlib figure that belongs to no window; save it with `save_figure`.

    Raises:
        ValueError: The three differ in shape.
    """
    if not original.shape == masked.shape == reconstructed.shape:
        shapes = f"{original.shape}, masked {masked.shape}, reconstructed {reconstructed.shape}"
        raise ValueError(f"original {shapes} must be alike: (frames, mels)")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.4), layout="constrained")
    rows = figure.subplots(3, 1, sharex=True)
    low, high = np.percentile(original, [2, 99.5])
    extent = (0, original.shape[0] * seconds_per_feature, 0, original.shape[1])
    seen = np.ma.masked_where(masked >= 0.5, original)
    pictures = {"what sounded": original, "what the model saw": seen, "what it made of it": reconstructed}
    for axes, (name, picture) in zip(rows, pictures.items(), strict=True):
        axes.set_facecolor("0.75")  # of what was hidden
        axes.imshow(picture.T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high, extent=extent)
        axes.set_ylabel(f"{name}\nmel band", fontsize=9)
    rows[-1].set_xlabel("time in seconds")
    if title:
        rows[0].set_title(title, loc="left", fontsize=11)
    return figure


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Heights at least `gap` apart, in the order that they had and about where they were."""
    order = np.argsort(heights, kind="stable")
    groups: list[list[float]] = []  # of heights that touch: [their middle, their number]
    for index in order:
        groups.append([heights[index], 1])
        while len(groups) > 1 and groups[-1][0] - groups[-2][0] < gap * (groups[-1][1] + groups[-2][1]) / 2:
            (middle, count), (other, more) = groups.pop(), groups.pop()
            groups.append([(middle * count + other * more) / (count + more), count + more])
    places = [middle + gap * (i - (count - 1) / 2) for middle, count in groups for i in range(int(count))]
    spread_out = [0.0] * len(heights)
    for index, place in zip(order, places, strict=True):
        spread_out[index] = place
    return spread_out


def _colours(names: Sequence[str], apart: Sequence[str]) -> dict[str, Any]:
    """Of the scale dark blue to yellow (cividis, without its palest end), of the others the ends."""
    from matplotlib import colormaps

    scale = [name for name in names if name not in apart]
    steps = np.linspace(0.0, 0.9, len(scale))
    return {**dict(zip(scale, colormaps["cividis"](steps), strict=True)), **dict(zip(apart, ENDS, strict=False))}


def _name_lines(axes: Any, ends: Mapping[str, float], colours: Mapping[str, Any], last: int) -> None:
    """Each line's name beside its right end, moved up or down where names would cover each other."""
    to_axes = axes.transAxes.inverted()
    shares = [float(to_axes.transform(axes.transData.transform((last, end)))[1]) for end in ends.values()]
    heights = spread(shares, APART)
    beyond = max(0.0, max(heights) - 1)  # the title is there
    for (name, end), height in zip(ends.items(), heights, strict=True):
        axes.annotate(
            name,
            (last, end),
            xytext=(1.02, height - beyond),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colours[name],
                "linewidth": 0.8,
                "relpos": (0, 0.5),  # from the left of the name
                "shrinkA": 2,
                "shrinkB": 3,
            },
        )
