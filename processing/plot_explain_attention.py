"""The picture of one attention: the pipeline with its numbers, and all heads of the layer under it.

After Vaswani et al. 2017 (arXiv:1706.03762), figure 2, with every box filled in.
"""

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from .explained import AttentionSteps, Enlarged
from .plot_explain import SMALL, Board
from .plot_theme import ATTENTION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL = (0.4, 0.235)  # inches of a number
LEFT = 0.95  # of the rows' labels
SQUARE = 1.32  # of a head's map, at most
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def plot_attention_steps(steps: AttentionSteps, shown: Enlarged, named: str = "", dark: bool = False) -> "Figure":
    """Draw an attention step by step.

    Args:
        steps: Its arrays.
        shown: Which head, rows and columns are enlarged.
        named: The model and the sound, for the title.
        dark: On dark ground.

    Returns:
        A matplotlib figure that belongs to no window; save it with `save_figure`.
    """
    heads = len(steps.weights)
    placed = not np.isnan(steps.key_boxes).all()
    tall = CELL[1] * len(shown.queries)
    # The rows of the board, in inches from its top.
    sound = 0.85
    meet = sound + (2.3 if placed else 0.4)
    mask = meet + 2.4
    soften = mask + tall + 1.05
    join = soften + max(tall, 1.2) + 1.2
    board = Board(join + 0.6 + max(_map_rows(heads) * (_map_size(heads) + 0.28), SQUARE + 0.28) + 0.3, dark)
    board.title(
        f"Scaled dot-product attention: {steps.name}, head {shown.head}",
        f"{named} · {steps.kind}" if named else steps.kind,
    )
    rows, columns = _labels(steps, shown)
    _draw_sound(board, sound, steps, shown, rows, columns)
    _draw_meeting(board, meet, steps, shown, rows, columns)
    _draw_masking(board, mask, steps, shown, rows, columns)
    _draw_softmax(board, soften, steps, shown, rows, columns)
    _draw_heads(board, join, steps, shown)
    return board.figure


def _labels(steps: AttentionSteps, shown: Enlarged) -> tuple[list[str], list[str]]:
    """Letters for patches that ask, tokens for tokens; numbers for keys, or tokens."""
    rows = list(LETTERS[: len(shown.queries)])
    if np.isnan(steps.query_boxes).all():
        rows = [_short(steps.queries[at]) for at in shown.queries]
    columns = [str(place + 1) for place in range(len(shown.keys))]
    if np.isnan(steps.key_boxes).all():
        columns = [_short(steps.keys[at], 6) for at in shown.keys]
    return rows, columns


def _short(text: str, most: int = 9) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _if_short(labels: Sequence[str]) -> Sequence[str]:
    """Labels that fit between two matrices; of others the first matrix of the row has them."""
    return labels if max(map(len, labels)) < 3 else ()


def _draw_sound(
    board: Board, y: float, steps: AttentionSteps, shown: Enlarged, rows: Sequence[str], columns: Sequence[str]
) -> None:
    """Where the enlarged queries and keys lie, and what they are."""
    what = f"{len(rows)} of {len(steps.queries)} queries and {len(columns)} of {len(steps.keys)} keys are enlarged"
    if np.isnan(steps.key_boxes).all():
        board.text(0.3, y - 0.05, what + ".", color=board.colours.faint)
        return
    hidden = [
        name for name, at in zip(columns, shown.keys, strict=True) if not steps.mask[list(shown.queries), at].any()
    ]
    if hidden:
        what += f"; {' and '.join(hidden)} {'are' if len(hidden) > 1 else 'is'} padding, beyond the clip's end"
    board.text(0.3, y, what + ".", color=board.colours.faint)
    axes = board.spectrogram(LEFT - 0.25, y + 0.3, 8.75 - LEFT + 0.25, 1.35, steps.sound)
    end = float(np.nanmax(steps.key_boxes[:, 1]))
    axes.set_xlim(0, max(end, steps.sound.seconds))
    tall = float(np.nanmax(steps.key_boxes[:, 3] - steps.key_boxes[:, 2]))
    if end > steps.sound.seconds + 1e-6 and 2 * tall <= len(steps.sound.hertz):  # there is room beside the boxes
        middle = ((end + steps.sound.seconds) / 2, 0.72 * len(steps.sound.hertz))
        axes.text(*middle, "padding", rotation=90, fontsize=SMALL, color=board.colours.faint, ha="center", va="center")
    keys, queries = board.colours.marks[0], board.colours.accent
    for at, label in zip(shown.keys, columns, strict=True):
        if not np.isnan(steps.key_boxes[at]).any():
            board.box(axes, steps.key_boxes[at], keys, label, "bottom", linestyle=(0, (2, 1)))
    for at, label in zip(shown.queries, rows, strict=True):
        if not np.isnan(steps.query_boxes[at]).any():
            board.box(axes, steps.query_boxes[at], queries, label)


def _draw_meeting(
    board: Board, y: float, steps: AttentionSteps, shown: Enlarged, rows: Sequence[str], columns: Sequence[str]
) -> None:
    """Q · Kᵀ = scores."""
    size = steps.q.shape[-1]
    turned = ", turned by their place (rotary positions)" if steps.rotary else ""
    board.step(y, "1", "Queries meet keys", f"of {size} features each{turned}")
    q, k = steps.q[shown.head][list(shown.queries)], steps.k[shown.head][list(shown.keys)]
    scores = _cut(steps.scores, shown)
    limit = float(max(np.abs(q).max(), np.abs(k).max()))
    top, tall = y + 0.68, CELL[1] * len(rows)
    middle = top + tall / 2
    colours = {"cmap": "PuOr_r", "vmin": -limit, "vmax": limit}
    _, image = board.image(LEFT, top, 1.5, tall, q, **colours)
    board.labels(LEFT, top, (0, CELL[1]), rows, ())
    board.text(LEFT, top - 0.24, f"$Q$   {len(rows)} × {size}", va="bottom")
    board.scale(LEFT, top + tall + 0.08, 1.5, image)
    board.text(LEFT + 1.69, middle, "×", 13, ha="center", va="center")
    wide = 0.175 * len(columns)
    board.image(LEFT + 1.88, top, wide, 1.4, k.T, **colours)
    board.labels(LEFT + 1.88, top, (0.175, 0), (), _if_short(columns))
    board.text(LEFT + 1.88, top - 0.24, f"$K^\\top$   {size} × {len(columns)}", va="bottom")
    start = LEFT + 3.95
    board.text((LEFT + 1.88 + wide + start) / 2 - 0.06, middle, "=", 13, ha="center", va="center")
    board.matrix(start, top, CELL, scores, _if_short(rows), columns)
    board.text(start, top - 0.24, "scores   $Q K^\\top$", va="bottom")


def _draw_masking(
    board: Board, y: float, steps: AttentionSteps, shown: Enlarged, rows: Sequence[str], columns: Sequence[str]
) -> None:
    """Scores / √d, and the mask over them."""
    size, top = steps.q.shape[-1], y + 0.68
    board.step(y, "2", "Scaled and masked", steps.masked or "nothing is masked here")
    scaled, masked = _cut(steps.scaled, shown), _cut(steps.masked_scores, shown)
    limits = {"cmap": "PuOr_r", "vmin": -np.abs(scaled).max(), "vmax": np.abs(scaled).max()}
    board.matrix(LEFT, top, CELL, scaled, rows, columns, **limits)
    root = f"{np.sqrt(size):.3g}"
    board.text(LEFT, top - 0.24, f"$Q K^\\top / \\sqrt{{d}}$,   $\\sqrt{{{size}}}$ = {root}", va="bottom")
    start = LEFT + CELL[0] * 8 + 0.95
    middle = top + CELL[1] * len(rows) / 2
    board.arrow(LEFT + CELL[0] * len(columns) + 0.1, middle, start - 0.3, middle, "mask")
    board.matrix(start, top, CELL, masked, _if_short(rows), columns, **limits)
    board.text(start, top - 0.24, "−∞ where a query may not look", va="bottom")


def _draw_softmax(
    board: Board, y: float, steps: AttentionSteps, shown: Enlarged, rows: Sequence[str], columns: Sequence[str]
) -> None:
    """Weights with their sums, values, contexts."""
    board.step(y, "3", "Softmax, and the values it fetches", "every row of weights sums to one")
    top, tall = y + 0.68, CELL[1] * len(rows)
    weights = _cut(steps.weights, shown)
    whole = steps.weights[shown.head][list(shown.queries)].sum(1)
    left_out = len(steps.keys) - len(columns)
    board.matrix(LEFT, top, CELL, weights, rows, columns, cmap=ATTENTION, vmin=0, vmax=max(float(weights.max()), 1e-9))
    board.text(LEFT, top - 0.24, "weights   softmax", va="bottom")
    at = LEFT + CELL[0] * len(columns)
    if left_out:
        board.text(
            at + 0.3, top - 0.05, f"{left_out} more", SMALL, ha="center", va="bottom", color=board.colours.faint
        )
    board.text(at + 0.82, top - 0.05, "sum", SMALL, ha="center", va="bottom", color=board.colours.faint)
    for place, total in enumerate(whole):
        middle = top + (place + 0.5) * CELL[1]
        if left_out:
            rest = total - weights[place].sum()
            board.text(at + 0.3, middle, f"+ {max(rest, 0):.2f}", SMALL, ha="center", va="center")
        board.text(at + 0.82, middle, f"= {total:.3f}", SMALL, ha="center", va="center", weight="bold")
    v, context = steps.v[shown.head][list(shown.keys)], steps.context[shown.head][list(shown.queries)]
    start, middle = at + 1.5, top + tall / 2
    board.text(at + 1.22, middle, "×", 13, ha="center", va="center")
    _, image = board.image(start, top, 1.2, 1.2, v)
    board.labels(start, top, (0, 1.2 / len(columns)), _if_short(columns), ())
    board.text(start, top - 0.24, f"$V$   {len(columns)} × {v.shape[1]}", va="bottom")
    board.scale(start, top + 1.28, 1.2, image)
    board.text((start + 1.2 + 8.75 - 1.2) / 2, middle, "=", 13, ha="center", va="center")
    _, image = board.image(8.75 - 1.2, top, 1.2, tall, context)
    board.text(8.75 - 1.2, top - 0.24, f"context   {len(rows)} × {v.shape[1]}", va="bottom")
    board.scale(8.75 - 1.2, top + tall + 0.08, 1.2, image)


def _draw_heads(board: Board, y: float, steps: AttentionSteps, shown: Enlarged) -> None:
    """Every head's map; their contexts joined and projected."""
    heads, size = len(steps.weights), _map_size(len(steps.weights))
    queries, keys = steps.weights.shape[1:]
    joins = steps.projection is not None
    title = "Every head of the layer" if heads > 1 else "The whole map"
    board.step(y, "4", title, f"{queries} queries × {keys} keys" + (", then joined and projected" if joins else ""))
    across = _map_columns(heads)
    brightest = max(float(np.percentile(steps.weights, 99.5)), 1e-9)
    top, left = y + 0.55, 0.5
    for head, weights in enumerate(steps.weights):
        row, column = divmod(head, across)
        x, above = left + column * (size + 0.14), top + row * (size + 0.28)
        axes, image = board.image(x, above, size, size, weights, cmap=ATTENTION, vmin=0, vmax=brightest)
        chosen = head == shown.head
        board.text(x, above - 0.03, f"head {head}", SMALL, va="bottom", weight="bold" if chosen else "normal")
        if chosen:
            for spine in axes.spines.values():
                spine.set(edgecolor=board.colours.accent, linewidth=2)
    bottom = top + _map_rows(heads) * (size + 0.28) - 0.18
    board.text(left - 0.06, top + size / 2, "queries", SMALL, rotation=90, ha="right", va="center")
    board.text(left, bottom, "keys", SMALL)
    board.scale(left + 0.5, bottom + 0.05, 1.3, image, "{:.2f}")
    middle = top + SQUARE / 2
    start = 5.05
    reach = left + across * (size + 0.14) - 0.14
    board.arrow(reach + 0.06, middle, start - 0.06, middle)
    wide = 1.0 if joins else 2.0
    joined, output = steps.joined, steps.output
    axes, image = board.image(start, top, wide, SQUARE, joined)
    for edge in range(1, heads):
        axes.axvline(edge * joined.shape[1] / heads - 0.5, color="#1a1a1a", linewidth=0.8)
    said = "contexts, joined" if heads > 1 else "contexts"
    board.text(start, top - 0.03, said, SMALL, va="bottom")
    board.text(start, top + SQUARE + 0.04, f"{queries} × {joined.shape[1]}", SMALL, color=board.colours.faint)
    if steps.projection is None:
        board.text(start + 2.15, middle, "they go to the speller\nbeside its state", SMALL, va="center")
        return
    board.text(start + 1.13, middle, "×", 13, ha="center", va="center")
    board.image(start + 1.26, top + (SQUARE - 1) / 2, 1.0, 1.0, steps.projection.T)
    board.text(start + 1.26, top + (SQUARE - 1) / 2 - 0.03, "$W_O$", SMALL, va="bottom")
    shape = f"{steps.projection.shape[1]} × {steps.projection.shape[0]}"
    board.text(start + 1.26, top + (SQUARE + 1) / 2 + 0.04, shape, SMALL, color=board.colours.faint)
    board.text(start + 2.4, middle, "=", 13, ha="center", va="center")
    board.image(start + 2.55, top, 1.0, SQUARE, output)
    board.text(
        start + 2.55, top - 0.03, "output" + (" (+ bias)" if steps.bias is not None else ""), SMALL, va="bottom"
    )
    board.text(start + 2.55, top + SQUARE + 0.04, f"{queries} × {output.shape[1]}", SMALL, color=board.colours.faint)


def _map_columns(heads: int) -> int:
    return heads if heads <= 3 else ceil(heads / ceil(heads / 6))


def _map_rows(heads: int) -> int:
    return ceil(heads / _map_columns(heads))


def _map_size(heads: int) -> float:
    """Inches of a head's map, so that a row of them fills its part of the board."""
    return min(SQUARE, 4.3 / _map_columns(heads) - 0.14)


def _cut(values: np.ndarray, shown: Enlarged) -> np.ndarray:
    """The enlarged part of `(heads, queries, keys)`."""
    return values[shown.head][np.ix_(shown.queries, shown.keys)]
