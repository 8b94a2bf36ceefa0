"""Tags and events by the number of sounds at once."""

import numpy as np
import pytest

from aural.training.drums import DrumHit
from aural.training.event_scores import Event
from aural.training.mix_scores import cross_validate_mixes, pick_threshold, score_by_sounds
from tests.training.test_mixes import LABELS, make_hit

NAMES = ("a", "b")


def test_rows_are_the_numbers_of_sounds_and_all():
    one, both = [Event("a", 0.1, 0.3)], [Event("a", 0.1, 0.3), Event("b", 0.2, 0.4)]
    references = [one, both, one, both]
    labels = np.array([[1, 0], [1, 1], [1, 0], [1, 1]])
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1], [0.2, 0.8]])
    predictions = [one, [], one, both]
    table = score_by_sounds(labels, scores, references, predictions, NAMES)
    assert list(table) == ["1", "2", "all"]
    assert [table[row]["clips"] for row in table] == [2, 2, 4]
    assert table["1"]["event_f1_macro"] == 1.0
    assert table["2"]["event_f1_macro"] == pytest.approx(2 / 3)  # half of each found, none wrong
    assert table["all"]["map"] == 1.0 and table["all"]["event_f1_micro"] == pytest.approx(2 * 4 / (4 + 6))


def test_threshold_is_the_one_with_the_best_events():
    edges = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    scores = np.array([[[0.1], [0.35], [0.35], [0.2]], [[0.2], [0.2], [0.6], [0.6]]])
    references = [[Event("a", 0.1, 0.3)], [Event("a", 0.2, 0.4)]]
    # With a collar of 0.2 s an onset of 0 would do for the first but not for a clip full of sound.
    assert pick_threshold(scores, references, edges, ("a",), [0.65, 0.5, 0.3]) == 0.3


def test_baseline_is_tested_on_kits_that_it_has_not_heard(capsys):
    hits = [make_hit(label, kit, 0.3) for kit in ("x", "y") for label in LABELS]
    hits = [DrumHit(h.name, h.label, h.kit, 1 if h.kit == "x" else 2, h.audio) for h in hits]
    lines = []
    table = cross_validate_mixes(hits, train=60, test=12, names=LABELS, report=lines.append)
    assert list(table) == ["1", "2", "3", "4", "all"]
    assert table["all"]["clips"] == 24 and table["3"]["clips"] == 6
    assert table["1"]["map"] > 0.9  # five pure tones
    assert table["1"]["event_f1_macro"] > 0.7
    assert len(lines) == 2 and lines[0].startswith("fold 1: 60 mixes learnt, 12 tested, threshold 0.")
