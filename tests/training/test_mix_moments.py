"""Moments of described mixes: which source sounds in each time patch, and how manieth it is."""

import numpy as np
import pytest

from aural import AuralProcessor, LogMelFeatureExtractor, train_tokenizer
from aural.training.drums import DrumHit
from aural.training.effects import Effect
from aural.training.mix_captions import MixCaptions, Sounding
from aural.training.mix_grammar import vocabulary
from aural.training.mix_moments import MOMENT_LABELS, PARTS, SOUNDS, MixMoments, moment_targets
from aural.training.mix_sounds import drum_sounds, effect_sounds
from tests.small_corpora import tone
from tests.tiny_spectrogram import tiny_spectrogram_config

EDGES = np.arange(11) / 10


@pytest.fixture(scope="module")
def mixes():
    hits = [DrumHit(name, name, "x", 1, tone(i, 0.3)) for i, name in enumerate(("kick", "snare", "tom"))]
    effects = [Effect(name, name, tone(9 + i, 0.6)) for i, name in enumerate(("dog", "owl"))]
    extractor = LogMelFeatureExtractor(num_mel_bins=8, normalize=None)
    processor = AuralProcessor(extractor, train_tokenizer(vocabulary(), "word"))
    return MixCaptions([*drum_sounds(hits), *effect_sounds(effects)], 12, 0, processor)


def test_a_patch_is_a_sources_where_it_sounds_in_most_of_it():
    sounds = [Sounding("dog", 0.0, 0.32), Sounding("kick", 0.24, 0.57), Sounding("kick", 0.7, 0.9)]
    targets = moment_targets(sounds, EDGES)
    assert targets.shape == (10, len(MOMENT_LABELS)) and targets.dtype == np.float32
    columns = {name: np.flatnonzero(targets[:, place]).tolist() for place, name in enumerate(MOMENT_LABELS)}
    assert {name: places for name, places in columns.items() if places} == {
        "dog": [0, 1, 2],
        "kick": [2, 3, 4, 5, 7, 8],  # 0.06 of the third, 0.07 of the sixth
        SOUNDS[0]: [0, 1, 2, 3, 4, 5],
        SOUNDS[1]: [7, 8],
        PARTS[0]: [0, 1, 2],
        PARTS[1]: [2, 3, 4, 5, 7, 8],
    }


def test_items_have_a_row_of_labels_for_every_time_patch_of_the_model(mixes):
    config = tiny_spectrogram_config()
    moments = MixMoments(mixes, config.patch_centers)
    assert len(moments) == 12
    for index in range(12):
        item = moments[index]
        np.testing.assert_array_equal(item["input_features"], mixes[index]["input_features"])
        assert item["labels"].shape == (config.time_patches(len(item["input_features"])), len(MOMENT_LABELS))


def test_numbers_of_sounds_and_parts_are_those_that_are_told(mixes):
    moments = MixMoments(mixes, tiny_spectrogram_config().patch_centers)
    for index in range(12):
        told, labels = mixes.compose(index).told, moments[index]["labels"].any(axis=0)
        heard = {name for name, there in zip(MOMENT_LABELS, labels, strict=True) if there}
        assert heard == {*told.sources, *SOUNDS[: max(told.counts.values())], *PARTS[: len(told.parts)]}


def test_an_epoch_is_that_of_the_mixes(mixes):
    moments = MixMoments(mixes, tiny_spectrogram_config().patch_centers)
    first = moments[1]["input_features"]
    moments.set_epoch(1)
    assert moments[1]["input_features"].shape != first.shape
    moments.set_epoch(0)
    np.testing.assert_array_equal(moments[1]["input_features"], first)
