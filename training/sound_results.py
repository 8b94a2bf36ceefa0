"""Results of models that hear sounds: every clip's predictions, from which the scores are counted again.

    result = tag_result(files, labels, probabilities, ["kick", "snare"])
    report = {…, "results": [{"dataset": "drums", "split": "five folds", "about": "…", **result}]}

`tag_result` and `event_result` make what `read_tags` and `read_events` read. Scores are kept to six digits and times
to a tenth of a millisecond, and what is kept is what is scored, so that nothing is lost between the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .event_scores import COLLAR, Event, Timed, count_events, event_f1, score_events
from .report_record import Record, Result, read_head, read_measure
from .tag_scores import PROBLEM_TYPES, SINGLE, measure_tags, positives, score_tags

DIGITS, DECIMALS = 6, 4  # of scores, and of seconds
NO_INTERVAL = ("auc", "d_prime")


@dataclass(frozen=True, eq=False)
class TagResult(Result):
    """Which classes every clip was taken for.

    Attributes:
        problem_type: `"single_label_classification"` or `"multi_label_classification"`.
        classes: names.
        names: of the clips.
        present: which classes each clip has (clips, classes) bool.
        scores: (clips, classes).
    """

    kind: ClassVar[str] = "tags"
    problem_type: str
    classes: tuple[str, ...]
    names: tuple[str, ...]
    present: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True, eq=False)
class EventResult(Result):
    """Which events were heard in every clip.

    Attributes:
        collar: seconds that an onset may be off.
        offset_share: share of an event's length that its end may be off; None: only onsets count.
        classes: names.
        names: of the clips.
        references, predictions: events of each clip.
        counts: matched, in the reference, predicted: (clips, classes, 3).
    """

    kind: ClassVar[str] = "events"
    collar: float
    offset_share: float | None
    classes: tuple[str, ...]
    names: tuple[str, ...]
    references: tuple[tuple[Event, ...], ...]
    predictions: tuple[tuple[Event, ...], ...]
    counts: np.ndarray


def tag_result(
    names: Sequence[str],
    labels: Any,
    scores: Any,
    classes: Sequence[str],
    problem_type: str = SINGLE,
    seed: int = 0,
) -> dict[str, Any]:
    """A result of tags for a report, but for `dataset`, `split` and `about`.

    Args:
        names: of the clips, such as their files' names.
        labels: as for `positives`: indices of classes (clips,), or 0 and 1 (clips, classes).
        scores: (clips, classes), such as probabilities.
        classes: names, in the order of the scores.
        problem_type: `"single_label_classification"` or `"multi_label_classification"`.
        seed: of the bootstrap.

    Raises:
        ValueError: as `score_tags`, or another number of names.
    """
    kept = [[float(f"{score:.{DIGITS}g}") for score in row] for row in np.asarray(scores, dtype=np.float64).tolist()]
    result = {"kind": TagResult.kind, **score_tags(labels, kept, classes, problem_type, seed)}
    _check_clips(names, len(kept))
    present = positives(labels, len(classes), problem_type)
    predictions = [
        {"name": name, "labels": [classes[index] for index in np.flatnonzero(row).tolist()], "scores": row_scores}
        for name, row, row_scores in zip(names, present, kept, strict=True)
    ]
    return {**result, "predictions": predictions}


def event_result(
    names: Sequence[str],
    references: Sequence[Sequence[Timed]],
    predictions: Sequence[Sequence[Timed]],
    classes: Sequence[str],
    collar: float = COLLAR,
    offset_share: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """A result of events for a report, but for `dataset`, `split` and `about`.

    Args:
        names: of the clips, such as their files' names.
        references, predictions: events of each clip, of anything with `label`, `onset` and `offset` in seconds, such
            as `Event` here and in `processing.events`.
        classes: names.
        collar, offset_share, seed: as for `score_events`.

    Raises:
        ValueError: as `score_events`, or another number of names.
    """
    there, heard = ([[_kept(event) for event in clip] for clip in clips] for clips in (references, predictions))
    result = {"kind": EventResult.kind, **score_events(there, heard, classes, collar, offset_share, seed)}
    _check_clips(names, len(there))
    clips = [
        {"name": name, "reference": list(map(list, reference)), "predicted": list(map(list, predicted))}
        for name, reference, predicted in zip(names, there, heard, strict=True)
    ]
    return {**result, "predictions": clips}


def _check_clips(names: Sequence[str], clips: int) -> None:
    if len(names) != clips:
        raise ValueError(f"there are {len(names)} names of clips and {clips} clips; give as many")


def _kept(event: Timed) -> Event:
    offset = None if event.offset is None else round(float(event.offset), DECIMALS)
    return Event(event.label, round(float(event.onset), DECIMALS), offset)


def read_tags(record: Record) -> TagResult:
    """A result of tags, as `tag_result` made it.

    Raises:
        ValueError: a field is missing or ill-typed, or a score does not follow from the predictions.
    """
    classes, clips = _read_classes(record), _read_clips(record)
    problem_type = record.text("problem_type")
    if problem_type not in PROBLEM_TYPES:
        record.fail("problem_type", f"one of {', '.join(PROBLEM_TYPES)}")
    scores = np.array([clip.numbers("scores", len(classes)) for clip in clips], dtype=np.float64)
    present = np.zeros(scores.shape, dtype=bool)
    for row, clip in zip(present, clips, strict=True):
        for label in clip.texts("labels", empty=True):
            if label not in classes:
                clip.fail("labels", f"some of the classes, {', '.join(classes)}")
            row[classes.index(label)] = True
        if problem_type == SINGLE and row.sum() != 1:
            clip.fail("labels", "one class")
    _check_scored(record, present)
    measures = {
        name: read_measure(record, name, counted, "predictions", interval=name not in NO_INTERVAL)
        for name, counted in measure_tags(present, scores, problem_type).items()
    }
    return TagResult(
        **read_head(record),
        clips=len(clips),
        measures=measures,
        problem_type=problem_type,
        classes=classes,
        names=tuple(clip.text("name") for clip in clips),
        present=present,
        scores=scores,
    )


def read_events(record: Record) -> EventResult:
    """A result of events, as `event_result` made it.

    Raises:
        ValueError: a field is missing or ill-typed, or a score does not follow from the predictions.
    """
    classes, clips = _read_classes(record), _read_clips(record)
    collar, offset_share = record.number("collar"), record.number_or_null("offset_share")
    references, predictions = (tuple(_read_timed(clip, name) for clip in clips) for name in ("reference", "predicted"))
    try:
        counts = count_events(references, predictions, classes, collar, offset_share)
    except ValueError as error:
        raise ValueError(f"{record.file}: {record.place}predictions: {error}") from error
    _check_scored(record, counts[..., 1] > 0)
    for number, name in enumerate(("matched_events", "reference_events", "predicted_events")):
        if record.whole(name) != (counted := int(counts[..., number].sum())):
            record.fail(name, f"what its predictions hold, {counted}")
    return EventResult(
        **read_head(record),
        clips=len(clips),
        measures={name: read_measure(record, name, value, "predictions") for name, value in event_f1(counts).items()},
        collar=collar,
        offset_share=offset_share,
        classes=classes,
        names=tuple(clip.text("name") for clip in clips),
        references=references,
        predictions=predictions,
        counts=counts,
    )


def _read_classes(record: Record) -> tuple[str, ...]:
    classes = record.texts("classes")
    if len(set(classes)) != len(classes):
        record.fail("classes", "different texts")
    return classes


def _read_clips(record: Record) -> list[Record]:
    clips = record.records("predictions")
    if record.whole("clips", least=1) != len(clips):
        record.fail("clips", f"the number of predictions, which is {len(clips)}: all are needed")
    return clips


def _check_scored(record: Record, present: np.ndarray) -> None:
    """The averages go over the classes that a clip has, which must be some."""
    scored = int(present.any(axis=0).sum())
    if record.whole("scored_classes", least=1) != scored:
        record.fail("scored_classes", f"the number of classes that a clip has, which is {scored}")


def _read_timed(clip: Record, name: str) -> tuple[Event, ...]:
    """Events as `[class, onset, offset]`, in seconds."""
    events = clip.values.get(name)
    if not isinstance(events, list) or not all(map(_is_timed, events)):
        clip.fail(name, "a list of events, each [class, onset, offset] in seconds")
    return tuple(Event(*event) for event in events)


def _is_timed(event: Any) -> bool:
    if not isinstance(event, list) or len(event) != 3 or not isinstance(event[0], str):
        return False
    times = event[1:] if event[2] is not None else event[1:2]
    return all(isinstance(time, int | float) and not isinstance(time, bool) for time in times)
