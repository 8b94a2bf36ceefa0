"""Errors of word borders: hand-made ones, and those of the kept model."""

from pathlib import Path

import pytest

from aural import load_recognizer, transcribe
from aural.processing.alignment import TimedWord
from aural.training.clips import load_clips
from aural.training.compose import STRINGS, ComposedStrings, Spoken
from aural.training.time_scores import border_errors, time_errors

DEMO = Path(__file__).parents[2] / "model_cards" / "las-demo"
MEDIAN, P90 = 0.08, 0.2  # seconds: what word times must keep to


def word(text, start, end):
    return TimedWord(text, start, end, 1.0)


SPOKEN = [Spoken("seven", 0.1, 0.5), Spoken("left brace", 0.7, 1.5), Spoken("b", 1.8, 2.0)]


def test_errors_are_those_of_the_outer_borders_of_each_recording():
    words = [word("seven", 0.2, 0.5), word("left", 0.7, 1.0), word("brace", 1.1, 1.8), word("b", 1.4, 2.1)]
    expected = [(0.1, 0.0), (0.0, 0.3), (0.4, 0.1)]
    for mine, theirs in zip(border_errors(words, SPOKEN), expected, strict=True):
        assert mine == pytest.approx(theirs)
    told = time_errors([(words, SPOKEN)])
    assert told == {"recordings": 3, "compared": 3, "median_seconds": 0.1, "p90_seconds": pytest.approx(0.35)}


def test_recordings_with_a_word_that_was_not_written_are_left_out():
    words = [word("eleven", 0.0, 9.0), word("left", 0.0, 9.0), word("b", 1.8, 2.1), word("b", 2.2, 9.0)]
    assert [pytest.approx(errors) for errors in border_errors(words, SPOKEN)] == [(0.0, 0.1)]
    assert time_errors([(words, SPOKEN)])["compared"] == 1
    with pytest.raises(ValueError, match="3 recordings, and not one was written right"):
        time_errors([([], SPOKEN)])


def kept_model_errors(count):
    model, processor = load_recognizer(DEMO)
    data = ComposedStrings(
        load_clips(("digit", "letter", "phonetic")), processor, count, 77_000, STRINGS, held_out=True
    )
    strings = [data.compose_timed(i) for i in range(count)]
    results = transcribe([audio for audio, _, _ in strings], model, processor, batch_size=20, num_beams=1)
    return time_errors((told.words, spoken) for told, (_, _, spoken) in zip(results, strings, strict=True))


def test_words_of_the_kept_model_are_where_they_sound():
    told = kept_model_errors(40)
    assert told["compared"] > 0.9 * told["recordings"]
    assert told["median_seconds"] <= MEDIAN
    assert told["p90_seconds"] <= P90


@pytest.mark.full
def test_words_of_the_kept_model_are_where_they_sound_in_many_strings():
    told = kept_model_errors(240)
    assert told["recordings"] >= 800
    assert told["compared"] > 0.9 * told["recordings"]
    assert told["median_seconds"] <= MEDIAN
    assert told["p90_seconds"] <= P90
