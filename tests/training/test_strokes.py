"""Single hits for training: what an item follows from, soft labels, levels, lead, damping."""

import numpy as np
import pytest
import torch

from aural import LogMelFeatureExtractor
from aural.training.strokes import DrumStrokes, StrokeOptions
from tests.training.test_mixes import LABELS, make_hit

EXTRACTOR = LogMelFeatureExtractor(num_mel_bins=8, normalize=None)
PLAIN = StrokeOptions(
    (1.0,), damped=0, blended=0, lead=(0.05, 0.05), peak_db=(-6, -6), noise_db=(-200, -200), smoothing=0
)


def strokes(options: StrokeOptions = PLAIN, **more) -> DrumStrokes:
    hits = [make_hit(label, kit, 0.2) for kit in ("x", "y") for label in LABELS]
    return DrumStrokes(hits, EXTRACTOR, more.pop("count", 50), seed=3, labels=LABELS, options=options, **more)


def test_an_item_follows_from_seed_epoch_and_index_alone():
    dataset = strokes(StrokeOptions())
    torch.manual_seed(0)
    first = dataset[7]
    again = strokes(StrokeOptions(), count=1_000)[7]
    np.testing.assert_array_equal(first["input_features"], again["input_features"])
    np.testing.assert_array_equal(first["labels"], again["labels"])
    dataset.set_epoch(1)
    other = dataset[7]
    assert first["input_features"].shape != other["input_features"].shape or not np.array_equal(
        first["input_features"], other["input_features"]
    )


def test_a_plain_stroke_is_the_hit_after_its_lead_at_its_level():
    dataset = strokes()
    wave, target = dataset.compose(np.random.default_rng(0))
    label = LABELS[int(target.argmax())]
    hit = make_hit(label, "x", 0.2).audio
    assert len(wave) == 800 + len(hit)
    np.testing.assert_allclose(wave[800:], hit * 10 ** (-6 / 20), atol=1e-5)
    assert np.abs(wave[:800]).max() < 1e-6
    assert target.sum() == 1


def test_frequent_labels_are_met_more_often_by_the_square_root_of_their_hits():
    hits = [make_hit("a", "x", 0.2)] * 16 + [make_hit("b", "x", 0.2)] * 4
    dataset = DrumStrokes(hits, EXTRACTOR, 600, seed=0, labels=LABELS, options=StrokeOptions((1.0,), blended=0))
    drawn = [dataset.compose(np.random.default_rng(index))[1].argmax() for index in range(600)]
    assert np.mean(np.array(drawn) == LABELS.index("a")) == pytest.approx(2 / 3, abs=0.06)


def test_what_is_longer_is_cut_off():
    wave, _ = strokes(seconds=0.1).compose(np.random.default_rng(0))
    assert len(wave) == 1_600


def test_damped_hits_fade_out_after_a_part_of_their_length():
    wave, _ = strokes(StrokeOptions((1.0,), 1.0, 0, lead=(0, 0), noise_db=(-200, -200))).compose(
        np.random.default_rng(1)
    )
    assert 0.4 * 3_232 <= len(wave) < 3_232
    early, late = (np.abs(part).max() for part in (wave[200:600], wave[-200:]))
    assert late < early * 0.5


def test_blended_hits_have_soft_labels_by_their_share_of_the_energy():
    dataset = strokes(StrokeOptions((1.0,), 0, 1.0, alpha=10.0, lead=(0, 0), noise_db=(-200, -200), smoothing=0))
    for index in range(20):
        wave, target = dataset.compose(np.random.default_rng(index))
        assert target.sum() == pytest.approx(1, abs=1e-6)
        heard = np.flatnonzero(target)
        if len(heard) < 2:  # the same label twice
            continue
        spectrum = np.abs(np.fft.rfft(wave[100:1_700])) ** 2  # 10 Hz per bin
        energy = np.array([spectrum[(500 + 700 * label) // 10] for label in heard])
        np.testing.assert_allclose(energy / energy.sum(), target[heard], atol=0.03)


def test_labels_are_smoothed_and_features_augmented():
    options = StrokeOptions((1.0,), 0, 0, smoothing=0.1)
    item = strokes(options, augment_features=lambda features, generator: features * 0 + 7)[0]
    assert sorted(item["labels"].tolist()) == pytest.approx([0.02] * 4 + [0.92])
    assert (item["input_features"] == 7).all()


def test_impossible_data_is_refused():
    with pytest.raises(ValueError, match="labels e, which are not among a, b, c, d"):
        DrumStrokes([make_hit("e", "x")], EXTRACTOR, 1, 0, labels=LABELS[:4])
    with pytest.raises(ValueError, match="0 hits, count=1"):
        DrumStrokes([], EXTRACTOR, 1, 0)
    with pytest.raises(IndexError, match="index=50"):
        strokes()[50]
