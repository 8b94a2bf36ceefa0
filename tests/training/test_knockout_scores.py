"""What is lost without a part: against scikit-learn and loops over the same resamples."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from aural.training.event_scores import Event, score_events
from aural.training.knockout_scores import event_draws, mean_interval, paired_drop, tag_draws
from aural.training.tag_scores import MULTI, SINGLE, resampled_weights, score_tags

RNG = np.random.default_rng(0)
CLIPS, CLASSES = 40, 3
PRESENT = RNG.random((CLIPS, CLASSES)) < 0.4
GOOD = PRESENT + RNG.normal(0, 0.5, (CLIPS, CLASSES))
WORSE = PRESENT + RNG.normal(0, 1.0, (CLIPS, CLASSES))


def weights(seed):
    return np.concatenate(list(resampled_weights(CLIPS, seed)))


def test_a_drop_of_mean_average_precision_is_paired():
    before, after = tag_draws(PRESENT, GOOD, MULTI, 5), tag_draws(PRESENT, WORSE, MULTI, 5)

    def mean_precision(scores, drawn):
        rows = np.repeat(np.arange(CLIPS), drawn.astype(int))
        return np.mean([average_precision_score(PRESENT[rows, c], scores[rows, c]) for c in range(CLASSES)])

    chosen = weights(5)[:25]
    expected = [mean_precision(GOOD, drawn) - mean_precision(WORSE, drawn) for drawn in chosen]
    np.testing.assert_allclose((before.drawn - after.drawn)[:25], expected, atol=1e-9)
    drop = paired_drop(before, after)
    whole = np.ones(CLIPS)
    assert drop.value == pytest.approx(mean_precision(GOOD, whole) - mean_precision(WORSE, whole))
    assert (drop.low, drop.high) == tuple(np.percentile(before.drawn - after.drawn, [2.5, 97.5]))
    told = score_tags(PRESENT.astype(float), GOOD, list("abc"), MULTI, seed=5)
    assert before.value == pytest.approx(told["map"])
    assert before.interval == pytest.approx(told["map_interval"])


def test_nothing_lost_is_exactly_nothing_and_pairing_is_narrower():
    before = tag_draws(PRESENT, GOOD, MULTI, 0)
    assert paired_drop(before, before) == (0, 0, 0)
    nearly = tag_draws(PRESENT, GOOD + 1e-3 * WORSE, MULTI, 0)
    drop = paired_drop(before, nearly)
    assert drop.high - drop.low < 0.2 * (before.interval[1] - before.interval[0])


def test_a_drop_of_accuracy():
    present = np.eye(CLASSES, dtype=bool)[RNG.integers(CLASSES, size=CLIPS)]
    before, after = tag_draws(present, present + GOOD, SINGLE, 2), tag_draws(present, WORSE, SINGLE, 2)
    right = [(present[np.arange(CLIPS), scores.argmax(1)]) for scores in (present + GOOD, WORSE)]
    assert before.value - after.value == pytest.approx(right[0].mean() - right[1].mean())
    expected = weights(2) @ (right[0].astype(float) - right[1]) / CLIPS
    np.testing.assert_allclose(before.drawn - after.drawn, expected, atol=1e-12)


def test_a_drop_of_events():
    references = [[Event("a", 0.1 * i, None), Event("b", 1.0, None)] for i in range(CLIPS)]
    heard = [
        [Event("a", 0.1 * i + 0.3 * (i % 3 == 0), None)] + [Event("b", 1.0, None)] * (i % 2) for i in range(CLIPS)
    ]
    draws = event_draws(references, heard, "ab", 4)
    told = score_events(references, heard, "ab", seed=4)
    assert draws.value == pytest.approx(told["event_f1_micro"])
    assert draws.interval == pytest.approx(told["event_f1_micro_interval"])
    matched = np.array([(i % 3 != 0) + i % 2 for i in range(CLIPS)])
    predicted = np.array([1 + i % 2 for i in range(CLIPS)])
    expected = 2 * weights(4) @ matched / (weights(4) @ (2.0 + predicted))
    np.testing.assert_allclose(draws.drawn, expected, atol=1e-12)


def test_an_interval_of_a_mean():
    values = RNG.normal(2, 1, CLIPS)
    drawn = weights(1) @ values / CLIPS
    assert mean_interval(values, 1) == tuple(np.percentile(drawn, [2.5, 97.5]))
    assert np.isnan(mean_interval(np.array([]), 1)).all()
