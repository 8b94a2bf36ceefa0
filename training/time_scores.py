"""How far word times are from the truth, on strings whose recordings' places are known."""

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from ..processing.alignment import TimedWord
from .compose import Spoken


def border_errors(words: Sequence[TimedWord], spoken: Sequence[Spoken]) -> list[tuple[float, float]]:
    """Seconds by which the start and end of each recording are missed; only of those whose words were all written.

    Words are matched by their texts (difflib), in order. Of a recording of several words only the outer borders are
    known: the start of its first and the end of its last.

    Args:
        words: As written, with times.
        spoken: What the string was composed of.

    Returns:
        `(start error, end error)` of each recording that was written right, not below 0.
    """
    texts = [word for one in spoken for word in one.text.split()]
    matcher = SequenceMatcher(None, texts, [word.text for word in words], autojunk=False)
    place = {a + i: b + i for a, b, size in matcher.get_matching_blocks() for i in range(size)}
    errors, at = [], 0
    for one in spoken:
        own = range(at, at + len(one.text.split()))
        at = own.stop
        if all(i in place for i in own):
            first, last = words[place[own[0]]], words[place[own[-1]]]
            errors.append((abs(first.start - one.start), abs(last.end - one.end)))
    return errors


def time_errors(strings: Iterable[tuple[Sequence[TimedWord], Sequence[Spoken]]]) -> dict[str, Any]:
    """Errors of word borders over many strings, starts and ends pooled.

    Args:
        strings: For each, its words with times and what it was composed of.

    Returns:
        `recordings` heard and `compared` (written right) counts; `median_seconds` and `p90_seconds` (90th percentile)
        of the errors.

    Raises:
        ValueError: No recording was written right: there is nothing to measure.
    """
    recordings, errors = 0, []
    for words, spoken in strings:
        recordings += len(spoken)
        errors += border_errors(words, spoken)
    if not errors:
        raise ValueError(f"{recordings} recordings, and not one was written right: no border can be compared")
    pooled = np.array(errors).ravel()
    return {
        "recordings": recordings,
        "compared": len(errors),
        "median_seconds": round(float(np.median(pooled)), 4),
        "p90_seconds": round(float(np.quantile(pooled, 0.9)), 4),
    }
