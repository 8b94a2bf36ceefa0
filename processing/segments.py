"""Segments of a transcript: what was said between two pauses, and how it is written as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .alignment import TimedWord
from .trouble import Trouble


@dataclass(frozen=True)
class Segment:
    """What was said in one stretch of a recording. All times are seconds from the start of the recording.

    Attributes:
        start, end: Where the stretch begins and ends.
        text: What the model wrote.
        words: Its words, in order.
        confidence: Geometric mean of the probabilities of its tokens, 0 to 1.
        troubles: Where the text is in doubt.
        overlap: Seconds at its beginning that the segment before it covers too; 0 once the two are stitched.
    """

    start: float
    end: float
    text: str
    words: tuple[TimedWord, ...] = ()
    confidence: float = 1.0
    troubles: tuple[Trouble, ...] = ()
    overlap: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which `from_json` makes an equal segment."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Segment":
        """The segment that `to_json` wrote.

        Raises:
            TypeError, KeyError: The values are not those of a segment.
        """
        words = tuple(TimedWord(**word) for word in values["words"])
        troubles = tuple(Trouble(**{**one, "words": tuple(one["words"])}) for one in values["troubles"])
        return cls(**{**values, "words": words, "troubles": troubles})

    def later(self, seconds: float) -> "Segment":
        """The same segment in a recording that began so many seconds earlier."""
        return replace(
            self,
            start=self.start + seconds,
            end=self.end + seconds,
            words=tuple(replace(word, start=word.start + seconds, end=word.end + seconds) for word in self.words),
            troubles=tuple(replace(one, start=one.start + seconds, end=one.end + seconds) for one in self.troubles),
        )


def spread_words(text: str, start: float, end: float, confidence: float = 1.0) -> tuple[TimedWord, ...]:
    """Words with times where a model tells none: in order, each as long as its share of the letters.

    Args:
        text: What was said.
        start, end: Seconds between which it was said.
        confidence: Of every word.
    """
    words: Sequence[str] = text.split()
    letters = sum(len(word) + 1 for word in words)
    timed, before = [], 0
    for word in words:
        after = before + len(word) + 1
        begins, ends = (start + (end - start) * part / letters for part in (before, after))
        timed.append(TimedWord(word, begins, ends, confidence))
        before = after
    return tuple(timed)
