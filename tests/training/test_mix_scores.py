"""Tags and events by the number of sounds at once."""

import numpy as np
import pytest

from aural.training.event_scores import Event
from aural.training.mix_scores import HeardMixes, hear_with_baseline, join_heard, pick_threshold, results_by_sounds
from tests.training.test_mixes import LABELS, make_hit

NAMES = ("a", "b")
ONE, BOTH = (Event("a", 0.1, 0.3),), (Event("a", 0.1, 0.3), Event("b", 0.2, 0.4))


def heard() -> HeardMixes:
    return HeardMixes(
        names=("w", "x", "y", "z"),
        labels=np.array([[1, 0], [1, 1], [1, 0], [1, 1]]),
        scores=np.array([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1], [0.2, 0.8]]),
        references=(ONE, BOTH, ONE, BOTH),
        predictions=(ONE, (), ONE, BOTH),
    )


def test_results_are_by_the_number_of_sounds():
    results = results_by_sounds(heard(), NAMES, "about", system="guess")
    assert [(each["dataset"], each["kind"], each["clips"]) for each in results] == [
        ("drum mixes, 1 at once", "tags", 2),
        ("drum mixes, 1 at once", "events", 2),
        ("drum mixes, 2 at once", "tags", 2),
        ("drum mixes, 2 at once", "events", 2),
    ]
    assert all(each["system"] == "guess" for each in results)
    assert results[1]["event_f1_macro"] == 1.0
    assert results[3]["event_f1_macro"] == pytest.approx(2 / 3)  # half of each found, none wrong
    assert [clip["name"] for clip in results[2]["predictions"]] == ["x", "z"]
    assert "system" not in results_by_sounds(heard(), NAMES, "about")[0]


def test_joined_mixes_are_those_of_all_parts_in_order():
    both = join_heard([heard(), heard()])
    assert both.names == ("w", "x", "y", "z") * 2
    assert both.labels.shape == both.scores.shape == (8, 2)
    assert both.references[5] == BOTH and both.predictions[5] == ()


def test_threshold_is_the_one_with_the_best_events():
    edges = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    scores = np.array([[[0.1], [0.35], [0.35], [0.2]], [[0.2], [0.2], [0.6], [0.6]]])
    references = [[Event("a", 0.1, 0.3)], [Event("a", 0.2, 0.4)]]
    # With a collar of 0.2 s an onset of 0 would do for the first but not for a clip full of sound.
    assert pick_threshold(scores, references, edges, ("a",), [0.65, 0.5, 0.3]) == 0.3


def test_baseline_is_tested_on_kits_that_it_has_not_heard():
    seen, unseen = ([make_hit(label, kit, 0.3) for label in LABELS] for kit in ("x", "y"))
    results = results_by_sounds(hear_with_baseline(seen, unseen, train=60, test=12, names=LABELS), LABELS, "tones")
    assert [each["clips"] for each in results] == [3] * 8
    assert results[0]["map"] > 0.9  # five pure tones
    assert results[1]["event_f1_macro"] > 0.7
