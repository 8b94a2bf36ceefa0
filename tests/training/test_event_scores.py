"""Event-based F1: the largest matching, sed_eval's numbers, macro over the classes that are there."""

import json
from itertools import permutations

import numpy as np
import pytest

from aural.processing import events as heard
from aural.training.event_scores import Event, count_events, event_f1, event_intervals, match_events, score_events

# What sed_eval 0.2.1 (t_collar 0.2, percentage_of_length 0.5, empty system output scored as zero) says of these clips
REFERENCES = [
    [Event("a", 0.5, 1.0), Event("a", 0.6, 0.9), Event("b", 1.0, 3.0)],
    [Event("c", 0.0, 0.1)],
    [Event("b", 2.0, 2.5)],
    [],
]
PREDICTIONS = [
    [Event("a", 0.65, 1.1), Event("a", 0.42, 0.8), Event("b", 1.15, 1.9), Event("b", 1.19, 1.95)],
    [],
    [Event("a", 2.0, 2.5)],
    [Event("b", 0.3, 0.4)],
]
SED_EVAL = {
    None: (0.5454545454545454, {"a": 0.8, "b": 0.4, "c": 0.0}),
    0.5: (0.3636363636363636, {"a": 0.8, "b": 0.0, "c": 0.0}),
}


def random_events(generator: np.random.Generator, most: int = 6) -> list[Event]:
    """Onsets of five decimals, so that none lies a collar apart by chance."""
    events = []
    for _ in range(generator.integers(most + 1)):
        onset = round(float(generator.random()), 5)
        events.append(Event(str(generator.choice(["a", "b"])), onset, round(onset + float(generator.random()), 5)))
    return events


@pytest.mark.parametrize("offset_share", [None, 0.5])
def test_scores_are_those_of_sed_eval(offset_share):
    micro, each = SED_EVAL[offset_share]
    matched = {None: 3, 0.5: 2}[offset_share]
    scores = score_events(REFERENCES, PREDICTIONS, ["a", "b", "c"], offset_share=offset_share)
    assert scores["event_f1_micro"] == pytest.approx(micro)
    assert scores["event_f1_macro"] == pytest.approx(np.mean(list(each.values())))
    assert (scores["reference_events"], scores["predicted_events"], scores["matched_events"]) == (5, 6, matched)
    assert (scores["clips"], scores["scored_classes"]) == (4, 3)
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


@pytest.mark.parametrize("offset_share", [None, 0.5])
def test_the_matching_is_the_largest(offset_share):
    def close(one: Event, other: Event) -> bool:
        if one.label != other.label or abs(one.onset - other.onset) > 0.2:
            return False
        return offset_share is None or abs(one.offset - other.offset) <= max(0.2, 0.5 * (one.offset - one.onset))

    generator = np.random.default_rng(0)
    sizes = []
    for _ in range(60):
        reference, predicted = random_events(generator), random_events(generator)
        pairs = match_events(reference, predicted, 0.2, offset_share)
        assert all(close(reference[one], predicted[other]) for one, other in pairs)
        assert len({one for one, _ in pairs}) == len({other for _, other in pairs}) == len(pairs)
        short, long = sorted((reference, predicted), key=len)
        turned = short is predicted
        most = max(
            sum(close(*((other, one) if turned else (one, other))) for one, other in zip(short, order, strict=False))
            for order in permutations(long, len(short))
        )
        assert len(pairs) == most
        sizes.append(most)
    assert max(sizes) >= 3


def test_a_greedy_matching_would_find_less():
    # The first reference could take either; the second needs the one that comes first.
    reference = [Event("a", 1.0), Event("a", 1.3)]
    predicted = [Event("a", 1.15), Event("a", 0.85)]
    assert match_events(reference, predicted) == [(0, 1), (1, 0)]


def test_a_collar_apart_is_within_it():
    assert abs(1.1 - 0.9) > 0.2  # in binary
    assert match_events([Event("a", 0.9)], [Event("a", 1.1)]) == [(0, 0)]
    assert match_events([Event("a", 0.9)], [Event("a", 1.1001)]) == []
    assert match_events([Event("a", 0.9)], [Event("a", 1.1001)], collar=0.25) == [(0, 0)]


def test_an_end_may_be_off_by_half_of_a_long_event():
    long = [Event("a", 0.0, 4.0)]
    assert match_events(long, [Event("a", 0.1, 2.0)], offset_share=0.5) == [(0, 0)]
    assert match_events(long, [Event("a", 0.1, 1.9)], offset_share=0.5) == []
    assert match_events(long, [Event("a", 0.1, 1.9)]) == [(0, 0)]
    assert match_events([Event("a", 0.0, 0.1)], [Event("a", 0.0, 0.3)], offset_share=0.5) == [(0, 0)]  # the collar


def test_a_class_that_was_never_heard_counts_zero_and_a_foreign_one_is_left_out_of_the_mean():
    scores = event_f1(
        count_events([[Event("a", 0), Event("b", 1)]], [[Event("a", 0), Event("z", 1)]], ["a", "b", "z"])
    )
    assert scores == {"event_f1_macro": 0.5, "event_f1_micro": 0.5}


def test_events_of_other_clips_do_not_match():
    counts = count_events([[Event("a", 0)], []], [[], [Event("a", 0)]], ["a"])
    assert counts.tolist() == [[[0, 1, 0]], [[0, 0, 1]]]


def test_what_the_tagger_found_can_be_scored_as_it_is():
    found = [heard.Event(onset=0.1, offset=0.4, label="a", score=0.9)]
    assert count_events([[Event("a", 0.0, 0.4)]], [found], ["a"], offset_share=0.5).tolist() == [[[1, 1, 1]]]


def test_intervals_are_those_of_resampled_clips():
    generator = np.random.default_rng(1)
    clips = [(random_events(generator), random_events(generator)) for _ in range(30)]
    counts = count_events(*map(list, zip(*clips, strict=True)), ["a", "b"])
    found = event_intervals(counts, seed=3)
    weights = np.random.default_rng(8).multinomial(30, np.full(30, 1 / 30), size=1000)
    drawn = [event_f1(counts[np.repeat(np.arange(30), row)])["event_f1_macro"] for row in weights]
    assert found["event_f1_macro"] == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.03)
    assert found == event_intervals(counts, seed=3) != event_intervals(counts, seed=4)
    for name, value in event_f1(counts).items():
        assert found[name][0] < value < found[name][1]


def test_resamples_without_an_event_are_left_out():
    counts = count_events([[Event("a", 0)], []], [[Event("a", 0)], []], ["a"])
    assert event_intervals(counts, seed=0) == {"event_f1_macro": (1.0, 1.0), "event_f1_micro": (1.0, 1.0)}


@pytest.mark.parametrize(
    ("reference", "options", "message"),
    [
        (Event("x", 0.0), {}, "label='x', .* has an unknown class; there are a"),
        (Event("a", -0.1), {}, "must begin at 0 s or later"),
        (Event("a", float("nan")), {}, "must begin at 0 s or later"),
        (Event("a", 1.0, 0.9), {}, "must end, and not before it begins"),
        (Event("a", 1.0, float("inf")), {}, "must end, and not before it begins"),
        (Event("a", 1.0), {"offset_share": 0.5}, "has no offset, which offset_share needs"),
        (Event("a", 1.0), {"collar": 0.0}, "collar is 0.0; it must be seconds, more than 0"),
        (Event("a", 1.0, 2.0), {"offset_share": 1.5}, "offset_share is 1.5; it must be from 0 to 1"),
    ],
)
def test_an_impossible_event_or_condition_is_said(reference, options, message):
    for pair in ([[reference]], [[]]), ([[Event("a", 0.0, 0.1)]], [[reference]]):
        with pytest.raises(ValueError, match=message):
            count_events(*pair, ["a"], **options)


def test_as_many_clips_and_at_least_one_event():
    with pytest.raises(ValueError, match="1 references and 2 predictions"):
        count_events([[]], [[], []], ["a"])
    with pytest.raises(ValueError, match="names must be 2 different texts"):
        count_events([[]], [[]], ["a", "a"])
    with pytest.raises(ValueError, match="the references hold no event"):
        score_events([[]], [[Event("a", 0)]], ["a"])
