"""How much a model loses when a part of it is silenced: the drop of a score, with an interval over the same clips.

    before = tag_draws(present, scores, MULTI, seed=0)
    after = tag_draws(present, scores_without, MULTI, seed=0)
    paired_drop(before, after)  # Drop(value=0.031, low=0.012, high=0.049)

What is notable here: the interval is *paired*. Both scores are counted on the same resamples of the clips, and it is
the difference that is resampled: what makes a resample easy or hard for the model with and without the part alike
falls out. Two intervals side by side would be several times as wide.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .event_scores import Timed, count_events, event_f1
from .tag_scores import (
    MULTI,
    SINGLE,
    check_scored,
    choose,
    mean_where,
    measure_tags,
    percentiles,
    resampled_weights,
    weighted_precisions,
)

TAG_SCORE = {SINGLE: "accuracy", MULTI: "map"}  # the score that tells of a problem type's tags
EVENT_SCORE = "event_f1_micro"


class Drop(NamedTuple):
    """What is lost, positive where the part was of use, and its 95% interval."""

    value: float
    low: float
    high: float


class Draws(NamedTuple):
    """A score, and the same on each resample of the clips `(samples,)`."""

    value: float
    drawn: np.ndarray

    @property
    def interval(self) -> list[float]:
        """95%: low and high."""
        return list(percentiles(self.drawn))


def paired_drop(before: Draws, after: Draws) -> Drop:
    """What a score lost; both must be of the same clips, drawn with the same seed."""
    return Drop(before.value - after.value, *percentiles(before.drawn - after.drawn))


def tag_draws(present: np.ndarray, scores: np.ndarray, problem_type: str, seed: int) -> Draws:
    """Accuracy (one label of several) or mean average precision (several at once) of tags.

    Args:
        present: which classes each clip has `(clips, classes)`.
        scores: `(clips, classes)`.
        problem_type: as for `tag_scores.positives`.
        seed: of the resamples.

    Raises:
        ValueError: no clip has a label.
    """
    value = measure_tags(present, scores, problem_type)[TAG_SCORE[problem_type]]
    scored = check_scored(present)
    right = (present & choose(scores)).any(axis=1)
    drawn = []
    for weights in resampled_weights(len(present), seed):
        if problem_type == SINGLE:
            drawn.append(weights @ right / len(right))
        else:
            precisions = weighted_precisions(present[:, scored], scores[:, scored], weights)
            drawn.append(mean_where(precisions, weights @ present[:, scored]))
    return Draws(value, np.concatenate(drawn))


def event_draws(
    references: Sequence[Sequence[Timed]], predictions: Sequence[Sequence[Timed]], names: Sequence[str], seed: int
) -> Draws:
    """Micro F1 of events by their onsets, as `event_scores` counts them.

    Args:
        references, predictions, names: as for `count_events`.
        seed: of the resamples.

    Raises:
        ValueError: as `count_events`; the references hold no event.
    """
    counts = count_events(references, predictions, names)
    value = event_f1(counts)[EVENT_SCORE]
    sums = counts.sum(axis=1)  # (clips, 3): matched, reference, predicted
    drawn = []
    for weights in resampled_weights(len(sums), seed):
        matched, there, predicted = (weights @ sums).T
        drawn.append(np.where(there > 0, 2 * matched / np.maximum(there + predicted, 1), np.nan))
    return Draws(value, np.concatenate(drawn))


def mean_interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """95% interval of the mean of values `(clips,)`, by a bootstrap over clips; NaN of none."""
    if not len(values):
        return float("nan"), float("nan")
    drawn = [weights @ values / len(values) for weights in resampled_weights(len(values), seed)]
    return percentiles(np.concatenate(drawn))
