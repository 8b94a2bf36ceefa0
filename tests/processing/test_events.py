"""Events from scores whose events are known, and their text as other programs read it."""

import csv
import io
import json

import numpy as np
import pytest

from aural.processing.events import Event, audacity_labels, csv_lines, find_events, json_lines, label_thresholds


def spans(column: list[float], step: float = 1.0, **options: object) -> list[tuple[float, float]]:
    """Onset and offset of the events of one label in steps of equal length."""
    scores = np.array(column, np.float32)[:, None]
    found = find_events(scores, np.arange(len(scores) + 1) * step, ["a"], **options)
    return [(round(event.onset, 6), round(event.offset, 6)) for event in found]


def test_an_event_lasts_from_the_first_step_over_the_threshold_to_the_end_of_the_last():
    assert spans([0, 0.5, 0.9, 0.4, 0.6]) == [(1, 3), (4, 5)]
    assert spans([0.7, 0.7]) == [(0, 2)]
    assert spans([0, 0.5, 0.9, 0.4, 0.6], threshold=0.6) == [(2, 3), (4, 5)]
    assert spans([0.1, 0.2]) == []
    assert spans([]) == []


def test_events_carry_their_highest_score_and_come_by_onset_and_label():
    scores = np.array([[0.1, 0.9, 0.0], [0.6, 0.7, 0.0], [0.8, 0.1, 0.0], [0.2, 0.5, 0.0]], np.float32)
    found = find_events(scores, np.array([0, 0.4, 0.5, 0.6, 1.0]), ["b", "a", "c"])
    assert [(e.label, e.onset, e.offset, round(e.score, 5)) for e in found] == [
        ("a", 0.0, 0.5, 0.9),
        ("b", 0.4, 0.6, 0.8),
        ("a", 0.6, 1.0, 0.5),
    ]


@pytest.mark.parametrize("size", [3, 5, 9, 41])
def test_the_median_filter_is_that_of_the_scores(size):
    scores = np.random.default_rng(size).random(30).astype(np.float32)
    mirrored = np.pad(scores, size // 2, mode="symmetric")
    medians = [np.median(mirrored[t : t + size]) for t in range(len(scores))]
    active = np.repeat(np.array(medians) >= 0.5, 1)
    expected = [(t, t + 1) for t in range(len(scores)) if active[t]]
    found = spans(scores.tolist(), median=size * 1.0)
    assert [(t, t + 1) for on, off in found for t in range(int(on), int(off))] == expected


def test_a_median_filter_drops_blips_and_fills_holes():
    column = [0, 0, 1, 0, 0, 1, 1, 0, 1, 1, 0, 0]
    assert spans(column, step=0.1, median=0.3) == [(0.5, 1.0)]
    assert spans(column, step=0.1, median=0.04) == spans(column, step=0.1)  # less than a step: none
    assert spans([0, 1, 1, 0, 0, 0], median=3.9) == spans([0, 1, 1, 0, 0, 0], median=3)  # nearest odd number of steps


def test_short_gaps_are_closed_before_short_events_are_dropped():
    column = [1, 0, 1, 0, 0, 1, 0, 0, 0]
    assert spans(column, step=0.1) == [(0, 0.1), (0.2, 0.3), (0.5, 0.6)]
    assert spans(column, step=0.1, min_gap=0.1) == [(0, 0.3), (0.5, 0.6)]
    assert spans(column, step=0.1, min_gap=0.2) == [(0, 0.6)]
    assert spans(column, step=0.1, min_duration=0.2) == []
    assert spans(column, step=0.1, min_gap=0.1, min_duration=0.3) == [(0, 0.3)]


def test_seconds_that_are_sums_of_steps_are_as_long_as_they_look():
    assert 0.1 * 9 - 0.1 * 6 < 0.3 < 0.1 * 4 - 0.1 * 1
    assert spans([0, 0, 0, 0, 0, 0, 1, 1, 1, 0], step=0.1, min_duration=0.3) == [(0.6, 0.9)]
    assert spans([1, 0, 0, 0, 1], step=0.1, min_gap=0.3) == [(0, 0.5)]


def test_thresholds_go_by_label():
    scores = np.array([[0.4, 0.4], [0.6, 0.6]], np.float32)
    edges = np.array([0.0, 1.0, 2.0])
    found = find_events(scores, edges, ["a", "b"], threshold={"b": 0.3})
    assert [(e.label, e.onset) for e in found] == [("b", 0), ("a", 1)]
    assert label_thresholds({"b": 0.3}, ["a", "b"]).tolist() == [0.5, 0.3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": {"dgo": 0.5}}, "no label 'dgo' among 2; near it are dog"),
        ({"threshold": {"siren": 0.5}}, "no label 'siren' among 2; near it are dog, cat"),
        ({"threshold": 1.5}, "threshold: 1.5 for 'dog'; allowed is 0 to 1"),
        ({"threshold": float("nan")}, "threshold: nan"),
        ({"median": -1.0}, r"median: -1.0 seconds; allowed is 0 or above"),
        ({"min_duration": float("inf")}, "min_duration: inf"),
        ({"min_gap": float("nan")}, "min_gap: nan"),
        ({"edges": np.arange(3)}, r"scores: shape \(4, 2\); allowed is \(steps, labels\) = \(2, 2\)"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options, message):
    arguments = {"scores": np.zeros((4, 2)), "edges": np.arange(5), "labels": ["dog", "cat"], **options}
    with pytest.raises(ValueError, match=message):
        find_events(**arguments)


EVENTS = [Event(0.0, 1.25, 'Dog, "big"', 0.9), Event(1.5, 2.0, "Wind\tand\nrain", 0.5)]


def test_text_reads_back_as_it_was():
    rows = [vars(event) for event in EVENTS]
    assert [json.loads(line) for line in json_lines(rows).splitlines()] == rows
    assert "é" in json_lines([{"label": "é"}])
    text = csv_lines(rows, ("onset", "offset", "label", "score"))
    back = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [(float(row["onset"]), row["label"]) for row in back] == [(e.onset, e.label) for e in EVENTS]
    assert csv_lines(rows[:1]) == '0.0,1.25,"Dog, ""big""",0.9\n'
    assert audacity_labels(EVENTS) == '0.000000\t1.250000\tDog, "big"\n1.500000\t2.000000\tWind and rain\n'
