"""Long recordings window by window: cut from features that stream by, and their overlapping scores averaged."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Window:
    """A stretch of a recording's features.

    Attributes:
        start: Its first frame, counted from the recording's.
        features: float32 `(frames, mels)`, its own to change.
    """

    start: int
    features: torch.Tensor


def windows(rows: Iterable[torch.Tensor], size: int, hop: int, least: int = 1) -> Iterator[Window]:
    """Overlapping windows over features that come block by block.

    Args:
        rows: The features `(frames, mels)`, in blocks of any sizes.
        size: Frames of a window; the last one keeps its own length.
        hop: Frames from the start of one window to the next.
        least: Frames that make a window: a rest with fewer is left to the window before. The first window is always
            there.
    """
    held: torch.Tensor | None = None
    start = held_from = total = 0  # of the next window, of what is held, of all rows; in frames
    for block in rows:
        held = block if held is None else torch.cat([held, block])
        total += len(block)
        while start + size <= total:
            yield Window(start, held[start - held_from : start - held_from + size].clone())
            start += hop
        unneeded = min(len(held), start - held_from)
        held = held[unneeded:]
        held_from += unneeded
    heard_to = start - hop + size  # by the window before
    if held is not None and (start == 0 or (total > heard_to and total - start >= least)):
        yield Window(start, held[start - held_from :].clone())


class OverlapAverage:
    """The average of scores that overlap, on a grid of steps.

    Scores are added in the order of their first steps; a step that no later scores can reach is averaged and put away
    as float32, so that only the result grows.

    Args:
        labels: Scores per step.
    """

    def __init__(self, labels: int) -> None:
        self._labels = labels
        self._done = bytearray()  # grows in place, where joining arrays would need twice the room
        self._first = 0  # step of the first of the sums
        self._sums = np.zeros((0, labels))
        self._weights = np.zeros((0, 1))

    def add(self, first: int, scores: np.ndarray, weights: np.ndarray) -> None:
        """Add scores.

        Args:
            first: Their first step; never before that of scores added earlier.
            scores: `(steps, labels)`.
            weights: `(steps,)`, above 0.
        """
        self._put_away(min(first, self._first + len(self._sums)))
        missing = first + len(scores) - self._first - len(self._sums)
        if missing > 0:
            self._sums = np.pad(self._sums, ((0, missing), (0, 0)))
            self._weights = np.pad(self._weights, ((0, missing), (0, 0)))
        rows = slice(first - self._first, first - self._first + len(scores))
        self._sums[rows] += scores * weights[:, None]
        self._weights[rows] += weights[:, None]

    def result(self) -> np.ndarray:
        """The averages, float32 `(steps, labels)`."""
        self._put_away(self._first + len(self._sums))
        return np.frombuffer(self._done, np.float32).reshape(-1, self._labels)

    def _put_away(self, before: int) -> None:
        """Average the steps before `before`."""
        count = before - self._first
        self._done += (self._sums[:count] / self._weights[:count]).astype(np.float32).tobytes()
        self._sums, self._weights = self._sums[count:], self._weights[count:]
        self._first = before
