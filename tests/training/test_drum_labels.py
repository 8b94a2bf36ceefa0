"""The hand-checked table of drum kits is whole and keeps its own rules."""

from collections import Counter

import pytest

from aural.training.drum_labels import COPY, DISAGREE, FAMILIES, FOLDS, KITS, LABELS, OTHER, STICK, TWO


def test_there_are_ten_labels_and_sixteen_kits():
    assert LABELS == ("hihat", "snare", "tom", "crash", "kick", "ride", "cowbell", "conga", "clap", "shaker")
    assert tuple(FAMILIES) == LABELS
    assert len(KITS) == 16


@pytest.mark.parametrize("name", KITS)
def test_every_name_of_a_kit_has_one_verdict_that_is_a_label_or_a_reason(name):
    kit = KITS[name]
    names = Counter(instrument for instruments in kit.instruments.values() for instrument in instruments)
    assert set(names.values()) == {1}
    assert set(kit.instruments) | set(kit.recordings.values()) <= {*LABELS, STICK, OTHER, TWO, DISAGREE, COPY}
    for verdict, instruments in kit.instruments.items():
        assert [kit.verdict(instrument) for instrument in instruments] == [verdict] * len(instruments)


def test_a_name_that_is_not_in_the_table_has_no_verdict():
    assert KITS["GMRockKit"].verdict("Theremin") is None


def test_names_that_mislead_a_pattern_are_judged_by_hand():
    assert KITS["Gimme A Hand 1.0"].verdict("WaterglassHi") == OTHER
    assert KITS["ElectricEmpireKit"].verdict("Hat Low") == "hihat"
    assert KITS["ColomboAcousticDrumkit"].verdict("redo super opaco") == "snare"
    assert KITS["ColomboAcousticDrumkit"].recordings["crash16i__ride2.flac"] == TWO
    assert KITS["ForzeeStereo"].verdict("Crash/Ride") == TWO
    assert KITS["Audiophob"].verdict("Kick") == DISAGREE  # its recording is called a tom


def test_every_label_is_played_by_three_kits_of_three_folds():
    for label in LABELS:
        folds = [kit.fold for kit in KITS.values() if label in kit.instruments]
        assert len(folds) >= 3 and len(set(folds)) >= 3, label


def test_all_folds_are_used_and_kits_with_the_same_drums_share_one():
    assert {kit.fold for kit in KITS.values()} == set(range(1, FOLDS + 1))
    assert KITS["GMRockKit"].fold == KITS["The Black Pearl 1.0"].fold
    assert len({KITS[name].fold for name in KITS if name.startswith("Millo")}) == 1
