"""Windows that overlap become one text: the words of both, each once.

- Words heard in both windows are found by their text and time. Before the one nearest the middle of the overlap the
  left window is believed, after it the right one: each knows least about its own border, which may cut a word.
- Where the windows share no word, the middle decides, moved so that no word of the left window is cut.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from .alignment import TimedWord
from .segments import Segment

SAME = 0.4  # seconds between the middles of what can be one word, heard twice


def stitch(
    left: Sequence[TimedWord], right: Sequence[TimedWord], start: float, end: float
) -> tuple[list[TimedWord], list[TimedWord]]:
    """The words of two windows that overlap from `start` to `end`, without those that are there twice.

    Args:
        left, right: Words of the windows in order, with times in the recording.
        start, end: Seconds: the beginning of the right window, and the end of the left one.

    Returns:
        What stays of `left`, and what stays of `right`.

    Raises:
        ValueError: The windows do not overlap.
    """
    if not start < end:
        raise ValueError(f"start={start} must be less than end={end}: the windows do not overlap")
    if not left or not right:
        return list(left), list(right)
    middle = (start + end) / 2
    pairs = _heard_twice(left, right, start, end)
    if pairs:
        kept, skipped = min(pairs, key=lambda pair: abs(_middle(left[pair[0]]) - middle))
        return list(left[: kept + 1]), list(right[skipped + 1 :])
    before = [word for word in left if _middle(word) < middle]
    border = middle
    if before and before[-1].end > middle:
        border = before[-1].end
    elif len(before) < len(left):  # the right window may have heard this word a little earlier
        earliest = _middle(left[len(before)]) - SAME
        border = min(middle, max(earliest, before[-1].end if before else start))
    return before, [word for word in right if _middle(word) >= border]


def stitched(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Segments without what overlapping ones hold twice; each comes once the next one is known.

    Args:
        segments: In order; `overlap` tells what each shares with the one before it.
    """
    before: Segment | None = None
    for segment in segments:
        if before is not None and segment.overlap > 0:
            left, right = stitch(before.words, segment.words, segment.start, segment.start + segment.overlap)
            border = left[-1].end if left else segment.start
            before = _with_words(before, left, before.start, max(border, segment.start))
            segment = _with_words(segment, right, before.end, segment.end)
        if before is not None:
            yield before
        before = replace(segment, overlap=0.0)
    if before is not None:
        yield before


def _with_words(segment: Segment, words: Sequence[TimedWord], start: float, end: float) -> Segment:
    text = segment.text if len(words) == len(segment.words) else " ".join(word.text for word in words)
    return replace(segment, start=start, end=end, text=text, words=tuple(words))


def _middle(word: TimedWord) -> float:
    return (word.start + word.end) / 2


def _plain(text: str) -> str:
    """`text` without what two hearings of a word may differ in: case and marks around it."""
    folded = unicodedata.normalize("NFC", text).casefold()
    return "".join(sign for sign in folded if not unicodedata.category(sign).startswith("P")) or folded


def _heard_twice(
    left: Sequence[TimedWord], right: Sequence[TimedWord], start: float, end: float
) -> list[tuple[int, int]]:
    """Indices of the words that are in both windows, in order: as many as possible, then as close as possible."""
    first = next((i for i, word in enumerate(left) if word.end >= start - SAME), len(left))
    last = next((j for j, word in enumerate(right) if word.start > end + SAME), len(right))
    rows, columns = [_plain(word.text) for word in left[first:]], [_plain(word.text) for word in right[:last]]
    best: list[list[tuple[int, float, tuple[tuple[int, int], ...]]]]
    best = [[(0, 0.0, ())] * (len(columns) + 1) for _ in range(len(rows) + 1)]
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            options = [best[i][j + 1], best[i + 1][j]]
            apart = abs(_middle(left[first + i]) - _middle(right[j]))
            if row == column and apart <= SAME:
                count, nearness, pairs = best[i][j]
                options.append((count + 1, nearness - apart, (*pairs, (first + i, j))))
            best[i + 1][j + 1] = max(options, key=lambda option: option[:2])
    return list(best[-1][-1][2])
