"""ComposedStrings: what follows from the seed, the curriculum, and the sound itself."""

from dataclasses import replace

import numpy as np
import pytest

from aural import AuralProcessor, LogMelFeatureExtractor, train_tokenizer
from aural.training.clips import Clip
from aural.training.compose import CURRICULUM, Augmentation, ComposedStrings, Stage, audible, is_held_out

WORDS = ("one", "two", "three", "four", "five", "six")
STILL = Augmentation(pause=(0.1, 0.1), gain_db=0.0, speeds=(1.0,), snr_db=(200.0, 200.0))


def clip(i: int, word: str) -> Clip:
    """A tone of its own pitch and length per word."""
    samples = 1600 + 160 * i
    tone = np.sin(2 * np.pi * (300 + 200 * i) * np.arange(samples) / 16000).astype(np.float32)
    return Clip(word, word, "digit", tone, 16000)


CLIPS = [clip(i, word) for i, word in enumerate(WORDS)]
PROCESSOR = AuralProcessor(LogMelFeatureExtractor(num_mel_bins=8), train_tokenizer([*WORDS, " "]))


def strings(count=60, seed=0, **options):
    return ComposedStrings(CLIPS, PROCESSOR, count, seed, **options)


def test_an_item_follows_from_seed_and_index_alone():
    data, again = strings(), strings()
    order = [7, 3, 50, 3]
    first = [data.compose(i) for i in order]
    second = [again.compose(i) for i in reversed(order)][::-1]
    for (audio, text), (other_audio, other_text) in zip(first, second, strict=True):
        assert text == other_text
        np.testing.assert_array_equal(audio, other_audio)
    assert strings(seed=1).compose(50)[1] != data.compose(50)[1]


def test_composing_leaves_the_global_generators_alone():
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)
    strings()[5]
    assert np.random.random() == expected


def test_the_curriculum_goes_from_single_words_to_strings():
    data = strings(count=1000)
    lengths = [len(data.compose(i)[1].split()) for i in range(0, 1000, 10)]
    assert set(lengths[:20]) == {1}
    assert set(lengths[20:45]) == {1, 2, 3}
    assert set(lengths[45:]) == {2, 3, 4, 5, 6}


def test_a_group_shares_its_number_of_words():
    data = strings(count=96, group=8)
    for group in range(12):
        assert len({len(data.compose(group * 8 + i)[1].split()) for i in range(8)}) == 1


def test_sound_is_the_words_with_pauses_between_them():
    data = strings(count=20, stages=(Stage(1.0, 3, 3),), augmentation=STILL)
    audio, text = data.compose(4)
    words = [CLIPS[WORDS.index(word)].audio for word in text.split()]
    pause = np.zeros(1600, dtype=np.float32)
    expected = np.concatenate([pause, words[0], pause, words[1], pause, words[2], pause])
    np.testing.assert_allclose(audio, expected, atol=1e-6)


def test_the_places_of_the_words_are_where_they_sound():
    silent = np.zeros(960, np.float32)  # 60 ms before and after, as the shipped recordings have
    clips = [Clip(c.name, c.text, c.kind, np.concatenate([silent, c.audio, silent]), 16000) for c in CLIPS]
    data = ComposedStrings(clips, PROCESSOR, 20, 0, (Stage(1.0, 2, 4),), augmentation=replace(STILL, speeds=(0.8,)))
    for index in range(20):
        audio, text, spoken = data.compose_timed(index)
        np.testing.assert_array_equal(audio, data.compose(index)[0])
        assert " ".join(one.text for one in spoken) == text == data.compose(index)[1]
        loud = np.flatnonzero(np.abs(audio) > 0.05) / 16000
        for one in spoken:
            inside = loud[(loud > one.start - 0.05) & (loud < one.end + 0.05)]
            assert inside.min() == pytest.approx(one.start, abs=0.011)
            assert inside.max() == pytest.approx(one.end, abs=0.011)
            assert one.end - one.start == pytest.approx((0.1 + 0.01 * WORDS.index(one.text)) / 0.8, abs=0.021)


def test_audible_is_what_lies_less_than_40_db_below_the_loudest():
    levels = np.repeat([0.0, 0.012, 1.0, 0.1, 0.008], 1600)  # 38 dB below is heard, 42 dB below is not
    assert audible(levels.astype(np.float32), 16000) == pytest.approx((0.1, 0.4))


def test_speed_gain_and_noise_change_the_sound_as_they_say():
    def sound(**options):
        still = {"pause": (0.0, 0.0), "gain_db": 0.0, "speeds": (1.0,), "snr_db": (200.0, 200.0)}
        data = strings(stages=(Stage(1.0, 1, 1),), augmentation=Augmentation(**{**still, **options}))
        return data.compose(2)[0]

    plain = sound()
    assert len(sound(speeds=(2.0,))) == pytest.approx(len(plain) / 2, abs=2)  # twice as fast, half as long
    factor = np.abs(sound(gain_db=6.0)).max() / np.abs(plain).max()
    assert 10 ** (-6 / 20) <= factor <= 10 ** (6 / 20)
    assert factor != pytest.approx(1, abs=1e-3)
    noise = sound(snr_db=(20.0, 20.0)) - plain
    assert 10 * np.log10(np.mean(plain**2) / np.mean(noise**2)) == pytest.approx(20, abs=0.3)


def test_items_hold_the_features_and_labels_of_what_was_composed():
    data = strings()
    audio, text = data.compose(3)
    item = data[3]
    expected = PROCESSOR(audio=audio, text=text, sampling_rate=16000)
    np.testing.assert_array_equal(item["input_features"], expected["input_features"][0])
    assert item["labels"] == expected["labels"]


def test_training_and_test_strings_share_no_text():
    training = {strings(count=800).compose(i)[1] for i in range(800)}
    held_out = {strings(count=100, stages=(Stage(1.0, 2, 6),), held_out=True).compose(i)[1] for i in range(100)}
    assert all(is_held_out(text) for text in held_out)
    assert not training & held_out


def test_bad_arguments_are_refused_by_name():
    with pytest.raises(ValueError, match="clips is empty"):
        ComposedStrings([], PROCESSOR, 10, 0)
    with pytest.raises(ValueError, match="group=0"):
        strings(group=0)
    same = ComposedStrings([CLIPS[0]], PROCESSOR, 1, 0, stages=(Stage(1.0, 2, 2),), held_out=True)
    with pytest.raises(ValueError, match="1 clips: no held-out string of 2 words"):
        same.compose(0)
    with pytest.raises(ValueError, match=r"must end with until=1\.0"):
        strings(stages=CURRICULUM[:1])
    with pytest.raises(IndexError, match=r"index=60 must be in \[0, 60\)"):
        strings().compose(60)


def test_another_seed_draws_other_words_and_other_numbers_of_words():
    def texts(seed, stage):
        data = strings(seed=seed, stages=(stage,))
        return [data.compose(i)[1] for i in range(20)]

    assert texts(0, Stage(1.0, 3, 3)) != texts(1, Stage(1.0, 3, 3))
    lengths = [[len(text.split()) for text in texts(seed, Stage(1.0, 1, 6))] for seed in (0, 1)]
    assert lengths[0] != lengths[1]


def test_a_stage_ends_where_its_share_of_the_run_is_reached():
    data = strings(count=5, stages=(Stage(0.2, 1, 1), Stage(1.0, 2, 2)))
    assert [len(data.compose(i)[1].split()) for i in range(5)] == [1, 2, 2, 2, 2]


def test_gains_and_pauses_fill_the_ranges_they_are_given():
    def sounds(**options):
        still = {"pause": (0.0, 0.0), "gain_db": 0.0, "speeds": (1.0,), "snr_db": (200.0, 200.0)}
        data = strings(stages=(Stage(1.0, 1, 1),), augmentation=Augmentation(**{**still, **options}))
        return [data.compose(i) for i in range(60)]

    gains = [20 * np.log10(np.abs(audio).max()) for audio, _ in sounds(gain_db=6.0)]  # the words' peak is 1
    assert -6.01 < min(gains) < -4
    assert 4 < max(gains) < 6.01
    words = {text: len(audio) for audio, text in sounds()}
    pauses = [(len(audio) - words[text]) / 2 / 16000 for audio, text in sounds(pause=(0.1, 0.3))]
    assert 0.1 <= min(pauses) < 0.15
    assert 0.25 < max(pauses) <= 0.3
