"""Transcripts as files that players and programs read: SubRip (srt), WebVTT (vtt), JSON, plain text.

- Subtitles are cut at pauses between words, else after punctuation, else near the middle: at most two lines of 42
  characters and six seconds, what a reader takes in at a glance. A word longer than a line keeps a line to itself.
- Every cue ends after it begins and before the next one begins, whatever the times of the words.
- A segment is enough to write its cues, so hours can be written as they are heard.
"""

import html
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .alignment import TimedWord
from .segments import Segment, spread_words

LINE_CHARACTERS = 42
LINES = 2
CUE_SECONDS = 6.0
SHORTEST_CUE = 1.0  # seconds that a cue stays, unless the next one begins
PAUSE = 0.8  # seconds between words: always a new cue
MARKS = {".": 0.5, "!": 0.5, "?": 0.5, ";": 0.4, ":": 0.4, ",": 0.3}  # seconds of pause that a mark is worth
FROM_MIDDLE = 0.6  # seconds of pause that a cut loses at either end of a cue


@dataclass(frozen=True)
class Cue:
    """What stands on the screen at one time.

    Attributes:
        start, end: Whole milliseconds from the start of the recording.
        lines: The text.
    """

    start: int
    end: int
    lines: tuple[str, ...]


def cues(segments: Iterable[Segment]) -> Iterator[Cue]:
    """The subtitles of a transcript; each comes once the next one is known.

    Args:
        segments: In order of time. Words without times are spread over their segment.
    """
    before: tuple[int, int, tuple[str, ...]] | None = None
    for segment in segments:
        words = segment.words or spread_words(segment.text, segment.start, segment.end)
        for group in _groups(list(words)):
            start, end = round(1000 * group[0].start), round(1000 * group[-1].end)
            if before is not None:
                start = max(start, before[0] + 1)
                yield _cue(*before, start)
            before = (start, end, _lines(group))
    if before is not None:
        yield _cue(*before, None)


def _cue(start: int, end: int, lines: tuple[str, ...], following: int | None) -> Cue:
    end = max(end, start + round(1000 * SHORTEST_CUE))
    return Cue(start, end if following is None else min(end, following), lines)


def _groups(words: list[TimedWord]) -> Iterator[list[TimedWord]]:
    """The words of each cue."""
    if not words:
        return
    cuts = range(1, len(words))
    gaps = [words[at].start - words[at - 1].end for at in cuts]
    if _fits(words) and (len(words) == 1 or max(gaps) < PAUSE):
        yield words
        return

    def worth(at: int) -> float:
        return gaps[at - 1] + MARKS.get(words[at - 1].text[-1:], 0.0) - FROM_MIDDLE * abs(2 * at / len(words) - 1)

    cut = max(cuts, key=worth)
    yield from _groups(words[:cut])
    yield from _groups(words[cut:])


def _fits(words: Sequence[TimedWord]) -> bool:
    if len(words) == 1:
        return True
    lines = _lines(words)
    short = words[-1].end - words[0].start <= CUE_SECONDS
    return short and len(lines) <= LINES and all(len(line) <= LINE_CHARACTERS for line in lines)


def _lines(words: Sequence[TimedWord]) -> tuple[str, ...]:
    """One line, or two of which the longer is as short as can be."""
    texts = [" ".join(word.text.split()) for word in words]
    whole = " ".join(texts)
    if len(whole) <= LINE_CHARACTERS or len(texts) == 1:
        return (whole,)
    pairs = [(" ".join(texts[:at]), " ".join(texts[at:])) for at in range(1, len(texts))]
    return min(pairs, key=lambda pair: max(len(pair[0]), len(pair[1])))


def _timestamp(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{milliseconds:03d}"


def srt_lines(segments: Iterable[Segment]) -> Iterator[str]:
    """SubRip, cue by cue: number, times, text, an empty line.

    Args:
        segments: In order of time.
    """
    for number, cue in enumerate(cues(segments), 1):
        text = "\n".join(cue.lines).replace("-->", "->")  # SubRip has no escape; the arrow would begin a cue
        yield f"{number}\n{_timestamp(cue.start, ',')} --> {_timestamp(cue.end, ',')}\n{text}\n\n"


def vtt_lines(segments: Iterable[Segment]) -> Iterator[str]:
    """WebVTT (W3C), cue by cue, after its head.

    Args:
        segments: In order of time.
    """
    yield "WEBVTT\n\n"
    for cue in cues(segments):
        text = html.escape("\n".join(cue.lines), quote=False)
        yield f"{_timestamp(cue.start, '.')} --> {_timestamp(cue.end, '.')}\n{text}\n\n"


def text_lines(segments: Iterable[Segment]) -> Iterator[str]:
    """A line per segment in which something was said.

    Args:
        segments: In order of time.
    """
    return (f"{segment.text}\n" for segment in segments if segment.text)


def segment_row(segment: Segment) -> dict[str, Any]:
    """A segment as JSON for readers: times to the millisecond, confidence to four places."""
    return {
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "confidence": round(segment.confidence, 4),
        "words": [
            {
                "text": word.text,
                "start": round(word.start, 3),
                "end": round(word.end, 3),
                "confidence": round(word.confidence, 4),
            }
            for word in segment.words
        ],
        "troubles": [
            {"kind": one.kind, "start": round(one.start, 3), "end": round(one.end, 3), "words": list(one.words)}
            for one in segment.troubles
        ],
    }


def json_document(segments: Iterable[Segment], about: Mapping[str, Any]) -> str:
    """One JSON object: what `about` says, the whole text, the segments with their words.

    Args:
        segments: In order of time.
        about: The first entries, such as the file and its length.
    """
    segments = list(segments)
    text = " ".join(segment.text for segment in segments if segment.text)
    rows = [segment_row(segment) for segment in segments]
    return json.dumps({**about, "text": text, "segments": rows}, ensure_ascii=False, indent=1) + "\n"
