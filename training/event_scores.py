"""What a model that hears events got right: event-based F1, where a sound counts when it begins about when it should.

1. A predicted event is right if a reference event of its class in its clip begins at most `collar` seconds away and,
   where `offset_share` asks for it, ends at most max(collar, offset_share x its length) away (Mesaros et al. 2016,
   doi:10.3390/app6060162). Each event is used once.
2. The matching is the largest there is (Hopcroft and Karp, by scipy), so the order of events changes nothing.
3. Macro F1 is the mean over the classes that the references have, where a class never heard counts 0; micro F1 is of
   all events, so that events of other classes count as false there.

sed_eval 0.2.1 counts the same matches (its default matching is "optimal" too; tests were compared with it), but its
class average leaves out classes that were never predicted unless told otherwise, it has no intervals, its last release
is of 2018, and it brings librosa and numba with it: hence this room. Times that lie exactly a collar apart match here
whatever their binary form (0.9 and 1.1 s), with 1 ns to spare.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from .tag_scores import RESAMPLES, check_names, percentiles, resampled_weights

COLLAR = 0.2  # seconds
SLACK = 1e-9  # seconds


class Timed(Protocol):
    """What an event must tell, as `processing.events.Event` and `Event` here do.

    Attributes:
        label: its class.
        onset, offset: seconds from the clip's beginning; the offset may be None where only onsets count.
    """

    @property
    def label(self) -> str: ...
    @property
    def onset(self) -> float: ...
    @property
    def offset(self) -> float | None: ...


class Event(NamedTuple):
    """A sound that was there, whoever says so: a `Timed` without a score."""

    label: str
    onset: float
    offset: float | None = None


def check_condition(collar: float, offset_share: float | None) -> None:
    """Both conditions are possible.

    Raises:
        ValueError: a collar that is not positive, or a share outside 0 to 1.
    """
    if not 0 < collar < np.inf:
        raise ValueError(f"collar is {collar!r}; it must be seconds, more than 0")
    if offset_share is not None and not 0 <= offset_share <= 1:
        raise ValueError(f"offset_share is {offset_share!r}; it must be from 0 to 1, or None where only onsets count")


def check_events(events: Sequence[Timed], names: Sequence[str], ends: bool) -> None:
    """Events of known classes, that begin at 0 or later and do not end before.

    Args:
        events: of one clip.
        names: of the classes.
        ends: whether every event needs an offset.

    Raises:
        ValueError: an event is not so; the message shows it.
    """
    for event in events:
        if event.label not in names:
            raise ValueError(f"{event} has an unknown class; there are {', '.join(names)}")
        if not 0 <= event.onset < np.inf:
            raise ValueError(f"{event} must begin at 0 s or later")
        if event.offset is None and ends:
            raise ValueError(f"{event} has no offset, which offset_share needs")
        if event.offset is not None and not event.onset <= event.offset < np.inf:
            raise ValueError(f"{event} must end, and not before it begins")


def match_events(
    reference: Sequence[Timed], predicted: Sequence[Timed], collar: float = COLLAR, offset_share: float | None = None
) -> list[tuple[int, int]]:
    """The most pairs (index of a reference event, of a predicted one) that meet the condition, each event once.

    Args:
        reference: what was there, in one clip.
        predicted: what was heard in it.
        collar: seconds that an onset may be off.
        offset_share: share of the reference event's length that the end may be off, if more than the collar; None:
            only onsets count.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    if not reference or not predicted:
        return []
    labels = [np.array([event.label for event in events]) for events in (reference, predicted)]
    onsets = [np.array([event.onset for event in events]) for events in (reference, predicted)]
    close = labels[0][:, None] == labels[1]  # (reference, predicted)
    close &= abs(onsets[0][:, None] - onsets[1]) <= collar + SLACK
    if offset_share is not None:
        offsets = [np.array([event.offset for event in events]) for events in (reference, predicted)]
        allowed = np.maximum(collar, offset_share * (offsets[0] - onsets[0]))
        close &= abs(offsets[0][:, None] - offsets[1]) <= allowed[:, None] + SLACK
    found = maximum_bipartite_matching(csr_array(close), perm_type="column")
    return [(index, int(other)) for index, other in enumerate(found) if other >= 0]


def count_events(
    references: Sequence[Sequence[Timed]],
    predictions: Sequence[Sequence[Timed]],
    names: Sequence[str],
    collar: float = COLLAR,
    offset_share: float | None = None,
) -> np.ndarray:
    """Events of each clip and class: matched, in the reference, predicted; (clips, classes, 3).

    Args:
        references: events of each clip.
        predictions: of the same clips, in the same order.
        names: of the classes.
        collar, offset_share: as for `match_events`.

    Raises:
        ValueError: no clips, a different number of them, or as `check_names`, `check_condition` and `check_events`.
    """
    check_condition(collar, offset_share)
    check_names(names, len(names))
    if len(references) != len(predictions) or not references:
        raise ValueError(
            f"{len(references)} references and {len(predictions)} predictions; give as many, at least one"
        )
    places = {name: place for place, name in enumerate(names)}
    counts = np.zeros((len(references), len(names), 3), dtype=np.int64)
    for row, reference, predicted in zip(counts, references, predictions, strict=True):
        for events in (reference, predicted):
            check_events(events, names, ends=offset_share is not None)
        matched = [reference[index] for index, _ in match_events(reference, predicted, collar, offset_share)]
        for kind, events in enumerate((matched, reference, predicted)):
            for event in events:
                row[places[event.label], kind] += 1
    return counts


def event_f1(counts: np.ndarray) -> dict[str, float]:
    """Macro and micro F1 of counts (clips, classes, 3), as `event_f1_macro` and `event_f1_micro`.

    Raises:
        ValueError: the references hold no event.
    """
    totals = counts.sum(axis=0)  # (classes, 3)
    if not totals[:, 1].any():
        raise ValueError("the references hold no event: F1 is not defined")
    return {name: float(values[0]) for name, values in _f1(totals[None].astype(float)).items()}


def _f1(totals: np.ndarray) -> dict[str, np.ndarray]:
    """Of totals (resamples, classes, 3): 2 matched / (reference + predicted); NaN without a reference event."""
    there = totals[..., 1] > 0  # (resamples, classes)
    with np.errstate(invalid="ignore"):
        each = 2 * totals[..., 0] / (totals[..., 1] + totals[..., 2])
        macro = np.where(there, each, 0).sum(axis=1) / there.sum(axis=1)
        sums = totals.sum(axis=1)
        micro = np.where(there.any(axis=1), 2 * sums[:, 0] / (sums[:, 1] + sums[:, 2]), np.nan)
    return {"event_f1_macro": macro, "event_f1_micro": micro}


def event_intervals(counts: np.ndarray, seed: int, samples: int = RESAMPLES) -> dict[str, tuple[float, float]]:
    """95% intervals of `event_f1`: percentiles over resamples of the clips, as `tag_intervals`.

    Args:
        counts: (clips, classes, 3).
        seed: of the generator; the same seed gives the same intervals.
        samples: number of resamples.
    """
    drawn: dict[str, list[np.ndarray]] = {}
    for weights in resampled_weights(len(counts), seed, samples):
        for name, values in _f1(np.tensordot(weights, counts, axes=1)).items():
            drawn.setdefault(name, []).append(values)
    return {name: percentiles(np.concatenate(blocks)) for name, blocks in drawn.items()}


def score_events(
    references: Sequence[Sequence[Timed]],
    predictions: Sequence[Sequence[Timed]],
    names: Sequence[str],
    collar: float = COLLAR,
    offset_share: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Event-based F1 with intervals and counts, ready for JSON.

    Args:
        references: events of each clip.
        predictions: of the same clips, in the same order.
        names: of the classes.
        collar: seconds that an onset may be off.
        offset_share: share of the reference event's length that the end may be off, if more than the collar: 0.5 as
            in sed_eval; None: only onsets count.
        seed: of the bootstrap.

    Returns:
        `classes`, `collar`, `offset_share`, `clips`, `scored_classes` (classes with a reference event),
        `reference_events`, `predicted_events`, `matched_events`, `event_f1_macro`, `event_f1_macro_interval` (95%, low
        and high), `event_f1_micro`, `event_f1_micro_interval`.

    Raises:
        ValueError: as `count_events` and `event_f1`.
    """
    counts = count_events(references, predictions, names, collar, offset_share)
    scores = event_f1(counts)
    intervals = event_intervals(counts, seed)
    matched, there, predicted = (int(each) for each in counts.sum(axis=(0, 1)))
    result: dict[str, Any] = {
        "classes": list(names),
        "collar": collar,
        "offset_share": offset_share,
        "clips": len(counts),
        "scored_classes": int(counts[..., 1].any(axis=0).sum()),
        "reference_events": there,
        "predicted_events": predicted,
        "matched_events": matched,
    }
    for name, value in scores.items():
        result |= {name: value, f"{name}_interval": list(intervals[name])}
    return result
