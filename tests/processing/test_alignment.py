"""Times of tokens and words: the monotone path, words of every unit, borders from the sound."""

from itertools import combinations

import numpy as np
import pytest

from aural import train_tokenizer
from aural.processing.alignment import (
    Path,
    TimedWord,
    WordTokens,
    confidence,
    monotone_frames,
    split_at_pauses,
    time_characters,
    time_tokens,
    time_words,
    word_tokens,
)
from aural.processing.levels import sound_levels, sounding

FRAME = 0.08  # seconds


def diagonal(tokens, frames_per_token=2):
    """Each token attends to its own frames alone."""
    return np.kron(np.eye(tokens), np.ones((1, frames_per_token)) / frames_per_token)


def all_paths(tokens, frames):
    """Every path from the first cell to the last by steps of one token, one frame or both."""
    if (tokens, frames) == (1, 1):
        return [[(0, 0)]]
    before = []
    for back in ((1, 1), (1, 0), (0, 1)):
        if tokens > back[0] and frames > back[1]:
            before += all_paths(tokens - back[0], frames - back[1])
    return [[*path, (tokens - 1, frames - 1)] for path in before]


@pytest.mark.parametrize(("tokens", "frames"), [(1, 1), (1, 4), (4, 1), (3, 5), (5, 3), (4, 4)])
def test_the_path_is_the_best_of_all(tokens, frames):
    for seed in range(5):
        weights = np.random.default_rng(seed).dirichlet(np.ones(frames), size=tokens)
        best = min(all_paths(tokens, frames), key=lambda path: sum(-np.log(weights[cell]) for cell in path))
        first, last = monotone_frames(weights)
        for token in range(tokens):
            own = [frame for other, frame in best if other == token]
            assert (first[token], last[token]) == (own[0], own[-1])


def test_tokens_of_a_clean_diagonal_lie_on_their_frames():
    path = time_tokens(diagonal(3), FRAME, seconds=0.48)
    np.testing.assert_allclose(path.starts, [0, 0.16, 0.32])
    np.testing.assert_allclose(path.ends, [0.16, 0.32, 0.48])
    np.testing.assert_allclose(path.middles, [0.08, 0.24, 0.40])


def test_tokens_that_share_a_frame_share_its_time_and_none_is_after_the_clip():
    path = time_tokens(np.ones((4, 1)), FRAME, seconds=0.07)
    np.testing.assert_allclose(path.starts, [0, 0.02, 0.04, 0.06])
    np.testing.assert_allclose(path.ends, [0.02, 0.04, 0.06, 0.07])


def test_a_token_that_strays_stays_in_order():
    weights = diagonal(4, 1) * 0.9 + 0.025
    weights[2] = [0.85, 0.05, 0.05, 0.05]  # looks back to the first frame
    path = time_tokens(weights, FRAME, 0.32)
    assert (np.diff(path.starts) > 0).all() and (np.diff(path.middles) >= 0).all()


def test_half_the_frames_give_half_the_seconds():
    coarse, fine = time_tokens(diagonal(3), 0.08, 9.0), time_tokens(diagonal(3), 0.04, 9.0)
    np.testing.assert_allclose(fine.ends, coarse.ends / 2)


TEXTS = ["tango seven", "left brace", "seven tango left"]


@pytest.mark.parametrize(
    ("unit", "options"),
    [
        ("character", {}),
        ("word", {}),
        ("subword", {"vocab_size": 30}),
        ("subword", {"vocab_size": 30, "kind": "unigram"}),
    ],
)
def test_words_are_found_in_tokens_of_every_unit(unit, options):
    tokenizer = train_tokenizer(TEXTS, unit, **options)
    ids = tokenizer("left seven tango").input_ids
    found = word_tokens(ids, lambda some: tokenizer.decode(some, skip_special_tokens=True))
    assert [word.text for word in found] == ["left", "seven", "tango"]
    for word in found:
        assert tokenizer.decode(ids[word.first : word.last]).strip() == word.text
    assert found[-1].last == len(ids) - 1  # without <eos>


def test_phonemes_make_words_between_borders():
    tokenizer = train_tokenizer(["tʃ ɜː | ɔɪ l"], "phoneme")
    ids = tokenizer("ɔɪ l | tʃ ɜː l").input_ids
    found = word_tokens(ids, lambda some: tokenizer.decode(some, skip_special_tokens=True), "|")
    assert found == [WordTokens("ɔɪ l", 0, 2), WordTokens("tʃ ɜː l", 3, 6)]


def test_a_token_that_ends_one_word_and_begins_the_next_belongs_to_both():
    pieces = ["on", "e t", "wo"]
    found = word_tokens([0, 1, 2], lambda ids: "".join(pieces[i] for i in ids))
    assert found == [WordTokens("one", 0, 2), WordTokens("two", 1, 3)]
    path = time_tokens(diagonal(3), FRAME, 0.48)
    words = time_words(path, found, np.ones(3), np.zeros(0), FRAME, 0.48)
    assert words[0].end <= words[1].start
    tokens = time_characters(path, found, words, pieces, np.ones(3), 0.48)
    assert [token.text for token in tokens] == pieces


def bursts(*stretches, seconds, noise=0.0, seed=0):
    """A wave of 16 kHz with tones between the given seconds, and white noise."""
    at = np.arange(int(seconds * 16000)) / 16000
    sound = np.sin(2 * np.pi * 440 * at) * sum((at >= start) & (at < end) for start, end in stretches)
    return (sound + noise * np.random.default_rng(seed).standard_normal(len(at))).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_borders_of_words_are_those_of_the_sound_between_them(noise):
    stretches = [(0.13, 0.41), (0.52, 0.90)]
    levels = sound_levels(bursts(*stretches, seconds=1.2, noise=noise), 16000)
    weights = np.zeros((4, 15))  # a, space, b, <eos>
    weights[[0, 1, 2, 3], [3, 5, 8, 13]] = 1
    path = time_tokens(weights, FRAME, 1.2)
    words = time_words(path, [WordTokens("a", 0, 1), WordTokens("b", 2, 3)], np.ones(4), levels, FRAME, 1.2)
    np.testing.assert_allclose([(word.start, word.end) for word in words], stretches, atol=0.011)


def test_where_nobody_pauses_the_path_tells_the_border():
    levels = sound_levels(bursts((0.0, 0.64), seconds=0.64), 16000)
    words = [WordTokens("a", 0, 2), WordTokens("b", 2, 4)]
    timed = time_words(time_tokens(diagonal(4), FRAME, 0.64), words, np.ones(4), levels, FRAME, 0.64)
    np.testing.assert_allclose([(word.start, word.end) for word in timed], [(0, 0.32), (0.32, 0.64)])


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_attention_times_are_in_order_and_inside_the_clip(seed):
    rng = np.random.default_rng(seed)
    tokens, frames = int(rng.integers(1, 14)), int(rng.integers(1, 10))
    weights = rng.dirichlet(np.full(frames, 0.2), size=tokens)
    seconds = (frames - 0.5) * FRAME
    levels = sound_levels(bursts((0.1, 0.2), (0.3, 0.5), seconds=seconds, noise=0.01), 16000)
    letters = [" " if letter == 0 else "ab"[letter - 1] for letter in rng.integers(0, 3, tokens)]
    groups = word_tokens(range(tokens), lambda ids: "".join(letters[i] for i in ids))
    path = time_tokens(weights, FRAME, seconds)
    words = time_words(path, groups, np.full(tokens, 0.5), levels, FRAME, seconds)
    timed = time_characters(path, groups, words, letters, np.full(tokens, 0.5), seconds)
    assert [word.text for word in words] == "".join(letters).split()
    assert [token.text for token in timed] == letters
    for things in (words, timed):
        borders = np.array([(one.start, one.end) for one in things]).ravel()
        assert (np.diff(borders) >= -1e-9).all()
        assert not len(borders) or (borders[0] >= 0 and borders[-1] <= seconds + 1e-9)
    for word, group in zip(words, groups, strict=True):
        assert timed[group.first].start >= word.start - 1e-9
        assert timed[group.last - 1].end <= word.end + 1e-9


def test_every_token_of_a_word_keeps_some_of_its_time():
    path = Path(np.array([0.0, 0.1, 0.2]), np.array([0.1, 0.2, 0.5]), np.array([0.05, 0.15, 0.35]))
    words = [WordTokens("abc", 0, 3)]
    late = [TimedWord("abc", 0.3, 0.8, 1.0)]  # cut to it, the first two would have nothing
    timed = time_characters(path, words, late, "abc", np.ones(3), 1.0)
    np.testing.assert_allclose([one.start for one in timed], [0.3, 0.4, 0.5])
    assert timed[-1].end == 0.8


def test_confidence_is_the_geometric_mean_of_a_words_tokens():
    levels = np.zeros(0)
    words = [WordTokens("ab", 0, 2), WordTokens("c", 2, 3)]
    timed = time_words(time_tokens(diagonal(3), FRAME, 1.0), words, np.array([0.9, 0.4, 0.5]), levels, FRAME, 1.0)
    assert [word.confidence for word in timed] == pytest.approx([0.6, 0.5])
    assert confidence(np.zeros(0)) == 1.0


def test_speech_is_what_stands_out_of_noise_and_is_not_too_soft():
    loud_then_soft = np.concatenate([np.full(20, -80.0), np.full(20, -20.0), np.full(20, -55.0), np.full(20, -65.0)])
    expected = np.repeat([False, True, True, False], 20)
    np.testing.assert_array_equal(sounding(loud_then_soft), expected)
    np.testing.assert_array_equal(sounding(loud_then_soft, 30), np.repeat([False, True, False, False], 20))
    noise = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    assert not sounding(sound_levels(noise, 16000)).any()
    assert len(sounding(np.zeros(0))) == 0


def test_levels_are_decibels_of_full_scale():
    np.testing.assert_allclose(sound_levels(np.full(1600, 0.1, np.float32), 16000), np.full(10, -20.0), atol=1e-4)
    assert sound_levels(np.zeros(250), 16000).tolist() == pytest.approx([-150.0])


def test_segments_end_at_pauses_and_at_their_longest():
    words = [TimedWord(str(i), start, start + 0.5, 1.0) for i, start in enumerate((0.0, 0.6, 2.0, 2.6, 3.2))]
    texts = [[word.text for word in group] for group in split_at_pauses(words, pause=0.6)]
    assert texts == [["0", "1"], ["2", "3", "4"]]
    texts = [[word.text for word in group] for group in split_at_pauses(words, pause=0.6, longest=1.2)]
    assert texts == [["0", "1"], ["2", "3"], ["4"]]
    for wrong in ({"pause": 0.0}, {"longest": -1.0}):
        with pytest.raises(ValueError, match=rf"{next(iter(wrong))}=.* must be a number of seconds above 0"):
            split_at_pauses(words, **wrong)
    assert all(a.end <= b.start for a, b in combinations(words, 2))
