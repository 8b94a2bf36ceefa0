"""Transcripts as srt, vtt, JSON and text."""

import itertools
import json

from aural.processing.alignment import TimedWord
from aural.processing.segments import Segment, spread_words
from aural.processing.subtitles import cues, json_document, srt_lines, text_lines, vtt_lines
from aural.processing.trouble import Trouble


def segment(text: str, start: float, step: float = 0.4, length: float = 0.35) -> Segment:
    words = tuple(
        TimedWord(word, start + i * step, start + i * step + length, 0.9) for i, word in enumerate(text.split())
    )
    return Segment(start, words[-1].end + 0.1, text, words)


TWO = [segment("seven & eight <nine>", 1.0), segment("a --> b", 3661.5)]


def test_srt_is_numbered_and_its_arrow_cannot_be_forged():
    assert "".join(srt_lines(TWO)) == (
        "1\n00:00:01,000 --> 00:00:02,550\nseven & eight <nine>\n\n2\n01:01:01,500 --> 01:01:02,650\na -> b\n\n"
    )


def test_vtt_has_a_head_and_escapes():
    assert "".join(vtt_lines(TWO)) == (
        "WEBVTT\n\n"
        "00:00:01.000 --> 00:00:02.550\nseven &amp; eight &lt;nine&gt;\n\n"
        "01:01:01.500 --> 01:01:02.650\na --&gt; b\n\n"
    )


def test_nothing_said_is_an_empty_file_or_a_head_alone():
    assert ("".join(srt_lines([])), "".join(vtt_lines([])), "".join(text_lines([]))) == ("", "WEBVTT\n\n", "")
    assert list(cues([Segment(0, 1, "")])) == []


LONG = (
    "it was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, "
    "it was the epoch of belief, it was the epoch of incredulity"
)


def test_long_segments_become_cues_that_can_be_read():
    found = list(cues([segment(LONG, 10.0)]))
    assert " ".join(line for cue in found for line in cue.lines) == LONG
    for cue in found:
        assert len(cue.lines) <= 2
        assert all(len(line) <= 42 for line in cue.lines)
        assert 1000 <= cue.end - cue.start <= 6000
    assert [cue.lines for cue in found] == [
        ("it was the best of times,", "it was the worst of times,"),
        ("it was the age of wisdom,",),
        ("it was the age of foolishness,", "it was the epoch of belief,"),
        ("it was the epoch of incredulity",),
    ]


def test_two_lines_are_of_like_length():
    text = "no cue of one line could ever hold all of these words"
    assert [cue.lines for cue in cues([segment(text, 0.0, step=0.3, length=0.29)])] == [
        ("no cue of one line could", "ever hold all of these words")
    ]


def test_a_pause_between_words_begins_a_cue():
    words = (TimedWord("yes", 0.0, 0.4, 1.0), TimedWord("indeed", 2.0, 2.6, 1.0))
    assert [(cue.start, cue.end, cue.lines) for cue in cues([Segment(0, 3, "yes indeed", words)])] == [
        (0, 1000, ("yes",)),
        (2000, 3000, ("indeed",)),
    ]


def test_cues_never_overlap_whatever_the_times():
    words = (TimedWord("a", 5.0, 5.0, 1.0), TimedWord("b", 5.0, 5.0, 1.0))
    later = (TimedWord("c", 4.9, 4.8, 1.0), TimedWord("d", 5.0, 5.2, 1.0))
    found = list(cues([Segment(4, 5, "a b", words), Segment(5, 6, "c d", later), Segment(5, 6, "c d", later)]))
    assert all(cue.start < cue.end for cue in found)
    assert all(one.end <= two.start for one, two in itertools.pairwise(found))


def test_a_word_longer_than_a_line_keeps_a_line():
    word = "a" * 60
    assert [cue.lines for cue in cues([segment(f"so {word} goes", 0.0)])] == [("so",), (word,), ("goes",)]


def test_hours_beyond_99_and_rounding_stand():
    text = "".join(srt_lines([segment("late", 360_000.9996, length=1.0)]))
    assert text == "1\n100:00:01,000 --> 100:00:02,000\nlate\n\n"


def test_words_without_times_are_spread_over_their_segment():
    assert spread_words("ab abcd", 1.0, 2.6, 0.5) == (TimedWord("ab", 1.0, 1.6, 0.5), TimedWord("abcd", 1.6, 2.6, 0.5))
    assert spread_words(" ", 0, 1) == ()
    assert [cue.start for cue in cues([Segment(1.0, 2.6, "ab abcd")])] == [1000]


def test_text_is_a_line_for_each_segment_that_says_something():
    assert "".join(text_lines([TWO[0], Segment(3, 4, ""), TWO[1]])) == "seven & eight <nine>\na --> b\n"


def test_json_holds_all_that_is_known():
    trouble = Trouble("looped", 1.00049, 2.0, ("é",))
    one = Segment(0.12345, 2.5, "é", (TimedWord("é", 1.00049, 1.5, 0.98765),), 0.5, (trouble,))
    text = json_document([one, Segment(3, 4, "")], {"file": "a.wav", "seconds": 4.0})
    assert "é" in text
    assert json.loads(text) == {
        "file": "a.wav",
        "seconds": 4.0,
        "text": "é",
        "segments": [
            {
                "start": 0.123,
                "end": 2.5,
                "text": "é",
                "confidence": 0.5,
                "words": [{"text": "é", "start": 1.0, "end": 1.5, "confidence": 0.9877}],
                "troubles": [{"kind": "looped", "start": 1.0, "end": 2.0, "words": ["é"]}],
            },
            {"start": 3, "end": 4, "text": "", "confidence": 1.0, "words": [], "troubles": []},
        ],
    }


def test_a_segment_comes_back_from_json_as_it_was():
    trouble = Trouble("dropped", 1 / 3, 2.0)
    one = Segment(0.1, 2.5, "é", (TimedWord("é", 1 / 3, 1.5, 0.1),), 1 / 7, (trouble,), 2.0)
    assert Segment.from_json(json.loads(json.dumps(one.to_json()))) == one
