"""Descriptions of mixes: a closed grammar that writes what was mixed in several wordings, and reads each of them back.

    told = Description((Part("snare", 1), Part("kick", 2)), overlapping=True)
    captions(told)[0]  # "a snare then two kicks overlapping"
    parse(captions(told)[2]) == told  # True, of every wording

A description has four slots: which sources, in which order, how many sounds of each, and whether they overlap. Texts
are words and single spaces, as a tokenizer of words takes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .effects import EFFECTS

FAMILIES = ("cymbal", "kick", "snare", "tom")  # of drums
SOURCES = (*FAMILIES, *EFFECTS)
COUNTS = ("one", "two", "three")  # by number of sounds less one; "one" is written "a"
MOST_SOUNDS, MOST_PARTS = len(COUNTS), 3
VOWELS = "aeiou"

# Each wording: what stands between two parts, and what follows the last where they overlap.
WORDINGS = (("then", "overlapping"), ("followed by", "all at once"), ("and then", "over each other"))


@dataclass(frozen=True)
class Part:
    """One source of a mix and how many sounds of it there are.

    Attributes:
        source: one of `SOURCES`.
        count: 1 to `MOST_SOUNDS`.

    Raises:
        ValueError: another source or number.
    """

    source: str
    count: int

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"source is {self.source!r}; allowed: {', '.join(SOURCES)}")
        if not 1 <= self.count <= MOST_SOUNDS:
            raise ValueError(f"count is {self.count}; it must be from 1 to {MOST_SOUNDS}")


@dataclass(frozen=True)
class Description:
    """What was mixed.

    Attributes:
        parts: in the order in which they begin; each of another source.
        overlapping: whether each begins before the one before it is over; of a single part never.

    Raises:
        ValueError: no parts or too many, a source twice, or an overlap of one part.
    """

    parts: tuple[Part, ...]
    overlapping: bool = False

    def __post_init__(self) -> None:
        if not is_description(self.parts, self.overlapping):
            raise ValueError(
                f"parts are of {list(self.sources)}, overlapping is {self.overlapping}; allowed are 1 to {MOST_PARTS} "
                "different sources, and a single part does not overlap"
            )

    @property
    def sources(self) -> tuple[str, ...]:
        """Which, in order."""
        return tuple(part.source for part in self.parts)

    @property
    def counts(self) -> dict[str, int]:
        """How many, by source."""
        return {part.source: part.count for part in self.parts}


def captions(told: Description) -> list[str]:
    """The description in every wording, the canonical one first; a single part has only one."""
    parts = [_phrase(part) for part in told.parts]
    if len(parts) == 1:
        return parts
    return [f" {between} ".join(parts) + (f" {ending}" if told.overlapping else "") for between, ending in WORDINGS]


def parse(text: str) -> Description | None:
    """The slots of a caption; None if it is not one that the grammar writes.

    Args:
        text: in any of the wordings; white space is read as single spaces.
    """
    words = " ".join(text.split())
    for between, ending in WORDINGS:
        overlapping = words.endswith(f" {ending}")
        phrases = words.removesuffix(f" {ending}").split(f" {between} ")
        parts = [_PHRASES[phrase] for phrase in phrases if phrase in _PHRASES]
        if len(parts) == len(phrases) and is_description(parts, overlapping):
            return Description(tuple(parts), overlapping)
    return None


def is_description(parts: Sequence[Part], overlapping: bool) -> bool:
    """Whether these slots make a description: 1 to `MOST_PARTS` different sources, and no overlap of one."""
    sources = {part.source for part in parts}
    return 1 <= len(parts) <= MOST_PARTS and len(sources) == len(parts) and not (overlapping and len(parts) == 1)


def vocabulary(sources: Sequence[str] = SOURCES) -> list[str]:
    """Texts that hold every word of the grammar, for a tokenizer of words.

    Args:
        sources: that captions are about.
    """
    phrases = [_phrase(Part(source, count)) for source in sources for count in range(1, MOST_SOUNDS + 1)]
    return [*phrases, *(word for wording in WORDINGS for word in wording)]


def _phrase(part: Part) -> str:
    if part.count == 1:
        return f"{'an' if part.source[0] in VOWELS else 'a'} {part.source}"
    return f"{COUNTS[part.count - 1]} {part.source}s"


_PHRASES = {_phrase(Part(source, n)): Part(source, n) for source in SOURCES for n in range(1, MOST_SOUNDS + 1)}
