"""How well several sounds at once are told apart: one table by the number of sounds, for a model and for the baseline.

A mean average precision cannot be compared between its rows: guessing scores the share of clips that have a label,
which is a tenth for one of ten sounds and four tenths for four of them. The area under the ROC curve (`auc`) can.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..processing.events import find_events
from .drum_labels import LABELS
from .drums import SAMPLING_RATE, DrumHit
from .event_scores import Event, count_events, event_f1, score_events
from .linear_baseline import LinearBaseline, LinearFrameBaseline, baseline_features
from .mixes import SECONDS, DrumMixes, clip_target
from .tag_scores import MULTI, score_tags

THRESHOLDS = tuple(np.round(np.arange(0.05, 0.95, 0.05), 2).tolist())
STEP = 0.1  # seconds of a time step of the baseline


def score_by_sounds(
    labels: np.ndarray,
    scores: np.ndarray,
    references: Sequence[Sequence[Event]],
    predictions: Sequence[Sequence[Any]],
    names: Sequence[str],
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Tags and events measured by the number of sounds at once, and over all clips: the rows of one table.

    Args:
        labels: what each clip has, `(clips, labels)` of 0 and 1.
        scores: of the same, from 0 to 1.
        references: events of each clip; their number is that of its sounds.
        predictions: events that a model found in each clip.
        names: of the labels.
        seed: of the bootstrap.

    Returns:
        By "1", "2", … and "all": what `score_tags` and `score_events` tell.

    Raises:
        ValueError: as these two.
    """
    sounds = np.array([len(events) for events in references])
    groups: Mapping[str, np.ndarray] = {str(number): sounds == number for number in sorted(set(sounds.tolist()))}
    table = {}
    for name, chosen in {**groups, "all": np.ones(len(sounds), dtype=bool)}.items():
        clips = np.flatnonzero(chosen).tolist()
        tags = score_tags(labels[clips], scores[clips], names, MULTI, seed)
        events = score_events([references[i] for i in clips], [predictions[i] for i in clips], names, seed=seed)
        table[name] = tags | events
    return table


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


def cross_validate_mixes(
    hits: Sequence[DrumHit],
    train: int = 2_000,
    test: int = 400,
    seed: int = 0,
    names: Sequence[str] = LABELS,
    report: Callable[[str], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """The linear baseline on mixes: each fold's kits are mixed and tested with a model that learnt from the others'.

    Args:
        hits: as `load_drums` gives them.
        train, test: mixes per fold, of `DrumMixes` with its defaults. The events' threshold is picked on `test` more
            mixes of the training kits.
        seed: training mixes are those of `seed`, test mixes of `seed + 1`, the threshold's of `seed + 2`.
        names: of the labels.
        report: called with a line after each fold.

    Returns:
        As `score_by_sounds`, over the test mixes of all folds.
    """
    extractor, edges = baseline_features(), np.arange(0.0, SECONDS + STEP / 2, STEP)
    times = extractor.frame_times(extractor.frame_count(round(SECONDS * SAMPLING_RATE)))
    labels, scores, references, predictions = [], [], [], []
    for fold in sorted({hit.fold for hit in hits}):
        seen, unseen = [h for h in hits if h.fold != fold], [h for h in hits if h.fold == fold]
        learnt = list(_items(DrumMixes(seen, train, seed, extractor, edges, names)))
        features = [item["input_features"] for item in learnt]
        targets = [clip_target(item["events"], names) for item in learnt]
        clips = LinearBaseline(names, multi_label=True).fit(features, targets)
        steps = LinearFrameBaseline(names, times, edges).fit(features, [item["labels"] for item in learnt])
        tuned = list(_items(DrumMixes(seen, test, seed + 2, extractor, labels=names)))
        tuned_scores = steps.scores([item["input_features"] for item in tuned])
        threshold = pick_threshold(tuned_scores, [item["events"] for item in tuned], edges, names)
        tested = list(_items(DrumMixes(unseen, test, seed + 1, extractor, labels=names)))
        features = [item["input_features"] for item in tested]
        labels += [item["labels"] for item in tested]
        references += [item["events"] for item in tested]
        scores += list(clips.scores(features))
        predictions += [find_events(clip, edges, names, threshold) for clip in steps.scores(features)]
        if report is not None:
            report(f"fold {fold}: {len(learnt)} mixes learnt, {len(tested)} tested, threshold {threshold:g}")
    return score_by_sounds(np.array(labels), np.array(scores), references, predictions, names, seed)


def _items(mixes: DrumMixes) -> Any:
    return (mixes[index] for index in range(len(mixes)))
