"""From scores over time to events, and events as text that other programs read."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

THRESHOLD = 0.5
TOLERANCE = 1e-6  # seconds: steps are sums of fractions, and 0.30000000000000004 is 0.3


@dataclass(frozen=True)
class Event:
    """One sound from its beginning to its end.

    Attributes:
        onset, offset: Seconds from the start of the recording.
        label: What it is.
        score: The highest score in it.
    """

    onset: float
    offset: float
    label: str
    score: float


def label_thresholds(threshold: float | Mapping[str, float], labels: Sequence[str]) -> np.ndarray:
    """One threshold per label, `(labels,)`.

    Args:
        threshold: One for all, or by label; labels that are not named get 0.5.
        labels: All labels.

    Raises:
        ValueError: A label that is not there, or a threshold outside 0 to 1.
    """
    by_label = threshold if isinstance(threshold, Mapping) else dict.fromkeys(labels, threshold)
    for label, value in by_label.items():
        if label not in labels:
            near = get_close_matches(label, labels, n=3, cutoff=0.5) or list(labels[:3])
            raise ValueError(f"threshold: no label {label!r} among {len(labels)}; near it are {', '.join(near)}")
        if not 0 <= value <= 1:  # NaN too
            raise ValueError(f"threshold: {value!r} for {label!r}; allowed is 0 to 1")
    return np.array([by_label.get(label, THRESHOLD) for label in labels], dtype=np.float64)


def find_events(
    scores: np.ndarray,
    edges: np.ndarray,
    labels: Sequence[str],
    threshold: float | Mapping[str, float] = THRESHOLD,
    median: float = 0.0,
    min_duration: float = 0.0,
    min_gap: float = 0.0,
) -> list[Event]:
    """The events of a recording, label by label: threshold, median filter, close gaps, drop what is short.

    Args:
        scores: `(steps, labels)`, from 0 to 1, averaged where windows overlap: then a sound that crosses the border of
            a window is one event.
        edges: `(steps + 1,)` seconds: step t lasts from `edges[t]` to `edges[t + 1]`.
        labels: Names of the labels.
        threshold: A step counts from this score up; one for all, or by label.
        median: Length of the median filter in seconds: blips and holes shorter than half of it go. It becomes the
            nearest odd number of steps; 0 for none. The ends are mirrored.
        min_duration: Seconds; shorter events are dropped.
        min_gap: Seconds; events of one label with no longer gap between them become one.

    Returns:
        Events by onset, and by label where onsets are equal.

    Raises:
        ValueError: Shapes that do not fit each other, an unknown label, a negative or infinite number of seconds.
    """
    if scores.ndim != 2 or scores.shape != (len(edges) - 1, len(labels)):
        raise ValueError(f"scores: shape {scores.shape}; allowed is (steps, labels) = {len(edges) - 1, len(labels)}")
    check_seconds(median=median, min_duration=min_duration, min_gap=min_gap)
    thresholds = label_thresholds(threshold, labels)
    if not len(scores):
        return []
    size = _odd_steps(median / float(np.median(np.diff(edges))))
    events: list[tuple[float, int, Event]] = []
    for index in np.flatnonzero(scores.max(axis=0) >= thresholds).tolist():  # most of 527 labels never sound
        column = scores[:, index]
        for start, stop in _runs(_majority(column >= thresholds[index], size), edges, min_gap):
            onset, offset = float(edges[start]), float(edges[stop])
            if offset - onset >= min_duration - TOLERANCE:
                event = Event(onset, offset, labels[index], float(column[start:stop].max()))
                events.append((onset, index, event))
    return [event for _, _, event in sorted(events, key=lambda found: found[:2])]


def check_seconds(**seconds: float) -> None:
    """Refuse what is no finite number of seconds from 0 up, by its name."""
    for name, value in seconds.items():
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name}: {value!r} seconds; allowed is 0 or above")


def _odd_steps(steps: float) -> int:
    """The odd number nearest to `steps`, at least 1."""
    return max(1, 2 * round((steps - 1) / 2) + 1)


def _majority(active: np.ndarray, size: int) -> np.ndarray:
    """Median filter of booleans `(steps,)` over an odd number of steps, mirrored at the ends. A median and a threshold
    change places freely, so this is the median filter of the scores."""
    if size == 1:
        return active
    half = size // 2
    counts = np.concatenate([[0], np.cumsum(np.pad(active, half, mode="symmetric"))])
    return counts[size:] - counts[:-size] > half


def _runs(active: np.ndarray, edges: np.ndarray, min_gap: float) -> list[tuple[int, int]]:
    """First step, and the step after the last, of each run of True; runs close to each other are one."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]]).astype(np.int8)))
    runs: list[tuple[int, int]] = []
    for start, stop in changes.reshape(-1, 2).tolist():
        if runs and edges[start] - edges[runs[-1][1]] <= min_gap + TOLERANCE:
            runs[-1] = (runs[-1][0], stop)
        else:
            runs.append((start, stop))
    return runs


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """One JSON object per line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def csv_lines(rows: Iterable[Mapping[str, Any]], header: Sequence[str] | None = None) -> str:
    """Comma-separated values, quoted where a value needs it.

    Args:
        rows: By name of the column.
        header: Names of the columns, for the first line; None leaves that line out.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header is not None:
        writer.writerow(header)
    writer.writerows(row.values() for row in rows)
    return text.getvalue()


def audacity_labels(events: Iterable[Event]) -> str:
    """A label track of Audacity (File, Import, Labels): start, end and name of each event between tabs."""
    return "".join(f"{event.onset:.6f}\t{event.offset:.6f}\t{' '.join(event.label.split())}\n" for event in events)
