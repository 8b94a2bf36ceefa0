"""What a word was heard in, and what it is worth: sets of cells, equal sets elsewhere, curves. Arrays alone.

A *cell* is what attention is spread over: a frame of a listener, or a patch of a spectrogram, laid out on a grid
`(rows, columns)`, low mels first and time to the right; a listener's frames are one row. `aural.receipts` asks models.

Notable here:
- the evidence of a word is the smallest set of cells that holds a share of its attention;
- what it is compared with is as many cells, in pieces of the same shapes, at random places that the evidence leaves
  free: a scattered set would spare more of every sound than one in a piece;
- a deletion curve mutes more and more in the order of attention (Samek et al. 2017, arXiv:1509.06321; Petsiuk et al.
  2018, arXiv:1806.07421), an insertion curve lets more and more be heard.
"""

from collections.abc import Sequence

import numpy as np

AMOUNTS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)  # shares of the cells along a curve


def smallest_set(weights: np.ndarray, share: float, most: int | None = None) -> np.ndarray:
    """The fewest cells that together hold a share of the weight, as a boolean mask of the shape of `weights`.

    Of equal cells the first is taken first.

    Args:
        weights: `(rows, columns)`, or of any other shape; none below 0.
        share: Above 0, up to 1.
        most: Cells, at least one: of weight that is spread over more, the heaviest so many.

    Raises:
        ValueError: A share that cannot be, or weights below 0, not finite, or all 0.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share!r} must be above 0 and at most 1")
    flat = np.asarray(weights, dtype=np.float64).ravel()
    if not np.isfinite(flat).all() or (flat < 0).any() or not flat.sum() > 0:
        raise ValueError(f"weights {np.shape(weights)} must be finite, none below 0, and not all 0")
    order = np.argsort(-flat, kind="stable")
    held = np.cumsum(flat[order])
    fewest = int(np.searchsorted(held, share * held[-1] * (1 - 1e-9))) + 1  # sums are off by some 1e-16
    chosen = np.zeros(len(flat), dtype=bool)
    chosen[order[: fewest if most is None else min(fewest, max(most, 1))]] = True
    return chosen.reshape(np.shape(weights))


def pieces(mask: np.ndarray) -> list[np.ndarray]:
    """The connected pieces of a set, each the `(cells, 2)` rows and columns of its cells; the largest first.

    Cells are connected by their sides. Of equal pieces the one that begins first in time comes first.

    Args:
        mask: Boolean `(rows, columns)`.
    """
    left = {(int(row), int(column)) for row, column in np.argwhere(mask)}
    found: list[np.ndarray] = []
    for start in sorted(left, key=lambda cell: (cell[1], cell[0])):
        if start not in left:
            continue
        left.discard(start)
        piece, at = [start], 0
        while at < len(piece):
            row, column = piece[at]
            near = {(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)} & left
            left -= near
            piece += sorted(near)
            at += 1
        found.append(np.array(piece))
    return sorted(found, key=len, reverse=True)


def elsewhere(
    evidence: np.ndarray, draws: int, generator: np.random.Generator, allowed: np.ndarray | None = None
) -> np.ndarray:
    """Random sets of as many cells as the evidence, none of them in it: boolean `(draws, rows, columns)`.

    The pieces of the evidence are put, the largest first, at places drawn evenly from those that are free; a piece
    that fits nowhere is halved in time, and its halves are put.

    Args:
        evidence: Boolean `(rows, columns)`.
        draws: How many sets.
        generator: Of the places.
        allowed: Boolean, of a shape that goes with the evidence's: where the sets may lie. Default: everywhere.

    Raises:
        ValueError: The evidence is more than half of the cells: there is no equal amount elsewhere.
    """
    taken = evidence if allowed is None else evidence | ~np.broadcast_to(allowed, evidence.shape)
    size, free = int(evidence.sum()), int((~taken).sum())
    if size > free:
        raise ValueError(f"evidence of {size} cells leaves {free}: no equal amount lies elsewhere")
    whole = pieces(evidence)
    sets = np.zeros((draws, *evidence.shape), dtype=bool)
    for chosen in sets:
        waiting = list(whole)
        while waiting:
            piece = waiting.pop(0)
            places = _places(piece, taken | chosen)
            if len(places):
                rows, columns = (piece + places[generator.integers(len(places))]).T
                chosen[rows, columns] = True
            else:
                in_time = piece[np.lexsort((piece[:, 0], piece[:, 1]))]
                waiting[:0] = [in_time[: len(piece) // 2], in_time[len(piece) // 2 :]]
    return sets


def _places(piece: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """By how much a piece can be moved, `(places, 2)` rows and columns, to lie on cells that are free."""
    lowest, highest = piece.min(axis=0), piece.max(axis=0)
    down = np.arange(-lowest[0], taken.shape[0] - highest[0])
    along = np.arange(-lowest[1], taken.shape[1] - highest[1])
    moves = np.stack(np.meshgrid(down, along, indexing="ij"), axis=-1).reshape(-1, 2)
    moved = piece[None] + moves[:, None]  # (places, cells, 2)
    return moves[~taken[moved[..., 0], moved[..., 1]].any(axis=1)]


def covered_features(cells: np.ndarray, frames: np.ndarray, mels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Which features lie under sets of cells: boolean `(…, frames, mels)`; cells may overlap.

    Args:
        cells: Boolean `(…, rows, columns)`.
        frames: `(columns, 2)`, first frame under each column and the one after the last; what is beyond the features
            is left out.
        mels: `(rows, 2)`, in the same way.
        shape: Frames and mels of the features.
    """
    in_time = _under(frames, shape[0])  # (columns, frames)
    in_mels = _under(mels, shape[1])  # (rows, mels)
    # Counted, not joined cell by cell: a feature is covered where any cell over it is in the set.
    counts = np.einsum("...rc,ct,rm->...tm", cells.astype(np.float32), in_time, in_mels, optimize=True)
    return counts > 0


def _under(spans: np.ndarray, length: int) -> np.ndarray:
    at = np.arange(length)
    return ((at >= spans[:, :1]) & (at < spans[:, 1:])).astype(np.float32)


def first_of(order: np.ndarray, amounts: Sequence[float], shape: tuple[int, int]) -> np.ndarray:
    """The first shares of the cells in an order, boolean `(amounts, rows, columns)`; numbers are rounded.

    Args:
        order: `(cells,)`, places `row * columns + column`, each at most once.
        amounts: Shares of these cells, 0 to 1.
        shape: Rows and columns of the grid.
    """
    sets = np.zeros((len(amounts), shape[0] * shape[1]), dtype=bool)
    for chosen, amount in zip(sets, amounts, strict=True):
        chosen[order[: round(amount * len(order))]] = True
    return sets.reshape(len(amounts), *shape)


def mean_height(amounts: Sequence[float], values: np.ndarray) -> float:
    """Area under a curve by trapezoids, divided by its length: the mean height.

    Args:
        amounts: `(points,)`, rising.
        values: `(points,)`.
    """
    steps = np.diff(np.asarray(amounts, dtype=np.float64))
    heights = np.asarray(values, dtype=np.float64)
    return float((steps * (heights[1:] + heights[:-1]) / 2).sum() / steps.sum())


def check_amounts(amounts: Sequence[float]) -> None:
    """Refuse points of a curve that are not one.

    Raises:
        ValueError: Fewer than two, not rising, or outside 0 to 1.
    """
    points = list(amounts)
    if len(points) < 2 or not all(0 <= one <= 1 for one in points) or (np.diff(points) <= 0).any():
        raise ValueError(f"amounts={points} must be two or more shares from 0 to 1, each above the one before")


def ranks_above(higher: Sequence[float], lower: Sequence[float]) -> float:
    """How often one of `higher` is above one of `lower`, equals counting half: the area under the ROC curve.

    Raises:
        ValueError: One of the two is empty.
    """
    if not len(higher) or not len(lower):
        raise ValueError(f"{len(higher)} values against {len(lower)}: at least one of each is needed")
    one, other = np.asarray(higher)[:, None], np.asarray(lower)[None]
    return float(((one > other) + 0.5 * (one == other)).mean())


def dividing_line(higher: Sequence[float], lower: Sequence[float]) -> float:
    """The threshold below which most of `lower` and fewest of `higher` lie: highest difference of the two shares
    (Youden 1950), midway between the neighbouring values; the lowest of equally good ones.

    Raises:
        ValueError: One of the two is empty.
    """
    if not len(higher) or not len(lower):
        raise ValueError(f"{len(higher)} values against {len(lower)}: at least one of each is needed")
    one, other = np.sort(np.asarray(higher, dtype=np.float64)), np.sort(np.asarray(lower, dtype=np.float64))
    values = np.unique(np.concatenate([one, other]))
    lines = np.concatenate([values[:1] - 1, (values[:-1] + values[1:]) / 2, values[-1:] + 1])
    found = np.searchsorted(other, lines) / len(other) - np.searchsorted(one, lines) / len(one)
    return float(lines[found.argmax()])
