"""The picture of a clip's way through a patch transformer: cut, projected, placed, related, scored.

After Gong et al. 2021 (arXiv:2104.01778), figure 1, with every box filled in.
"""

from math import ceil
from textwrap import shorten
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .explained import PatchSteps
from .plot_explain import SMALL, Board
from .plot_theme import ATTENTION, DIFFERENCE, SOUND

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEFT, WIDE = 0.7, 8.05  # inches of the spectrogram
MAP, RIGHT = 2.95, 7.25  # width of a layer's map, and where the norms stand
LEAST = 1.0  # height of the norms
LETTERS = "abcdefgh"
TOP, MOST = 5, 12  # labels whose scores are written, and those whose scores are drawn over time
PLACES = {
    "joint": "a learned vector for every place is added; how alike that of a is to the others (cosine)",
    "factorized": "a learned vector for the row and one for the column are added; how alike those of a are (cosine)",
    "sinusoidal": "waves of the row and of the column are added; how alike those of a are to the others (cosine)",
    "rotary": "nothing is added: queries and keys are turned; what that leaves of the product of equal ones, one at a",
}


def plot_patch_steps(steps: PatchSteps, named: str = "", dark: bool = False) -> "Figure":
    """Draw what becomes of a clip's patches.

    Args:
        steps: Their arrays.
        named: The model and the sound, for the title.
        dark: On dark ground.

    Returns:
        A matplotlib figure that belongs to no window; save it with `save_figure`.
    """
    strip = _strip(steps)
    cut = 0.9
    project = cut + 2.25
    place = project + 1.75
    layers = place + 1.15 + strip
    rows = ceil(len(steps.maps) / 2)
    score = layers + 0.95 + max(rows * (strip + 0.24), LEAST + 0.24)
    tall = 0.165 * min(MOST, len(steps.labels))
    board = Board(score + (0.4 + max(tall, 1.75) + 0.5 if steps.labels else 0.75), dark)
    board.title("From a spectrogram to patches, and through the layers", named)
    _draw_cut(board, cut, steps)
    _draw_projection(board, project, steps)
    _draw_places(board, place, strip, steps)
    _draw_layers(board, layers, strip, steps)
    _draw_scores(board, score, tall, steps)
    return board.figure


def _strip(steps: PatchSteps) -> float:
    """Inches of a map's height: rows of patches want more of it, up to a point."""
    return min(0.75, max(0.3, 0.11 * steps.rows))


def _draw_cut(board: Board, y: float, steps: PatchSteps) -> None:
    """The spectrogram with its grid."""
    count, mels, frames = steps.patches.shape
    grid = f"{steps.rows} row{'s' * (steps.rows > 1)} × {steps.columns} columns"
    board.step(y, "1", "Cut", f"{count} patches of {mels} mels × {frames} frames: {grid}")
    axes = board.spectrogram(LEFT, y + 0.35, WIDE, 1.35, steps.sound)
    axes.set_xlim(0, max(steps.sound.seconds, float(steps.boxes[:, 1].max())))
    starts, lows = np.unique(steps.boxes[:, 0]), np.unique(steps.boxes[:, 2])
    end, high = steps.boxes[:, 1].max(), steps.boxes[:, 3].max()
    axes.vlines([*starts, end], 0, high, color="white", linewidth=0.4, alpha=0.55)
    axes.hlines([*lows, high], 0, end, color="white", linewidth=0.4, alpha=0.55)
    for at, letter, colour in _shown(board, steps):
        board.box(axes, steps.boxes[at], colour, letter)


def _shown(board: Board, steps: PatchSteps) -> list[tuple[int, str, str]]:
    """Place, letter and colour of every enlarged patch; the followed one has the accent."""
    colours = [board.colours.accent, *(c for c in board.colours.marks if c != board.colours.accent)]
    return list(zip(steps.shown, LETTERS, colours, strict=False))


def _draw_projection(board: Board, y: float, steps: PatchSteps) -> None:
    """Some patches large, their embeddings, what is added."""
    mels, frames = steps.patches.shape[1:]
    hidden = steps.embeddings.shape[1]
    board.step(y, "2", "Project", f"each patch's {mels * frames} numbers become {hidden}, by one linear layer")
    low, high = np.percentile(steps.sound.features, [2, 99.5])
    top, tall = y + 0.55, 0.72
    wide = min(0.72, max(0.25, tall * frames / mels), 3.0 / len(steps.shown) - 0.14)
    x: float = LEFT
    for at, letter, colour in _shown(board, steps):
        axes, _ = board.image(x, top, wide, tall, steps.patches[at], origin="lower", cmap=SOUND, vmin=low, vmax=high)
        for spine in axes.spines.values():
            spine.set(edgecolor=colour, linewidth=1.8)
        board.text(x, top - 0.04, letter, SMALL + 0.5, va="bottom", weight="bold", color=colour)
        x += wide + 0.14
    board.text(LEFT, top + tall + 0.05, f"{mels} × {frames} each", SMALL, color=board.colours.faint)
    chosen = list(steps.shown)
    parts = [("embeddings", steps.embeddings[chosen])]
    if steps.positions is not None:
        parts += [
            ("+ positions", steps.positions[chosen]),
            ("= into the layers", (steps.embeddings + steps.positions)[chosen]),
        ]
    start = max(x + 0.6, 3.4)
    width = (8.75 - start - 0.25 * (len(parts) - 1)) / len(parts)
    board.arrow(x - 0.02, top + tall / 2, start - 0.3, top + tall / 2)
    for place, (name, values) in enumerate(parts):
        left = start + place * (width + 0.25)
        _, image = board.image(left, top, width, tall, values)
        shape = "" if place else f"   {len(values)} × {hidden}"
        board.text(left, top - 0.04, f"{name}{shape}", SMALL + 0.5, va="bottom")
        board.scale(left, top + tall + 0.07, min(width, 1.3), image, "{:.2g}")
        if not place:
            board.labels(left, top, (0, tall / len(values)), [letter for _, letter, _ in _shown(board, steps)], ())


def _grid(
    board: Board, x: float, y: float, width: float, tall: float, steps: PatchSteps, values: np.ndarray, **options: Any
) -> tuple[Any, Any]:
    """Values of patches on their grid, over seconds, low mels below; the followed patch is outlined."""
    from matplotlib.patches import Rectangle

    extent = (-0.5, steps.columns - 0.5, -0.5, steps.rows - 0.5)
    axes, image = board.image(x, y, width, tall, steps.on_grid(values), origin="lower", extent=extent, **options)
    row, column = divmod(steps.query, steps.columns)
    axes.add_patch(
        Rectangle(
            (column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=board.colours.accent, linewidth=1.4, clip_on=False
        )
    )
    return axes, image


def _mark_seconds(axes: Any, board: Board, steps: PatchSteps, most: int) -> None:
    """Seconds under the columns of a grid, so many marks at most or a few more."""
    step = next((step for step in (0.1, 0.2, 0.5, 1, 2, 5) if steps.sound.seconds <= most * step), 10)
    first, stride = steps.boxes[0, :2].mean(), steps.boxes[min(1, steps.columns - 1), 0] - steps.boxes[0, 0]
    marks = np.arange(0, steps.boxes[:, 1].max() + 1e-9, step)
    places = (marks - first) / max(stride, 1e-9)
    inside = (places >= -0.5) & (places <= steps.columns - 0.5)
    axes.set_xticks(places[inside], [f"{mark:g}" for mark in marks[inside]])
    axes.set_xlabel("seconds", fontsize=SMALL, color=board.colours.text, labelpad=1)


def _mark_kilohertz(axes: Any, board: Board, steps: PatchSteps) -> None:
    """The middle of the lowest and of the highest row in kHz."""
    boxes, hertz = steps.boxes[:: steps.columns], steps.sound.hertz
    middles = np.interp(boxes[:, 2:].mean(1), np.arange(len(hertz)) + 0.5, hertz) / 1000
    shown = sorted({0, steps.rows - 1})
    axes.set_yticks(shown, [f"{middles[row]:.1f}" for row in shown])
    axes.set_ylabel("kHz", fontsize=SMALL, color=board.colours.text, labelpad=2)


def _draw_places(board: Board, y: float, strip: float, steps: PatchSteps) -> None:
    """How alike the places are to the followed patch's."""
    board.step(y, "3", "Place", f"“{steps.position_kind}”")
    board.text(LEFT, y + 0.27, PLACES[steps.position_kind], SMALL + 0.5, color=board.colours.faint)
    lowest = float(steps.alike.min())
    colours = {"cmap": DIFFERENCE, "vmin": -1} if lowest < 0 else {"cmap": ATTENTION, "vmin": lowest}
    axes, image = _grid(board, LEFT, y + 0.56, WIDE, strip, steps, steps.alike, vmax=1, **colours)
    _mark_seconds(axes, board, steps, 10)
    _mark_kilohertz(axes, board, steps)
    board.scale(LEFT + WIDE - 1.3, y - 0.03, 1.3, image, "{:.2g}")


def _draw_layers(board: Board, y: float, strip: float, steps: PatchSteps) -> None:
    """Where the followed patch looks in every layer, and how long the states are."""
    count = len(steps.maps)
    board.step(
        y, "4", "Relate", f"where patch a looks in each of {count} layers (mean over heads), and how long states are"
    )
    rows, top = ceil(count / 2), y + 0.55
    for layer, weights in enumerate(steps.maps):
        column, row = divmod(layer, rows)
        x, above = LEFT + column * (MAP + 0.2), top + row * (strip + 0.24)
        axes, _ = _grid(
            board, x, above, MAP, strip, steps, weights, cmap=ATTENTION, vmin=0, vmax=max(float(weights.max()), 1e-9)
        )
        board.text(x, above - 0.02, f"layers.{layer}", SMALL, va="bottom")
        board.text(
            x + MAP,
            above - 0.02,
            f"brightest {weights.max():.1%}",
            SMALL,
            va="bottom",
            ha="right",
            color=board.colours.faint,
        )
        if row == rows - 1 or layer == count - 1:
            _mark_seconds(axes, board, steps, 5)
        if column == 0 and row == rows - 1:
            _mark_kilohertz(axes, board, steps)
    _draw_norms(board, top, max(rows * (strip + 0.24) - 0.24, LEAST), steps)


def _draw_norms(board: Board, y: float, tall: float, steps: PatchSteps) -> None:
    """How long states are, from layer to layer."""
    from matplotlib.ticker import MaxNLocator

    passed, colour, accent = range(len(steps.norms)), board.colours.marks[0], board.colours.accent
    axes = board.axes(RIGHT + 0.15, y, 8.75 - RIGHT - 0.15, tall)
    low, middle, high = np.percentile(steps.norms, [5, 50, 95], axis=1)
    axes.fill_between(passed, low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(passed, middle, color=colour, linewidth=1.6)
    axes.plot(passed, steps.norms[:, steps.query], color=accent, linewidth=1.4, linestyle=(0, (4, 1.5)))
    axes.set_xlim(0, passed[-1])
    axes.set_ylim(0, 1.15 * max(high.max(), steps.norms[:, steps.query].max()))
    axes.set_xticks(sorted({0, passed[-1] // 2, passed[-1]}))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("layers passed", fontsize=SMALL, color=board.colours.text, labelpad=1)
    board.text(RIGHT + 0.15, y - 0.02, "norm of a state", SMALL, va="bottom")
    board.text(RIGHT + 0.21, y + 0.04, "median, 5–95%", SMALL, color=colour)
    board.text(RIGHT + 0.21, y + 0.19, "patch a", SMALL, color=accent)


def _draw_scores(board: Board, y: float, tall: float, steps: PatchSteps) -> None:
    """What the model says in the end."""
    if steps.text:
        board.step(y, "5", "Write", f"{steps.pooling}: “{shorten(steps.text, 90, placeholder=' …')}”")
        return
    if steps.clip_scores is None:
        board.step(y, "5", "States", "the model has no head: its states are what it gives")
        return
    order, top = np.argsort(-steps.clip_scores, kind="stable"), y + 0.4
    _draw_bars(board, RIGHT + 0.4, top, [(steps.labels[at], float(steps.clip_scores[at])) for at in order[:TOP]])
    if steps.scores is not None:
        board.step(y, "5", "Score", f"every column of patches by itself; the clip's score is {steps.pooling}")
        _draw_moments(board, top, tall, steps, order)
        return
    board.step(y, "5", "Score", f"the clip's score is that of {steps.pooling}")
    if steps.pooled is not None:
        strip, most = _strip(steps), float(steps.pooled.max())
        axes, _ = _grid(board, LEFT, top, 5.9, strip, steps, steps.pooled, cmap=ATTENTION, vmin=0, vmax=most)
        _mark_seconds(axes, board, steps, 10)
        said = f"where the class token looks in the last layer (mean over heads; brightest {most:.1%})"
        board.text(LEFT, top + strip + 0.4, said, SMALL, color=board.colours.faint)


def _draw_moments(board: Board, y: float, tall: float, steps: PatchSteps, order: np.ndarray) -> None:
    """The scores of each moment, in the order of the labels; of many labels the best."""
    shown, left, wide = np.sort(order[:MOST]), LEFT + 0.35, 5.9
    scores = cast(np.ndarray, steps.scores)[:, shown].T
    axes, image = board.image(left, y, wide, tall, scores, cmap=ATTENTION, vmin=0, vmax=1)
    for place, at in enumerate(shown):
        middle = y + (place + 0.5) * tall / len(shown)
        board.text(left - 0.06, middle, steps.labels[at], SMALL, ha="right", va="center_baseline")
    _mark_seconds(axes, board, steps, 10)
    board.scale(RIGHT + 0.4, y + 1.38, 8.75 - RIGHT - 0.4, image, "{:.0f}")
    board.text(RIGHT + 0.4, y + 1.6, "score of a moment", SMALL, color=board.colours.faint)


def _draw_bars(board: Board, x: float, y: float, scores: list[tuple[str, float]]) -> None:
    """Labels with their scores, the highest first."""
    from matplotlib.patches import Rectangle

    for place, (label, score) in enumerate(scores):
        axes = board.axes(x, y + 0.245 * place, 8.75 - x, 0.2)
        axes.set_xlim(0, 1)
        axes.add_patch(Rectangle((0, -0.5), score, 2, color=board.colours.marks[0], alpha=0.45, linewidth=0))
        axes.text(
            0.03, 0.5, f"{label}", transform=axes.transAxes, va="center", fontsize=SMALL, color=board.colours.text
        )
        axes.text(
            0.97,
            0.5,
            f"{score:.2f}",
            transform=axes.transAxes,
            va="center",
            ha="right",
            fontsize=SMALL,
            color=board.colours.text,
        )
