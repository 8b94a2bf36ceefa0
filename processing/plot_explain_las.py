"""The picture of Listen, Attend and Spell over one clip: what each layer makes of it, on one axis of seconds.

After Chan et al. 2015 (arXiv:1508.01211), figure 1, turned over so that it reads downwards: the spectrogram on top,
under it the pyramid, whose states grow longer, then where each token looks; to the right what comes of it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .explained import LasSteps
from .plot_explain import SMALL, Board
from .plot_theme import ATTENTION
from .plot_theme import SOUND as HEARD

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEFT, WIDE = 0.95, 4.65  # inches of the axis of seconds
RIGHT = 5.9  # of what stands beside it
SOUND, STATES, GAP = 1.15, 0.5, 0.3  # heights of spectrogram and layers, and between them
PYRAMID = 0.95  # inches of the states that become one
SYMBOLS = 12  # columns of probabilities at most
FORMULAS = (
    "$s_i$ = LSTM($s_{i-1}$, $y_{i-1}$, $c_{i-1}$)      $\\alpha_i$ = attention($s_i$, $h$)      "
    "$c_i = \\sum_j \\alpha_{ij} h_j$      $P(y_i)$ = softmax(MLP($s_i$, $c_i$))"
)


def plot_las_steps(steps: LasSteps, named: str = "", dark: bool = False) -> "Figure":
    """Draw what a LAS hears, where it looks and what it writes.

    Args:
        steps: Its arrays.
        named: The model and the sound, for the title.
        dark: On dark ground.

    Returns:
        A matplotlib figure that belongs to no window; save it with `save_figure`.
    """
    row = min(0.2, max(0.125, 7.0 / len(steps.tokens)))
    listen = 0.9
    attend = listen + 0.35 + SOUND + len(steps.layers) * (STATES + GAP) + 0.3
    bottom = attend + 0.75 + row * len(steps.tokens)
    board = Board(bottom + 1.15, dark)
    board.title("Listen, Attend and Spell, layer by layer", named)
    layers = _draw_listener(board, listen, steps)
    alignment = _draw_alignment(board, attend, row, steps)
    _draw_path(board, listen, steps, [*layers, alignment])
    _draw_speller(board, attend, row, steps)
    written = f"written: “{steps.text}”"
    board.text(RIGHT, bottom + 0.42, written, 10.5, weight="bold", color=board.colours.accent)
    board.text(LEFT, bottom + 0.78, FORMULAS, color=board.colours.faint)
    return board.figure


def _end(steps: LasSteps) -> float:
    """Seconds at the right end: the last state may reach beyond the features."""
    return max([steps.sound.seconds, *(len(each.states) * each.seconds for each in steps.layers)])


def _draw_listener(board: Board, y: float, steps: LasSteps) -> list[Any]:
    """Spectrogram and layers under each other: their axes, all in seconds."""
    frames, mels = steps.sound.features.shape
    board.step(
        y,
        "1",
        "Listen",
        "a pyramid of bidirectional LSTMs: from layer to layer time is halved" if _halves(steps) else "",
    )
    top = y + 0.35
    axes = board.spectrogram(LEFT, top, WIDE, SOUND, steps.sound, seconds=False)
    axes.set_xlim(0, _end(steps))
    _say(
        board,
        top,
        SOUND,
        "spectrogram",
        f"{frames} × {mels}",
        f"frames of {_ms(steps.sound.seconds_per_feature)}, {mels} mels",
    )
    drawn = [axes]
    top += SOUND + GAP
    image: Any = None
    for place, layer in enumerate(steps.layers):
        count, size = layer.states.shape
        limit = float(np.abs(layer.states).max())
        extent = (0, count * layer.seconds, 0, size)
        axes, image = board.image(
            LEFT, top, WIDE, STATES, layer.states.T, cmap="PuOr_r", vmin=-limit, vmax=limit, extent=extent
        )
        axes.set_xlim(0, _end(steps))
        axes.set_ylabel(f"$h^{place}$", fontsize=10, color=board.colours.text, rotation=0, ha="right", va="center")
        _say(board, top, STATES, f"layer {place}", f"{count} × {size}", f"states of {_ms(layer.seconds)}")
        drawn.append(axes)
        top += STATES + GAP
    board.scale(RIGHT + 0.5, y + 0.05, 0.9, image)
    board.text(RIGHT, y, "states", SMALL + 0.5, color=board.colours.faint)
    return drawn


def _halves(steps: LasSteps) -> bool:
    return any(layer.reduction == 2 for layer in steps.layers)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:g} ms"


def _say(board: Board, top: float, tall: float, name: str, shape: str, each: str) -> None:
    """What stands to the right of a layer."""
    board.text(RIGHT, top + tall / 2 - 0.02, f"{name}: {shape}", va="bottom")
    board.text(RIGHT, top + tall / 2 + 0.02, each, SMALL + 0.5, color=board.colours.faint)


def _draw_alignment(board: Board, y: float, row: float, steps: LasSteps) -> Any:
    """Where each token looks, under the layers: its axes, in seconds and tokens."""
    count, states = steps.alignment.shape
    kind = f"“{steps.kind}”; every row sums to one" if steps.kind != "none" else "“none”: one context for all tokens"
    board.step(y, "2", "Attend", kind)
    end = states * steps.layers[-1].seconds if states > 1 else _end(steps)
    axes, image = board.image(
        LEFT,
        y + 0.7,
        WIDE,
        row * count,
        steps.alignment,
        cmap=ATTENTION,
        vmin=0,
        vmax=float(steps.alignment.max()),
        extent=(0, end, count - 0.5, -0.5),
    )
    axes.set_xlim(0, _end(steps))
    board.seconds(axes)
    for place, token in enumerate(steps.tokens):
        chosen = place == steps.query
        options = {"weight": "bold", "color": board.colours.accent} if chosen else {}
        middle = y + 0.7 + (place + 0.5) * row
        board.text(LEFT - 0.07, middle, token, SMALL + 0.5, ha="right", va="center", family="monospace", **options)
    board.text(LEFT, y + 0.64, "alignment $\\alpha$", va="bottom")
    board.scale(LEFT + WIDE - 1.0, y + 0.42, 1.0, image, "{:.2f}")
    return axes


def _draw_path(board: Board, y: float, steps: LasSteps, drawn: Sequence[Any]) -> None:
    """The state that the followed token looks at most, and what it was joined of: in place, and beside it large."""
    if steps.alignment.shape[1] != len(steps.layers[-1].states):
        return  # without attention there is one context of the ends
    from matplotlib.patches import ConnectionPatch, Rectangle

    colour, last = board.colours.accent, steps.layers[-1]
    start, end = steps.heard * last.seconds, (steps.heard + 1) * last.seconds
    corner: dict[str, Any] = {"fill": False, "edgecolor": colour, "linewidth": 1.8}
    line = {"color": colour, "linewidth": 1}
    drawn[-1].add_patch(Rectangle((start, steps.query - 0.5), end - start, 1, **corner))
    for axes in drawn[:-1]:
        low, high = axes.get_ylim()
        axes.add_patch(Rectangle((start, low), end - start, high - low, **corner))
    borders = [(axes.get_ylim()[1], axes.get_ylim()[0]) for axes in drawn[:-1]]  # upper, lower
    borders.append((steps.query - 0.5, 0.0))
    for place in range(len(drawn) - 1):
        for x in (start, end):
            ends = ((x, borders[place][1]), (x, borders[place + 1][0]))
            named = {"axesA": drawn[place], "axesB": drawn[place + 1], "zorder": 1.5, **line}
            board.figure.add_artist(ConnectionPatch(*ends, "data", "data", **named))
    _draw_pyramid(board, y, steps)


def _draw_pyramid(board: Board, y: float, steps: LasSteps) -> None:
    """The states of the path, each a column of its numbers, over the one that they become."""
    arrays = [steps.sound.features, *(layer.states for layer in steps.layers)]
    first, end = steps.path[0]
    step = PYRAMID / (end - first)
    middles = [8.75 - PYRAMID + (place + 0.5) * step for place in range(end - first)]
    low, high = np.percentile(arrays[0], [2, 99.5])
    top = y + 0.35
    for place, (values, (start, stop)) in enumerate(zip(arrays, steps.path, strict=True)):
        tall = SOUND if place == 0 else STATES
        if place:
            reduction = steps.layers[place - 1].reduction
            groups = [middles[at : at + reduction] for at in range(0, len(middles), reduction)]
            for group in groups:
                for x in group:
                    board.line(
                        (x, sum(group) / len(group)), (top - GAP + 0.02, top - 0.02), color=board.colours.accent
                    )
            middles = [sum(group) / len(group) for group in groups]
        limit = float(np.abs(values).max())
        shades = (
            {"cmap": "PuOr_r", "vmin": -limit, "vmax": limit} if place else {"cmap": HEARD, "vmin": low, "vmax": high}
        )
        wide = min(0.8 * step, 0.1)
        for x, state in zip(middles, values[start:stop], strict=True):
            axes, _ = board.image(x - wide / 2, top, wide, tall, state[:, None], origin="lower", **shades)
            for spine in axes.spines.values():
                spine.set(edgecolor=board.colours.accent, linewidth=0.8)
        top += tall + GAP


def _draw_speller(board: Board, y: float, row: float, steps: LasSteps) -> None:
    """Contexts, states and probabilities, a row for each token, beside its row of the alignment."""
    tall, top = row * len(steps.tokens), y + 0.7
    board.step(y, "3", "Spell", x=RIGHT)
    board.arrow(LEFT + WIDE + 0.04, top + tall / 2, RIGHT - 0.04, top + tall / 2)
    for x, values, name in ((RIGHT, steps.contexts, "$c_i$"), (RIGHT + 0.76, steps.speller, "$s_i$")):
        board.image(x, top, 0.68, tall, values)
        board.text(x, top - 0.06, name, va="bottom")
        board.text(x, top + tall + 0.04, f"{values.shape[1]}", SMALL, color=board.colours.faint)
    names, values = _columns(steps)
    x, wide = RIGHT + 1.58, 8.75 - RIGHT - 1.58
    board.image(x, top, wide, tall, values, cmap=ATTENTION, vmin=0, vmax=1)
    for place, name in enumerate(names):
        at = x + (place + 0.5) * wide / len(names)
        turn = 90 if len(name) > 1 else 0
        board.text(at, top - 0.05, name[:8], SMALL, ha="center", va="bottom", rotation=turn, family="monospace")
    board.text(x + wide, top + tall + 0.04, "$P(y_i)$", SMALL + 0.5, ha="right")


def _columns(steps: LasSteps) -> tuple[list[str], np.ndarray]:
    """Symbols that were written, in the order in which they first were, and what is left: probabilities sum to one."""
    written = list(dict.fromkeys(steps.symbols.index(token) for token in steps.tokens))[:SYMBOLS]
    chosen = steps.probabilities[:, written]
    return [*(steps.symbols[at] for at in written), "others"], np.column_stack([chosen, 1 - chosen.sum(1)])
