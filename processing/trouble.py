"""What went wrong in a transcript, told from where the attention went.

Three ways in which attention recognisers fail (Chorowski and Jaitly 2016, arXiv:1612.02695, section 3.3; for
translation Tu et al. 2016, arXiv:1601.04811) leave traces in the weights, summed over tokens, that each frame got:

- *looped*: a word stands in the text again, and the later reading attends to sound that was read before;
- *dropped*: a stretch of speech got no weight worth the name;
- *went back*: the attention read earlier sound again, where nothing in the text repeats.

Speech is told from rest by its energy. What is marked is in doubt, not surely wrong: the rates are measured in the
tests. Nothing here knows the model's probabilities, which see other mistakes (`TimedWord.confidence`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .alignment import WordTokens
from .levels import LEVEL_SECONDS, sounding

COVERED = 0.2  # weight summed over all tokens from which on a frame counts as attended to; about one in a right text
READ = 0.3  # weight summed over the tokens before from which on a frame counts as read already
LOOPED_SHARE = 0.5  # of a word's attention, on frames that were read already
DROPPED_SECONDS = 0.35  # of speech in a row without attention; the shortest spoken letters last about 0.3 s
BACK_SECONDS = 0.3  # from the furthest place read back to where the attention lands
SPEECH_DB = 30.0  # below the loudest: weaker sounds at the ends of words need no attention of their own
COPIES = 3  # of a group of tokens in a row inside one word, that make a loop


@dataclass(frozen=True)
class Trouble:
    """A stretch of a clip whose text is in doubt.

    Attributes:
        kind: `"looped"`, `"dropped"` or `"went back"`.
        start, end: Seconds from the start of the clip: of the sound read again, or not at all, or gone back over.
        words: The written words that it touches; none where speech was dropped.
    """

    kind: str
    start: float
    end: float
    words: tuple[str, ...] = ()


def speech_coverage(alignment: np.ndarray, levels: np.ndarray, seconds_per_frame: float) -> float:
    """Share of the speech whose frames got at least `COVERED` of weight, 0 to 1; 1 where there is no speech.

    The coverage of Chorowski and Jaitly 2016 (arXiv:1612.02695, equation 4) with a threshold on the summed weights,
    over frames with speech alone.

    Args:
        alignment: `(tokens, frames)` attention weights, `<eos>` included.
        levels: `(levels,)` in dB, one per 10 ms.
        seconds_per_frame: Of `alignment`.
    """
    speech = sounding(levels, SPEECH_DB)
    return float(_attended(alignment, len(levels), seconds_per_frame)[speech].mean()) if speech.any() else 1.0


def find_troubles(
    alignment: np.ndarray,
    ids: Sequence[int],
    words: Sequence[WordTokens],
    levels: np.ndarray,
    seconds_per_frame: float,
) -> tuple[Trouble, ...]:
    """Stretches that were looped, dropped or gone back over, in order of their starts.

    Args:
        alignment: `(tokens, frames)` attention weights, `<eos>` included.
        ids: `(tokens,)`.
        words: Which tokens make each word.
        levels: `(levels,)` of the clip in dB, one per 10 ms.
        seconds_per_frame: Of `alignment`.
    """
    looped = _looped_words(alignment, words) | _looped_inside(alignment, ids, words)
    troubles = [
        *_looped_stretches(alignment, words, looped, seconds_per_frame),
        *_gone_back(alignment, words, looped, seconds_per_frame),
        *_dropped(alignment, levels, seconds_per_frame),
    ]
    return tuple(sorted(troubles, key=lambda one: (one.start, one.end, one.kind)))


def _attended(alignment: np.ndarray, levels: int, seconds_per_frame: float) -> np.ndarray:
    """Which 10 ms got attention, `(levels,)`."""
    covered = alignment.sum(axis=0) >= COVERED
    at = (np.arange(levels) + 0.5) * LEVEL_SECONDS / seconds_per_frame
    return covered[np.minimum(at.astype(int), len(covered) - 1)]


def _dropped(alignment: np.ndarray, levels: np.ndarray, seconds_per_frame: float) -> list[Trouble]:
    speech = sounding(levels, SPEECH_DB)
    attended = _attended(alignment, len(levels), seconds_per_frame)
    troubles: list[Trouble] = []
    # Silence goes with what is around it: two words that were left out are one stretch.
    for part in np.split(np.arange(len(levels)), np.flatnonzero(np.diff(attended)) + 1):
        heard = part[speech[part] & ~attended[part]]
        if len(heard) * LEVEL_SECONDS > DROPPED_SECONDS:
            start, end = (round(float(at) * LEVEL_SECONDS, 2) for at in (heard[0], heard[-1] + 1))
            troubles.append(Trouble("dropped", start, end))
    return troubles


def _share_read(alignment: np.ndarray, first: int, last: int) -> float:
    """Share of the attention of tokens `first` up to `last` that lies on frames which earlier tokens read."""
    read = alignment[:first].sum(axis=0) >= READ
    return float(alignment[first:last][:, read].sum()) / (last - first)


def _looped_words(alignment: np.ndarray, words: Sequence[WordTokens]) -> set[int]:
    """Indices of words that stand in the text again, with those whose sound they share.

    A model that is made to repeat a word often reads the repetition from the sound of the *next* word, and then that
    word from the same sound again: so what counts is that a word shares its sound, and that it or one of the words it
    shares it with is a repetition.
    """
    looped: set[int] = set()
    for k, word in enumerate(words):
        if _share_read(alignment, word.first, word.last) <= LOOPED_SHARE:
            continue
        sharing = [j for j in range(k) if _together(alignment, words[j], word)] or [k]
        again = [m for m in range(sharing[0], k + 1) if any(words[m].text == one.text for one in words[:m])]
        looped.update(range(again[0], k + 1) if again else ())
    return looped


def _together(alignment: np.ndarray, one: WordTokens, other: WordTokens) -> bool:
    """Whether two words were read from the same sound."""
    read = alignment[one.first : one.last].sum(axis=0) >= READ
    return float(alignment[other.first : other.last][:, read].sum()) / (other.last - other.first) > LOOPED_SHARE / 2


def _looped_inside(alignment: np.ndarray, ids: Sequence[int], words: Sequence[WordTokens]) -> set[int]:
    """Indices of words in which a group of tokens repeats on sound read before; texts may have no spaces."""
    looped: set[int] = set()
    for k, word in enumerate(words):
        tokens = list(ids[word.first : word.last])
        for size in range(1, len(tokens) // COPIES + 1):
            for at in range(len(tokens) - COPIES * size + 1):
                group = tokens[at : at + size]
                if tokens[at : at + COPIES * size] != group * COPIES:
                    continue
                first = word.first + at
                if _share_read(alignment[first:], size, COPIES * size) > LOOPED_SHARE:
                    looped.add(k)
    return looped


def _looped_stretches(
    alignment: np.ndarray, words: Sequence[WordTokens], looped: set[int], seconds_per_frame: float
) -> list[Trouble]:
    troubles: list[Trouble] = []
    for k in sorted(looped):
        if k - 1 in looped:
            continue
        last = k
        while last + 1 in looped:
            last += 1
        stretch = words[k : last + 1]
        weights = np.sum([alignment[word.first : word.last].sum(axis=0) for word in stretch], axis=0)  # (frames,)
        read = np.flatnonzero(weights >= min(READ, weights.max()))
        texts = tuple(word.text for word in stretch)
        start, end = float(read[0] * seconds_per_frame), float((read[-1] + 1) * seconds_per_frame)
        troubles.append(Trouble("looped", start, end, texts))
    return troubles


def _gone_back(
    alignment: np.ndarray, words: Sequence[WordTokens], looped: set[int], seconds_per_frame: float
) -> list[Trouble]:
    """Where the centre of attention lies far behind the furthest place that it reached before."""
    centres = _steady_centres(alignment, words, seconds_per_frame)
    troubles: list[Trouble] = []
    furthest = -np.inf
    behind: list[int] = []  # words of the stretch under way
    landed = 0.0
    for k, own in enumerate(centres):
        lowest = float(own.min())
        if furthest - lowest > BACK_SECONDS and k not in looped:
            landed = min(landed, lowest) if behind else lowest
            behind.append(k)
        elif behind:
            troubles.append(Trouble("went back", landed, furthest, tuple(words[i].text for i in behind)))
            behind = []
        furthest = max(furthest, float(own.max()))
    if behind:
        troubles.append(Trouble("went back", landed, furthest, tuple(words[i].text for i in behind)))
    return troubles


def _steady_centres(alignment: np.ndarray, words: Sequence[WordTokens], seconds_per_frame: float) -> list[np.ndarray]:
    """For each word the centres of its tokens in seconds, each the median of three neighbours in the word.

    A single character that strays is common and harmless.
    """
    centres = alignment @ ((np.arange(alignment.shape[1]) + 0.5) * seconds_per_frame)  # (tokens,)
    steady = []
    for word in words:
        own = centres[word.first : word.last]
        if len(own) >= 3:
            own = np.median(np.stack([own[:-2], own[1:-1], own[2:]]), axis=0)
        steady.append(own)
    return steady
