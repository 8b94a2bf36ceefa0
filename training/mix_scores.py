"""How well several sounds at once are told apart: by the number of sounds, for a model and for the linear baseline.

A mean average precision cannot be compared between numbers of sounds: guessing scores the share of clips that have a
label, which is a tenth for one of ten sounds and four tenths for four of them. The area under the ROC curve (`auc`)
can.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..processing.events import find_events
from .drum_labels import LABELS
from .drums import SAMPLING_RATE, DrumHit
from .event_scores import Event, Timed, count_events, event_f1
from .linear_baseline import LinearBaseline, LinearFrameBaseline, baseline_features
from .mixes import SECONDS, DrumMixes, clip_target
from .sound_results import event_result, tag_result
from .tag_scores import MULTI

THRESHOLDS = tuple(np.round(np.arange(0.05, 0.95, 0.05), 2).tolist())
STEP = 0.1  # seconds of a time step of the baseline
TESTED, TUNED = 1, 2  # added to a run's seed: mixes that are measured on, and those that the threshold is picked on


@dataclass(frozen=True, eq=False)
class HeardMixes:
    """What was in mixes, and what was heard in them.

    Attributes:
        names: of the clips.
        labels: what each clip has, `(clips, labels)` of 0 and 1.
        scores: of the same, from 0 to 1.
        references, predictions: events of each clip that were there, and that were found.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    scores: np.ndarray
    references: tuple[tuple[Timed, ...], ...]
    predictions: tuple[tuple[Timed, ...], ...]


def join_heard(parts: Sequence[HeardMixes]) -> HeardMixes:
    """Several sets of mixes as one."""
    return HeardMixes(
        names=tuple(name for part in parts for name in part.names),
        labels=np.concatenate([part.labels for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        references=tuple(events for part in parts for events in part.references),
        predictions=tuple(events for part in parts for events in part.predictions),
    )


def results_by_sounds(
    heard: HeardMixes, names: Sequence[str], about: str, system: str | None = None, seed: int = 0
) -> list[dict[str, Any]]:
    """Results for a report: tags and events of the clips with one sound, with two, and so on.

    Args:
        heard: of all clips.
        names: of the labels.
        about: what the mixes are.
        system: what heard them, if not the report's model.
        seed: of the bootstrap.
    """
    sounds = np.array([len(events) for events in heard.references])
    results = []
    for number in sorted(set(sounds.tolist())):
        chosen = np.flatnonzero(sounds == number).tolist()
        clips = [heard.names[i] for i in chosen]
        references, predictions = ([events[i] for i in chosen] for events in (heard.references, heard.predictions))
        head = {"dataset": f"drum mixes, {number} at once", "split": "kits held out", "about": about}
        head |= {} if system is None else {"system": system}
        results += [
            head | tag_result(clips, heard.labels[chosen], heard.scores[chosen], names, MULTI, seed),
            head | event_result(clips, references, predictions, names, seed=seed),
        ]
    return results


def pick_threshold(
    scores: np.ndarray,
    references: Sequence[Sequence[Event]],
    edges: np.ndarray,
    names: Sequence[str],
    thresholds: Sequence[float] = THRESHOLDS,
) -> float:
    """The threshold whose events have the best macro F1: to be found on clips that are not the test's.

    Args:
        scores: of time steps, `(clips, steps, labels)` from 0 to 1.
        references: events of each clip.
        edges: of the time steps in seconds, `(steps + 1,)`.
        names: of the labels.
        thresholds: to choose from; of equally good ones the lowest is taken.
    """

    def quality(threshold: float) -> float:
        found = [find_events(clip, edges, names, threshold) for clip in scores]
        return event_f1(count_events(references, found, names))["event_f1_macro"]

    return max(thresholds, key=quality)


def tested_mixes(hits: Sequence[DrumHit], count: int, seed: int, extractor: Any, names: Sequence[str]) -> DrumMixes:
    """The mixes that a run of `seed` is measured on; the same for every system."""
    return DrumMixes(hits, count, seed + TESTED, extractor, labels=names)


def hear_with_baseline(
    seen: Sequence[DrumHit],
    unseen: Sequence[DrumHit],
    train: int = 2_000,
    test: int = 400,
    seed: int = 0,
    names: Sequence[str] = LABELS,
) -> HeardMixes:
    """Mixes of kits that the linear baseline has not heard, as it hears them.

    Args:
        seen, unseen: hits to learn from, and to be tested on.
        train, test: number of mixes of `DrumMixes` with its defaults. The events' threshold is picked on `test` more
            mixes of the kits that it knows.
        seed: what the mixes follow from.
        names: of the labels.
    """
    extractor, edges = baseline_features(), np.arange(0.0, SECONDS + STEP / 2, STEP)
    times = extractor.frame_times(extractor.frame_count(round(SECONDS * SAMPLING_RATE)))
    learnt = list(_items(DrumMixes(seen, train, seed, extractor, edges, names)))
    features = [item["input_features"] for item in learnt]
    targets = [clip_target(item["events"], names) for item in learnt]
    clips = LinearBaseline(names, multi_label=True).fit(features, targets)
    steps = LinearFrameBaseline(names, times, edges).fit(features, [item["labels"] for item in learnt])
    tuned = list(_items(DrumMixes(seen, test, seed + TUNED, extractor, labels=names)))
    tuned_scores = steps.scores([item["input_features"] for item in tuned])
    threshold = pick_threshold(tuned_scores, [item["events"] for item in tuned], edges, names)
    tested = list(_items(tested_mixes(unseen, test, seed, extractor, names)))
    features = [item["input_features"] for item in tested]
    found = [find_events(clip, edges, names, threshold) for clip in steps.scores(features)]
    return heard_mixes(tested, clips.scores(features), found)


def heard_mixes(
    items: Sequence[dict[str, Any]], scores: np.ndarray, found: Iterable[Sequence[Timed]], name: str = "mix"
) -> HeardMixes:
    """Items of `DrumMixes` with labels per clip, and what was heard in them.

    Args:
        items: the mixes.
        scores: `(clips, labels)` from 0 to 1.
        found: events of each clip.
        name: before each clip's number.
    """
    return HeardMixes(
        names=tuple(f"{name} {number}" for number in range(len(items))),
        labels=np.stack([item["labels"] for item in items]),
        scores=np.asarray(scores),
        references=tuple(tuple(item["events"]) for item in items),
        predictions=tuple(tuple(events) for events in found),
    )


def _items(mixes: DrumMixes) -> Iterable[dict[str, Any]]:
    return (mixes[index] for index in range(len(mixes)))
