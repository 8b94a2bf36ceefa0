"""One attention map under the spectrogram, and two models' maps with what differs: over the same seconds and Hz.

As in `plots.py`, matplotlib is imported when a picture is drawn, and figures belong to no window.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import numpy as np

from .plot_sound import draw_spans, draw_spectrogram, mark_kilohertz, mel_of, middle_edges, outline, strip_height
from .plot_theme import ATTENTION, DIFFERENCE, dress, new_figure, theme
from .plots import SHOWN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 9.0  # inches
AXES = 7.4  # inches of it that the time axis takes


@dataclass(frozen=True, eq=False)
class Sound:
    """What stands above every map.

    Attributes:
        features: `(frames, mels)` log-mel features.
        span: Seconds at which the first frame begins and the last ends.
        hertz: Lowest and highest frequency of the features.
        items: Words or events, in order: with `text`, `start` and `end`, or `label`, `onset` and `offset`.
    """

    features: np.ndarray
    span: tuple[float, float]
    hertz: tuple[float, float]
    items: Sequence[Any] = ()


@dataclass(frozen=True, eq=False)
class Shown:
    """A map to draw.

    Attributes:
        name: Of the model.
        weights: `(rows, columns)`; rows are bands of frequency, low ones first, or tokens.
        seconds: `(columns, 2)`, start and end of each column; neighbours may overlap.
        hertz: `(rows, 2)` of bands; None where rows are tokens.
        tokens: Of the rows, where they are tokens.
    """

    name: str
    weights: np.ndarray
    seconds: np.ndarray
    hertz: np.ndarray | None = None
    tokens: tuple[str, ...] = ()

    @property
    def columns(self) -> np.ndarray:
        """Edges `(columns + 1,)` in seconds."""
        return middle_edges(self.seconds)

    @property
    def rows(self) -> np.ndarray:
        """Edges `(rows + 1,)`: mel of bands, else rows counted from the first token's upper edge."""
        return np.arange(len(self.tokens) + 1.0) if self.hertz is None else mel_of(middle_edges(self.hertz))


def plot_map(
    sound: Sound,
    shown: Shown,
    title: str = "",
    place: tuple[tuple[float, float], tuple[float, float]] | None = None,
    dark: bool = False,
) -> "Figure":
    """The spectrogram with what was heard, and under it one map over the same seconds and frequencies.

    Args:
        sound: What stands above.
        shown: The map, whose rows are bands.
        title: Written above.
        place: Seconds and Hz, from and to, that are outlined: what looked.
        dark: On dark ground.

    Returns:
        A matplotlib figure that belongs to no window; save it with `save_figure`.

    Raises:
        ValueError: The map does not fit its rows and columns.
    """
    _check(shown)
    figure, (axes,) = _under_sound(sound, [1.8], title, dark)
    image = _draw(axes, shown, ATTENTION, (0.0, _top(shown.weights)))
    axes.set_ylabel("kHz")
    axes.set_xlabel("time in seconds")
    figure.colorbar(image, ax=axes, label="attention", fraction=0.03, pad=0.01)
    if place is not None:
        for each in figure.axes[len(figure.axes) - 3 : -1]:  # spectrogram and map
            outline(each, *place)
    return dress(figure, dark)


def plot_comparison(sound: Sound, one: Shown, other: Shown, title: str = "", dark: bool = False) -> "Figure":
    """The spectrogram, the maps of two models in one scale, and what the second has more or less than the first.

    Maps of different steps are brought to the finer ones before they are compared (`rebinned`); of tokens the rows
    that both wrote are compared, and a token that one alone wrote is compared with nothing (`paired_tokens`).

    Args:
        sound: What stands above.
        one, other: Maps of the two models, both of bands or both of tokens.
        title: Written above.
        dark: On dark ground.

    Returns:
        A matplotlib figure that belongs to no window; save it with `save_figure`.

    Raises:
        ValueError: A map does not fit its rows and columns, or one is of bands and the other of tokens.
    """
    for each in (one, other):
        _check(each)
    between = difference(one, other)
    shapes = (one, other, between)
    heights = [max(1.3, 0.17 * len(each.tokens)) for each in shapes]
    figure, rows = _under_sound(sound, heights, title, dark)
    top = max(_top(one.weights), _top(other.weights)) if one.hertz is not None else 1.0
    most = max(
        float(np.abs(between.weights).max(initial=0)), 0.01 * top
    )  # what is alike is not made to look different
    for axes, each in zip(rows, shapes, strict=True):
        signed = each is between
        image = _draw(axes, each, DIFFERENCE if signed else ATTENTION, (-most, most) if signed else (0.0, top))
        axes.set_title(each.name, loc="left", fontsize=10)
        axes.set_ylabel("written" if each.hertz is None else "kHz")
        figure.colorbar(image, ax=axes, label="more or less" if signed else "attention", fraction=0.03, pad=0.01)
    rows[-1].set_xlabel("time in seconds")
    return dress(figure, dark)


def difference(one: Shown, other: Shown) -> Shown:
    """What the second map has more than the first, on the finer steps of the two.

    Raises:
        ValueError: One is of bands and the other of tokens.
    """
    if (one.hertz is None) != (other.hertz is None):
        raise ValueError(f"{one.name} shows {_kind(one)} and {other.name} {_kind(other)}; both must show the same")
    finer = one if len(one.seconds) >= len(other.seconds) else other
    name = "what the second has more, or less"
    first, second = (rebinned(each.weights, each.columns, finer.columns) for each in (one, other))
    if one.hertz is None:
        rows, labels = [], []
        for a, b in paired_tokens(one.tokens, other.tokens):
            before = np.zeros(len(finer.seconds)) if a is None else first[a]
            after = np.zeros(len(finer.seconds)) if b is None else second[b]
            rows.append(after - before)
            token = other.tokens[b] if b is not None else one.tokens[a or 0]
            sign = "+" if a is None else "−" if b is None else ""
            labels.append(sign + SHOWN.get(token, token))
        return Shown(name, np.array(rows).reshape(len(rows), -1), finer.seconds, None, tuple(labels))
    bands = one if len(one.rows) >= len(other.rows) else other
    first, second = (rebinned(weights.T, each.rows, bands.rows).T for weights, each in ((first, one), (second, other)))
    return Shown(name, second - first, finer.seconds, bands.hertz)


def rebinned(weights: np.ndarray, edges: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Weights over other steps: each step's is spread evenly over it and counted where it then falls.

    Args:
        weights: `(…, steps)`.
        edges: `(steps + 1,)`, ascending.
        wanted: `(others + 1,)`, ascending; what falls outside is lost.

    Returns:
        `(…, others)`.
    """
    sums = np.concatenate([np.zeros((*weights.shape[:-1], 1)), np.cumsum(weights, axis=-1, dtype=np.float64)], axis=-1)
    flat = sums.reshape(-1, sums.shape[-1])
    at = np.stack([np.interp(wanted, edges, row) for row in flat]) if len(flat) else np.zeros((0, len(wanted)))
    return np.diff(at, axis=-1).reshape(*weights.shape[:-1], len(wanted) - 1)


def paired_tokens(one: Sequence[str], other: Sequence[str]) -> list[tuple[int | None, int | None]]:
    """Places of equal tokens in both texts, in order; between them those that one alone has, with None."""
    pairs: list[tuple[int | None, int | None]] = []
    for kind, a, b, c, d in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if kind == "equal":
            pairs += zip(range(a, b), range(c, d), strict=True)
        else:
            pairs += [(place, None) for place in range(a, b)] + [(None, place) for place in range(c, d)]
    return pairs


def _under_sound(sound: Sound, heights: Sequence[float], title: str, dark: bool) -> tuple["Figure", list[Any]]:
    """A figure with the spectrogram, what was heard above it, and axes of these heights below, which are returned."""
    seconds = sound.span[1]
    over = strip_height(sound.items, seconds, AXES) if sound.items else 0.0
    ratios = ([over] if over else []) + [1.8, *heights]
    figure = new_figure((WIDTH, 0.7 + sum(ratios) + 0.25 * len(heights)), dark)
    axes = list(figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios))
    if over:
        strip = axes.pop(0)
        draw_spans(strip, sound.items, seconds, AXES, theme(dark))
        strip.set_title(title, loc="left", fontsize=11)
    draw_spectrogram(axes[0], sound.features, sound.span, "" if over else title, sound.hertz)
    return figure, axes[1:]


def _draw(axes: Any, shown: Shown, colours: str, limits: tuple[float, float]) -> Any:
    low, high = limits
    image = axes.pcolormesh(shown.columns, shown.rows, shown.weights, cmap=colours, vmin=low, vmax=high)
    axes.set_facecolor(image.cmap(0.5 if low < 0 else 0.0))  # where no column reaches
    if shown.hertz is None:
        labels = [SHOWN.get(token, token) for token in shown.tokens]
        axes.set_yticks(np.arange(len(labels)) + 0.5, labels, fontsize=8, family="monospace")
        axes.set_ylim(len(labels), 0)
    else:
        mark_kilohertz(axes, shown.rows[0], shown.rows[-1], fontsize=9)
    return image


def _check(shown: Shown) -> None:
    rows = len(shown.tokens) if shown.hertz is None else len(shown.hertz)
    if shown.weights.shape != (rows, len(shown.seconds)):
        wanted = (rows, len(shown.seconds))
        raise ValueError(f"{shown.name}: weights {shown.weights.shape} must be (rows, columns) = {wanted}")


def _top(weights: np.ndarray) -> float:
    return max(float(weights.max(initial=0)), 1e-9)


def _kind(shown: Shown) -> str:
    return "tokens" if shown.hertz is None else "bands of frequency"
