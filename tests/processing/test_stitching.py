"""Windows that overlap become one text."""

import itertools

import pytest

from aural.processing.alignment import TimedWord
from aural.processing.segments import Segment
from aural.processing.stitching import stitch, stitched


def words(text: str, start: float, step: float = 0.5, length: float = 0.4) -> list[TimedWord]:
    """The words of `text`, one every `step` seconds."""
    return [TimedWord(word, start + i * step, start + i * step + length, 0.9) for i, word in enumerate(text.split())]


def texts(kept: tuple[list[TimedWord], list[TimedWord]]) -> tuple[str, str]:
    return " ".join(word.text for word in kept[0]), " ".join(word.text for word in kept[1])


def test_words_heard_in_both_windows_stand_once():
    left, right = words("a b c d e f", 0), words("c d e f g h", 1.03)
    assert texts(stitch(left, right, 1.0, 2.9)) == ("a b c d", "e f g h")


def test_a_word_that_a_border_cuts_is_taken_from_the_window_that_holds_it_whole():
    left = [*words("one two three four", 0), TimedWord("fi", 2.0, 2.3, 0.4)]  # the window ends in "five"
    right = [TimedWord("wo", 0.7, 0.9, 0.3), *words("three four five six", 1.02)]  # and begins in "two"
    assert texts(stitch(left, right, 0.7, 2.3)) == ("one two three four", "five six")


def test_a_word_repeated_is_kept_as_often_as_it_was_said():
    said = words("no no no no no no no no", 0)
    left, right = said[:6], [TimedWord(w.text, w.start + 0.05, w.end + 0.05, 0.9) for w in said[3:]]
    assert sum(map(len, stitch(left, right, 1.5, 2.9))) == 8


def test_the_same_word_at_another_time_is_another_word():
    left, right = words("go home", 0), words("go away", 2.0)
    assert texts(stitch(left, right, 0.5, 2.4)) == ("go home", "go away")


def test_case_and_marks_do_not_hide_a_word():
    left, right = words("well, then stop.", 0), words("Then Stop now", 0.5)
    assert texts(stitch(left, right, 0.45, 1.45)) == ("well, then", "Stop now")


def test_where_no_word_agrees_the_middle_decides_and_cuts_no_word():
    left, right = words("a b c d", 0), words("x y z", 1.1)
    # The middle is 1.5: c (1.0 to 1.4) is before it, d (1.5 to 1.9) is not; x lies around 1.3, y around 1.8.
    assert texts(stitch(left, right, 1.0, 2.0)) == ("a b c", "y z")


def test_a_word_around_the_middle_heard_differently_is_neither_lost_nor_doubled():
    for shift in (-0.08, 0.0, 0.08):
        left = [TimedWord("seven", 1.3 - shift, 1.7 - shift, 0.9)]
        right = [TimedWord("heaven", 1.3 + shift, 1.7 + shift, 0.9)]
        assert sum(map(len, stitch(left, right, 1.0, 2.0))) == 1, shift


def test_a_window_without_words_takes_none_from_the_other():
    left = words("a b", 0)
    assert stitch(left, [], 0.5, 1.0) == (left, [])
    assert stitch([], left, 0.0, 1.0) == ([], left)


def test_windows_that_do_not_overlap_are_refused():
    with pytest.raises(ValueError, match=r"start=2.0 must be less than end=1.0"):
        stitch([], [], 2.0, 1.0)


def test_three_windows_become_the_text_that_was_said():
    said = words("the quick brown fox jumps over the lazy dog and goes home at once", 0)
    windows = []
    for start, end, overlap in ((0.0, 3.0, 0.0), (2.0, 5.0, 1.0), (4.0, 7.0, 1.0)):
        inside = tuple(word for word in said if start <= word.start and word.end <= end)
        windows.append(Segment(start, end, " ".join(w.text for w in inside), inside, overlap=overlap))
    found = list(stitched(windows))
    assert " ".join(segment.text for segment in found) == " ".join(word.text for word in said)
    assert tuple(word for segment in found for word in segment.words) == tuple(said)
    assert all(segment.overlap == 0 for segment in found)
    assert [(a.end, b.start) for a, b in itertools.pairwise(found)] == [
        (found[0].words[-1].end, found[0].words[-1].end),
        (found[1].words[-1].end, found[1].words[-1].end),
    ]


def test_segments_at_pauses_stay_as_they_are():
    segments = [
        Segment(0, 1, "Well,  then", tuple(words("Well, then", 0))),
        Segment(2, 3, "go", tuple(words("go", 2))),
    ]
    assert list(stitched(segments)) == segments
