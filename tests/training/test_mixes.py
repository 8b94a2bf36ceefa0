"""Mixes of drum hits: what sounds when, from which kits, and the targets that follow."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from aural import LogMelFeatureExtractor
from aural.training.drums import DrumHit
from aural.training.event_scores import Event
from aural.training.mixes import DrumMixes, HitDrawer, MixOptions, clip_target, frame_targets, step_edges

LABELS = ("a", "b", "c", "d", "e")
PLAIN = MixOptions(gain_db=0.0, peak_db=(-6.0, -6.0), snr_db=(200.0, 200.0))


def make_hit(label: str, kit: str, seconds: float = 0.4, silence: int = 32) -> DrumHit:
    """A hit that is loud at once and stays so; of one tone per label."""
    time = np.arange(int(seconds * 16_000)) / 16_000
    tone = np.cos(2 * np.pi * (500 + 700 * LABELS.index(label)) * time).astype(np.float32)
    return DrumHit(f"{kit}/{label}.flac", label, kit, 1, np.concatenate([np.zeros(silence, np.float32), tone]))


@pytest.fixture
def hits() -> list[DrumHit]:
    lengths = {"a": 0.1, "b": 0.2, "c": 0.4, "d": 1.0, "e": 3.0}
    return [make_hit(label, kit, seconds) for kit in ("x", "y") for label, seconds in lengths.items()]


def test_a_mix_follows_from_seed_epoch_and_index_alone(hits):
    mixes = DrumMixes(hits, count=8, seed=3, labels=LABELS)
    torch.manual_seed(0)
    np.random.seed(0)
    first = mixes.compose(5)
    again = DrumMixes(hits, count=1_000, seed=3, labels=LABELS).compose(5)
    np.testing.assert_array_equal(first.audio, again.audio)
    assert first.events == again.events
    others = [DrumMixes(hits, count=8, seed=4, labels=LABELS).compose(5), mixes.compose(1)]
    mixes.set_epoch(1)
    others.append(mixes.compose(5))
    assert all(not np.array_equal(first.audio, other.audio) for other in others)
    mixes.set_epoch(0)
    np.testing.assert_array_equal(first.audio, mixes.compose(5).audio)


def test_one_to_four_sounds_of_different_labels_take_turns(hits):
    mixes = DrumMixes(hits, count=12, seed=0, labels=LABELS)
    for index in range(12):
        mix = mixes.compose(index)
        assert mix.sounds == len(mix.events) == len({event.label for event in mix.events}) == 1 + index % 4


def test_all_sounds_have_begun_before_half_of_the_shortest_is_over_and_events_fit_in(hits):
    mixes = DrumMixes(hits, count=200, seed=1, seconds=1.0, labels=LABELS)
    onsets = set()
    for index in range(200):
        events = mixes.compose(index).events
        shortest = min(events, key=lambda event: event.offset - event.onset)
        assert max(event.onset for event in events) <= (shortest.onset + shortest.offset) / 2
        assert all(0.05 <= event.onset < event.offset <= 1.0 for event in events)
        assert all(one.onset <= other.onset for one, other in pairwise(events))
        onsets.add(events[0].onset)
    assert min(onsets) < 0.15 and max(onsets) > 0.5  # they are anywhere


def test_an_event_lasts_as_long_as_its_hit_but_0_3_s_at_most(hits):
    mixes = DrumMixes(hits, count=60, seed=2, labels=LABELS)
    lengths = {e.label: round(e.offset - e.onset, 6) for i in range(60) for e in mixes.compose(i).events}
    assert lengths == {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.3, "e": 0.3}


@pytest.mark.parametrize("silence", [0, 32, 5_000])
def test_audio_begins_exactly_at_the_onset(silence):
    mixes = DrumMixes([make_hit("a", "x", silence=silence)], count=5, seed=0, most=1, options=PLAIN, labels=LABELS)
    for index in range(5):
        mix = mixes.compose(index)
        loud = np.flatnonzero(np.abs(mix.audio) > 0.1)
        assert loud[0] / 16_000 == mix.events[0].onset
        assert loud[-1] / 16_000 == pytest.approx(mix.events[0].onset + 0.4, abs=0.001)


def test_hits_are_brought_to_one_loudness_before_the_gain_is_drawn(hits):
    quiet = [DrumHit(h.name, h.label, h.kit, h.fold, h.audio * (0.001 if h.label == "d" else 1)) for h in hits]
    mixes = DrumMixes(quiet, count=40, seed=0, options=PLAIN, labels=LABELS)
    mix = next(m for m in map(mixes.compose, range(40)) if {e.label for e in m.events} == {"c", "d"})
    start = round(max(event.onset for event in mix.events) * 16_000)
    spectrum = np.abs(np.fft.rfft(mix.audio[start : start + 1_600]))  # 10 Hz per bin
    assert spectrum[190] == pytest.approx(spectrum[260], rel=0.05)  # 1,900 and 2,600 Hz


def test_level_and_noise_are_those_asked_for(hits):
    mixes = DrumMixes(
        hits, count=20, seed=0, options=MixOptions(peak_db=(-6.0, -6.0), snr_db=(200.0, 200.0)), labels=LABELS
    )
    assert np.abs(mixes.compose(0).audio).max() == pytest.approx(10 ** (-6 / 20), rel=1e-4)
    options = MixOptions(gain_db=0.0, peak_db=(-6.0, -6.0), snr_db=(30.0, 30.0))
    noisy = DrumMixes([make_hit("a", "x")], count=1, seed=0, most=1, options=options, labels=LABELS).compose(0)
    start, stop = (round(t * 16_000) for t in (noisy.events[0].onset, noisy.events[0].offset))
    noise = np.concatenate([noisy.audio[: start - 32], noisy.audio[start + 6_500 :]])
    ratio = 20 * np.log10(np.sqrt(np.mean(noisy.audio[start:stop] ** 2)) / noise.std())
    assert ratio == pytest.approx(30, abs=0.5)


def test_hits_are_played_at_one_of_the_speeds(hits):
    options = MixOptions(gain_db=0.0, peak_db=(-6.0, -6.0), snr_db=(200.0, 200.0), speeds=(0.5, 2.0))
    mixes = DrumMixes([make_hit("b", "x", 0.2)], count=30, seed=0, most=1, options=options, labels=LABELS)
    found = set()
    for index in range(30):
        mix = mixes.compose(index)
        (event,) = mix.events
        start = round((event.onset + 0.01) * 16_000)
        spectrum = np.abs(np.fft.rfft(mix.audio[start : start + 800]))  # 20 Hz per bin; the tone has 1,200 Hz
        found.add((round(event.offset - event.onset, 2), int(spectrum.argmax()) * 20))
    assert found == {(0.1, 2400), (0.3, 600)}  # 0.2 s at double speed, and at half speed, cut at 0.3 s


def test_features_are_augmented_from_a_generator_of_seed_epoch_and_index(hits):
    extractor = LogMelFeatureExtractor(num_mel_bins=20, normalize=None)

    def noisy(features, generator):
        return features + generator.normal(size=features.shape).astype(np.float32)

    plain = DrumMixes(hits, 4, seed=1, feature_extractor=extractor, labels=LABELS)
    mixes = DrumMixes(hits, 4, seed=1, feature_extractor=extractor, labels=LABELS, augment_features=noisy)
    added = [mixes[index]["input_features"] - plain[index]["input_features"] for index in (2, 3)]
    expected = np.random.default_rng((1, 0, 2, 1)).normal(size=added[0].shape)
    np.testing.assert_allclose(added[0], expected, atol=1e-4)
    assert not np.allclose(added[0], added[1])
    np.testing.assert_array_equal(mixes[2]["input_features"], mixes[2]["input_features"])


def test_labels_and_kits_are_as_likely_as_each_other_however_many_layers_they_have():
    hits = [make_hit("a", "x") for _ in range(30)] + [make_hit("a", "y", silence=64), make_hit("b", "y")]
    drawer = HitDrawer(hits)
    drawn = [drawer.draw(np.random.default_rng((0, i)), 1)[0] for i in range(400)]
    assert 160 < sum(label == "a" for label, _ in drawn) < 240
    assert 70 < sum(label == "a" and len(wave) == 6_464 for label, wave in drawn) < 130  # of kit y, by its silence


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_labels_and_kits_can_be_as_likely_as_a_power_of_their_hits(power):
    sizes = {("a", "x"): 48, ("a", "y"): 16, ("b", "y"): 16}
    made = {place: make_hit(*place, silence=64 * (place == ("a", "y"))) for place in sizes}
    drawer = HitDrawer([made[place] for place, size in sizes.items() for _ in range(size)], power=power)
    drawn = [drawer.draw(np.random.default_rng((0, i)), 1)[0] for i in range(2_000)]
    of_a = [len(wave) == 6_464 for label, wave in drawn if label == "a"]  # of kit y, by its silence
    assert len(of_a) / 2_000 == pytest.approx({0.5: 2 / 3, 1.0: 4 / 5}[power], abs=0.03)  # 64 hits against 16
    assert np.mean(of_a) == pytest.approx({0.5: 1 / (1 + np.sqrt(3)), 1.0: 1 / 4}[power], abs=0.03)  # 16 against 48


def test_items_hold_features_clip_labels_events_and_the_number_of_sounds(hits):
    extractor = LogMelFeatureExtractor(num_mel_bins=8, normalize=None)
    item = DrumMixes(hits, count=4, seed=0, feature_extractor=extractor, labels=LABELS)[3]
    mix = DrumMixes(hits, count=4, seed=0, labels=LABELS).compose(3)
    assert item["events"] == mix.events and item["sounds"] == 4
    assert item["input_features"].shape == (198, 8)
    expected = extractor(mix.audio, sampling_rate=16_000)["input_features"][0]
    np.testing.assert_array_equal(item["input_features"], expected)
    heard = {event.label for event in mix.events}
    assert item["labels"].dtype == np.float32
    assert item["labels"].tolist() == [float(label in heard) for label in LABELS]
    assert DrumMixes(hits, count=4, seed=0, labels=LABELS)[3]["audio"].shape == (32_000,)


def test_with_edges_labels_are_per_time_step(hits):
    edges = np.arange(21) / 10
    item = DrumMixes(hits, count=4, seed=0, edges=edges, labels=LABELS)[2]
    np.testing.assert_array_equal(item["labels"], frame_targets(item["events"], edges, LABELS))
    assert item["labels"].shape == (20, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ("a", "b")}, "labels c, d, e"),
        ({"most": 6}, "most=6.*1 to 5"),
        ({"most": 0}, "most=0"),
        ({"count": 0}, "count=0"),
        ({"seconds": 0.4}, "seconds=0.4.*at least 0.5"),
        ({"feature_extractor": LogMelFeatureExtractor(sampling_rate=8_000)}, "8000 Hz"),
    ],
)
def test_what_cannot_be_mixed_is_refused(hits, options, message):
    with pytest.raises(ValueError, match=message):
        DrumMixes(hits, **{"count": 4, "seed": 0, "labels": LABELS, **options})


def test_index_outside_is_refused(hits):
    with pytest.raises(IndexError, match="index=4"):
        DrumMixes(hits, count=4, seed=0, labels=LABELS).compose(4)


def test_clip_target_names_an_unknown_label():
    assert clip_target([Event("b", 0.0, 0.1), Event("b", 0.5, 0.6)], LABELS).tolist() == [0, 1, 0, 0, 0]
    with pytest.raises(ValueError, match="'z'"):
        clip_target([Event("z", 0.0, 0.1)], LABELS)


@pytest.mark.parametrize(
    ("onset", "offset", "steps"),
    [
        (0.0, 0.2, [0, 1]),
        (0.04, 0.3, [0, 1, 2]),  # 0.06 of the first step
        (0.06, 0.3, [1, 2]),  # 0.04 of it
        (0.11, 0.24, [1]),  # 0.09 and 0.04
        (0.06, 0.16, [1]),  # as long as a step
        (0.08, 0.13, [1]),  # shorter than a step, 0.02 and 0.03 in two
        (0.125, 0.175, [1]),
        (0.25, 0.9, [2, 3]),  # beyond the last edge
        (0.5, 0.9, []),
    ],
)
def test_a_step_is_active_when_half_of_it_is_filled_or_half_of_the_event_is_in_it(onset, offset, steps):
    targets = frame_targets([Event("b", onset, offset)], [0.0, 0.1, 0.2, 0.3, 0.4], LABELS)
    assert targets.shape == (4, 5) and targets.dtype == np.float32
    assert np.flatnonzero(targets[:, 1]).tolist() == steps
    assert targets.sum() == len(steps)


def test_every_event_has_a_step_and_its_onset_is_half_a_step_off_at_most():
    rng = np.random.default_rng(0)
    edges = np.arange(21) / 10
    for onset, length in zip(rng.uniform(0, 1.6, 300), rng.uniform(0.01, 0.35, 300), strict=True):
        steps = np.flatnonzero(frame_targets([Event("a", onset, onset + length)], edges, ("a",))[:, 0])
        assert len(steps) and (np.diff(steps) == 1).all()
        assert -0.05 - 1e-9 <= edges[steps[0]] - onset <= 0.05 + 1e-9 or length < 0.1


def test_targets_refuse_edges_that_do_not_rise_and_events_without_an_end():
    with pytest.raises(ValueError, match="rising"):
        frame_targets([], [0.0, 0.2, 0.1], LABELS)
    with pytest.raises(ValueError, match="no offset"):
        frame_targets([Event("a", 0.1)], [0.0, 0.1], LABELS)


def test_steps_meet_midway_between_centers_and_reach_the_ends():
    np.testing.assert_allclose(step_edges([0.08, 0.18, 0.38], 0.5), [0.0, 0.13, 0.28, 0.5])
    np.testing.assert_allclose(step_edges([0.08], 0.5), [0.0, 0.5])
    with pytest.raises(ValueError, match="rise"):
        step_edges([0.2, 0.1], 0.5)
    with pytest.raises(ValueError, match="rise"):
        step_edges([0.2, 1.1], 0.5)
