"""Described mixes: what is said is what sounds, and everything follows from seed, epoch and index."""

import numpy as np
import pytest

from aural import AuralProcessor, LogMelFeatureExtractor, train_tokenizer
from aural.training.compose import Stage, is_held_out
from aural.training.drums import DrumHit
from aural.training.effects import Effect
from aural.training.mix_captions import SHORTEST, MixCaptions, MixSpread
from aural.training.mix_grammar import FAMILIES, captions, parse, vocabulary
from aural.training.mix_sounds import cut_sound, drum_sounds, effect_sounds
from tests.small_corpora import tone

QUIET = MixSpread(gain_db=0.0, peak_db=(-6.0, -6.0), snr_db=(200.0, 200.0))


def pip(hertz: float, seconds: float = 0.2, silence: int = 0) -> np.ndarray:
    time = np.arange(round(seconds * 16_000)) / 16_000
    return np.concatenate([np.zeros(silence), np.cos(2 * np.pi * hertz * time)]).astype(np.float32)


@pytest.fixture(scope="module")
def sounds():
    """Two kits with a tone for each family, and four effects with tones of their own."""
    hits = [
        DrumHit(f"{kit}-{label}", label, kit, 1, pip(300 + 250 * place + 30 * number, 0.15))
        for number, kit in enumerate(("x", "y"))
        for place, label in enumerate(("kick", "snare", "tom", "hihat", "clap"))
    ]
    effects = [Effect(name, name, pip(2_500 + 400 * i, 0.9)) for i, name in enumerate(("dog", "cow", "owl", "bee"))]
    return [*drum_sounds(hits), *effect_sounds(effects)]


def test_hits_of_four_families_are_taken_and_others_left_out(sounds):
    assert {sound.source for sound in sounds if sound.kit} == set(FAMILIES)  # no clap


def test_a_sound_is_cut_to_where_it_sounds_and_brought_to_one_loudness():
    sound = cut_sound(np.concatenate([pip(400, 0.2, silence=500), np.zeros(3_000, np.float32)]), 0.4)
    assert len(sound) == 3_200 and np.sqrt(np.mean(sound.astype(np.float64) ** 2)) == pytest.approx(1)
    assert abs(sound[0]) > 1 and abs(sound[-1]) < 0.1  # from its onset on, faded out
    assert len(cut_sound(pip(400, 2.0), 0.4)) == 6_400  # its longest time
    assert len(cut_sound(pip(400, 0.03), 0.4)) == 1_600  # no sound is shorter than 0.1 s
    with pytest.raises(ValueError, match="silent"):
        cut_sound(np.zeros(8_000, np.float32), 0.4)


def test_a_mix_tells_which_sounds_sound_how_often_and_in_which_order(sounds):
    mixes = MixCaptions(sounds, 200, seed=0)
    for index in range(200):
        mix = mixes.compose(index)
        begun = [sound.source for sound in mix.sounds]
        assert tuple(dict.fromkeys(begun)) == mix.told.sources  # in the order of their first sounds
        assert {source: begun.count(source) for source in begun} == mix.told.counts
        assert len(mix.told.parts) == 1 or set(mix.told.sources) & set(FAMILIES)  # a drum among several
        assert mix.texts == captions(mix.told)


def test_parts_overlap_throughout_or_not_at_all(sounds):
    mixes = MixCaptions(sounds, 300, seed=1, stages=(Stage(1.0, 2, 3),))
    told = set()
    for index in range(300):
        mix = mixes.compose(index)
        for one, other in zip(mix.told.sources, mix.told.sources[1:], strict=False):
            end = max(sound.end for sound in mix.sounds if sound.source == one)
            start = min(sound.start for sound in mix.sounds if sound.source == other)
            if mix.told.overlapping:
                assert start < end
            else:
                assert 0.149 <= start - end <= 0.351
        told.add((len(mix.told.parts), mix.told.overlapping))
    assert told == {(2, False), (2, True), (3, False), (3, True)}


def test_what_is_told_is_heard_where_it_is_told(sounds):
    mixes = MixCaptions(sounds, 60, seed=2, spread=QUIET, stages=(Stage(1.0, 2, 2),))
    pitches = {"dog": 2_500, "cow": 2_900, "owl": 3_300, "bee": 3_700}
    checked = 0
    for index in range(60):
        mix = mixes.compose(index)
        if mix.told.overlapping:
            continue
        for sound in mix.sounds:
            if sound.source in pitches:
                part = mix.audio[round(sound.start * 16_000) :][:1_600]
                spectrum = np.abs(np.fft.rfft(part))  # 10 Hz per bin
                assert spectrum.argmax() * 10 == pitches[sound.source]
                checked += 1
        silent = np.ones(len(mix.audio), dtype=bool)
        for sound in mix.sounds:
            silent[round(sound.start * 16_000) : round(sound.end * 16_000)] = False
        assert np.abs(mix.audio[silent]).max() < 1e-6
        assert np.abs(mix.audio).max() == pytest.approx(10 ** (-6 / 20), rel=1e-3)
    assert checked > 20


def test_training_composes_no_description_of_the_test(sounds):
    several = (Stage(1.0, 2, 3),)
    training, test = (MixCaptions(sounds, 200, 3, stages=several, held_out=held) for held in (False, True))
    assert not any(is_held_out(training.compose(index).texts[0]) for index in range(200))
    assert all(is_held_out(test.compose(index).texts[0]) for index in range(200))


def test_a_mix_follows_from_seed_epoch_and_index(sounds):
    one, same, other = (MixCaptions(sounds, 20, seed) for seed in (4, 4, 5))
    first = one.compose(7)
    np.testing.assert_array_equal(first.audio, same.compose(7).audio)
    assert other.compose(7).audio.shape != first.audio.shape
    one.set_epoch(1)
    assert one.compose(7).audio.shape != first.audio.shape
    one.set_epoch(0)
    np.testing.assert_array_equal(one.compose(7).audio, first.audio)
    assert first.sounds == same.compose(7).sounds


def test_items_have_features_and_one_of_the_wordings(sounds):
    extractor = LogMelFeatureExtractor(num_mel_bins=16, normalize=None)
    processor = AuralProcessor(extractor, train_tokenizer(vocabulary(), "word"))
    mixes = MixCaptions(sounds, 60, 6, processor, stages=(Stage(1.0, 2, 2),))
    places = set()
    for index in range(60):
        item, mix = mixes[index], mixes.compose(index)
        expected = extractor(mix.audio, sampling_rate=16_000)["input_features"][0]
        np.testing.assert_array_equal(item["input_features"], expected)
        assert item["labels"][-1] == processor.tokenizer.eos_token_id
        text = processor.decode(item["labels"])
        assert parse(text) == mix.told
        places.add(mix.texts.index(text))
    assert places == {0, 1, 2}
    plain = MixCaptions(sounds, 20, 6, processor, stages=(Stage(1.0, 2, 2),), wordings=1)
    assert all(processor.decode(plain[index]["labels"]) == plain.compose(index).texts[0] for index in range(20))
    for wordings in (0, 4):
        with pytest.raises(ValueError, match=f"wordings={wordings} must be from 1 to 3"):
            MixCaptions(sounds, 20, 6, processor, wordings=wordings)


def test_transcripts_come_first_as_texts_and_always_for_ctc(sounds):
    processor = AuralProcessor(
        LogMelFeatureExtractor(num_mel_bins=8, normalize=None), train_tokenizer(vocabulary(), "word")
    )
    mixes = MixCaptions(sounds, 40, 7, processor, transcripts=0.5)
    for index in range(40):
        item, mix = mixes[index], mixes.compose(index)
        along = {1: (), 2: ("two",), 3: ("two", "three")}
        transcript = " ".join(" ".join((part.source, *along[part.count])) for part in mix.told.parts)
        assert processor.decode(item["ctc_targets"]) == transcript
        text = processor.decode(item["labels"])
        assert text == transcript if index < 20 else parse(text) == mix.told
    assert "ctc_targets" not in MixCaptions(sounds, 4, 7, processor)[0]
    with pytest.raises(ValueError, match=r"transcripts=1\.5 must be from 0 to 1"):
        MixCaptions(sounds, 4, 7, processor, transcripts=1.5)


def test_a_single_part_is_of_any_source(sounds):
    mixes = MixCaptions(sounds, 300, 0, stages=(Stage(1.0, 1, 1),))
    found = [mixes.compose(index).told.sources[0] for index in range(300)]
    drums = sum(source in FAMILIES for source in found)
    assert set(found) == set(mixes.by_source) and 110 < drums < 190  # four sources of eight


def test_features_are_augmented_from_a_generator_of_their_own(sounds):
    processor = AuralProcessor(
        LogMelFeatureExtractor(num_mel_bins=8, normalize=None), train_tokenizer(vocabulary(), "word")
    )

    def shifted(features, generator):
        return features + np.float32(generator.normal())

    plain = MixCaptions(sounds, 4, 0, processor)
    other = MixCaptions(sounds, 4, 0, processor, augment_features=shifted)
    shifts = [float((other[i]["input_features"] - plain[i]["input_features"]).mean()) for i in (0, 1, 0)]
    assert shifts[0] == shifts[2] != shifts[1]
    assert plain[0]["labels"] == other[0]["labels"]


def test_a_curriculum_gives_groups_of_like_numbers_of_parts(sounds):
    stages = (Stage(0.25, 1, 1), Stage(0.5, 2, 2), Stage(1.0, 1, 3))
    mixes = MixCaptions(sounds, 160, 0, stages=stages, group=8)
    parts = [len(mixes.compose(index).told.parts) for index in range(160)]
    assert set(parts[:40]) == {1} and set(parts[40:80]) == {2} and set(parts[80:]) == {1, 2, 3}
    assert all(len(set(parts[start : start + 8])) == 1 for start in range(0, 160, 8))


def test_every_clip_has_time_for_the_longest_caption(sounds):
    mixes = MixCaptions(sounds, 100, 0)
    lengths = [len(mixes.compose(index).audio) for index in range(100)]
    assert min(lengths) == round(SHORTEST * 16_000) < max(lengths)


def test_drums_are_played_at_one_of_the_speeds_and_effects_as_they_are(sounds):
    plain, fast = (MixCaptions(sounds, 80, 0, spread=MixSpread(speeds=(speed,))) for speed in (1.0, 2.0))

    def lengths(mixes: MixCaptions, source: str) -> set[float]:
        found = [sound for index in range(80) for sound in mixes.compose(index).sounds if sound.source == source]
        return {round(sound.end - sound.start, 3) for sound in found}

    assert (lengths(plain, "kick"), lengths(fast, "kick")) == ({0.15}, {0.075})
    assert lengths(plain, "dog") == lengths(fast, "dog") == {0.7}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count=0"),
        ({"group": 0}, "group=0"),
        ({"stages": (Stage(0.5, 1, 2),)}, "must end with until=1.0"),
        ({"stages": (Stage(1.0, 1, 4),)}, "1 to 3 parts"),
        ({"held_out": True}, r"2 to 3 parts \(held_out=True\)"),
    ],
)
def test_what_cannot_be_mixed_is_refused(sounds, options, message):
    with pytest.raises(ValueError, match=message):
        MixCaptions(sounds, **{"count": 4, "seed": 0, **options})


def test_sounds_without_a_drum_another_rate_and_an_index_outside_are_refused(sounds):
    with pytest.raises(ValueError, match="a drum and 3 sources"):
        MixCaptions([sound for sound in sounds if not sound.kit], 4, 0)
    processor = AuralProcessor(LogMelFeatureExtractor(sampling_rate=8_000), train_tokenizer(vocabulary(), "word"))
    with pytest.raises(ValueError, match="8000 Hz"):
        MixCaptions(sounds, 4, 0, processor)
    with pytest.raises(IndexError, match="index=4"):
        MixCaptions(sounds, 4, 0).compose(4)


def test_tones_of_other_corpora_can_be_mixed():
    drums = [DrumHit("a", "kick", "x", 1, tone(1)), DrumHit("b", "snare", "x", 1, tone(2))]
    mixes = MixCaptions([*drum_sounds(drums), *effect_sounds([Effect("c", "dog", tone(3))])], 30, 0)
    assert {len(mixes.compose(index).told.parts) for index in range(30)} == {1, 2, 3}
