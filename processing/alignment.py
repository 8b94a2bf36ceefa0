"""When each token and word was heard, told from attention and made precise by the sound.

1. *A monotone path.* Dynamic time warping over -log of the weights, as Whisper's word times (Radford et al. 2022,
   arXiv:2212.04356; Giorgino 2009): every token takes one or more frames in a row, every frame one or more tokens,
   in order. Attention that strays for a token cannot put it out of order. Tokens that share a frame share its time.
2. *Words* are what the tokenizer's own `decode` separates, so characters, subwords, words and phonemes go one way.
3. *Borders from the sound.* A listener frame lasts 40 or 80 ms and attention looks at the middle of a sound, not at
   its ends. Between the middles of a word's last token and the next word's first, the longest pause is where one
   ends and the other begins, to 10 ms; where there is none, speech goes on, and the border is that of the path.

On strings composed of recordings the third step is worth a factor of nine at the median.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .levels import LEVEL_SECONDS, runs, sounding

SMALLEST_WEIGHT = 1e-6  # attention below it is taken for it, so that its logarithm stays finite
SHORTEST_PAUSE = 0.03  # seconds: a dip that is shorter is no pause


@dataclass(frozen=True)
class TimedToken:
    """A token and when it was heard.

    Attributes:
        text: The token, as the tokenizer names it.
        start, end: Seconds from the start of the clip.
        confidence: The probability that the model gave it, 0 to 1.
    """

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class TimedWord:
    """A word and when it was heard.

    Attributes:
        text: The word, as it stands in the text.
        start, end: Seconds from the start of the clip.
        confidence: Geometric mean of the probabilities of its tokens, 0 to 1, so that long words are not doubted more.
    """

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class WordTokens:
    """Which tokens make a word: `first` up to, without, `last`."""

    text: str
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Path:
    """Where a monotone path puts each token, in seconds.

    Attributes:
        starts, ends: `(tokens,)`; each token starts where the one before ends, the first at 0.
        middles: `(tokens,)`, the weighted mean of the frames that are the token's; never decreasing.
    """

    starts: np.ndarray
    ends: np.ndarray
    middles: np.ndarray


def monotone_frames(alignment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last frame of each token on the best monotone path through `alignment`, each `(tokens,)`.

    Steps go to the next token, the next frame or both; the path has the highest product of weights. Computed diagonal
    by diagonal, so that a step costs one numpy call for all cells of a diagonal.

    Args:
        alignment: `(tokens, frames)` weights, at least one of each.
    """
    tokens, frames = alignment.shape
    cost = -np.log(np.maximum(alignment, SMALLEST_WEIGHT), dtype=np.float64)
    steps = np.zeros((tokens, frames), dtype=np.int8)
    # Of the two diagonals before: entry i + 1 is the cost of a path to token i; entry 0 lies outside.
    before, last = np.full(tokens + 1, np.inf), np.full(tokens + 1, np.inf)
    before[0] = 0.0  # where the path begins
    for diagonal in range(tokens + frames - 1):
        i = np.arange(max(0, diagonal - frames + 1), min(tokens, diagonal + 1))
        j = diagonal - i
        options = np.stack([before[i], last[i], last[i + 1]])  # from both, from the token, from the frame before
        best = options.argmin(axis=0)
        steps[i, j] = best
        now = np.full(tokens + 1, np.inf)
        now[i + 1] = cost[i, j] + options[best, np.arange(len(i))]
        before, last = last, now
    first_frames, last_frames = np.empty(tokens, dtype=int), np.empty(tokens, dtype=int)
    i, j = tokens - 1, frames - 1
    last_frames[i] = j
    while i > 0 or j > 0:
        to_token, to_frame = i - (steps[i, j] != 2), j - (steps[i, j] != 1)
        if to_token != i:
            first_frames[i], last_frames[to_token] = j, to_frame
        i, j = to_token, to_frame
    first_frames[0] = 0
    return first_frames, last_frames


def time_tokens(alignment: np.ndarray, seconds_per_frame: float, seconds: float) -> Path:
    """Put tokens in time by the best monotone path.

    Args:
        alignment: `(tokens, frames)` attention weights, rows that sum to 1.
        seconds_per_frame: Seconds per frame of `alignment`.
        seconds: Length of the clip; no time is later.
    """
    tokens, frames = alignment.shape
    if tokens == 0:
        return Path(np.zeros(0), np.zeros(0), np.zeros(0))
    first, last = monotone_frames(alignment)
    takers, before = np.zeros(frames), np.zeros(frames, dtype=int)  # tokens in each frame, and the first of them
    for token in range(tokens - 1, -1, -1):
        takers[first[token] : last[token] + 1] += 1
        before[first[token] : last[token] + 1] = token
    order = np.arange(tokens)
    starts = first + (order - before[first]) / takers[first]
    ends = last + (order - before[last] + 1) / takers[last]
    middles = np.empty(tokens)
    for token in range(tokens):
        own = np.arange(first[token], last[token] + 1)
        weights = np.maximum(alignment[token, own], SMALLEST_WEIGHT)
        middles[token] = (weights @ (own + 0.5)) / weights.sum()
    return Path(*(np.minimum(times * seconds_per_frame, seconds) for times in (starts, ends, middles)))


def word_tokens(
    ids: Sequence[int], decode: Callable[[Sequence[int]], str], border: str | None = None
) -> list[WordTokens]:
    """The words of a text and which of its tokens wrote each.

    Every prefix is decoded, and a token belongs to the words that it begins or changes: this holds for whatever the
    tokenizer calls a token, bytes of one character included. What writes no more than a border, or nothing, such as
    special tokens, belongs to no word.

    Args:
        ids: `(tokens,)`.
        decode: From ids to text.
        border: What stands between words; default: white space.
    """

    def split(text: str) -> list[str]:
        return [word.strip() for word in text.split(border) if word.strip()]

    touched: dict[int, list[int]] = {}
    before: list[str] = []
    for token in range(len(ids)):
        after = split(decode(ids[: token + 1]))
        for word, text in enumerate(after):
            if word >= len(before) or text != before[word]:
                touched.setdefault(word, []).append(token)
        before = after
    return [WordTokens(text, touched[word][0], touched[word][-1] + 1) for word, text in enumerate(before)]


def time_words(
    path: Path,
    words: Sequence[WordTokens],
    probabilities: np.ndarray,
    levels: np.ndarray,
    seconds_per_frame: float,
    seconds: float,
) -> tuple[TimedWord, ...]:
    """Words with their times and confidence. Times never decrease and lie in `[0, seconds]`; words do not overlap.

    Args:
        path: Of the tokens.
        words: Their tokens, in order.
        probabilities: `(tokens,)`, of each token.
        levels: `(levels,)` of the clip in dB, one per 10 ms.
        seconds_per_frame: Of attention: a middle is known to half of it, and so far beyond it a pause is looked for.
        seconds: Length of the clip.
    """
    if not words:
        return ()
    speech = sounding(levels)
    quiet = ~speech if speech.any() else speech  # where nothing stands out, nothing tells speech from pauses
    reach = seconds_per_frame / 2
    firsts = np.array([path.middles[word.first] for word in words])
    lasts = np.array([path.middles[word.last - 1] for word in words])
    centres = np.maximum.accumulate((firsts + lasts) / 2)  # a word begins before its centre and ends after it
    starts, ends = np.empty(len(words)), np.empty(len(words))
    starts[0] = _pause(quiet, 0.0, firsts[0], (path.starts[words[0].first],) * 2)[1]
    for k in range(len(words) - 1):
        low, high = max(lasts[k] - reach, centres[k]), min(firsts[k + 1] + reach, centres[k + 1])
        middle = (path.ends[words[k].last - 1] + path.starts[words[k + 1].first]) / 2
        middle = min(max(middle, low), high)
        ends[k], starts[k + 1] = _pause(quiet, low, high, (middle, middle))
    ends[-1] = _pause(quiet, lasts[-1], seconds, (path.ends[words[-1].last - 1],) * 2)[0]
    return tuple(
        TimedWord(word.text, float(start), float(end), confidence(probabilities[word.first : word.last]))
        for word, start, end in zip(words, starts, np.maximum(starts, ends), strict=True)
    )


def _pause(quiet: np.ndarray, low: float, high: float, otherwise: tuple[float, float]) -> tuple[float, float]:
    """Start and end in seconds of the longest pause between `low` and `high`; `otherwise` where there is none."""
    first, last = round(low / LEVEL_SECONDS), round(high / LEVEL_SECONDS)
    pauses = runs(quiet[first:last], round(SHORTEST_PAUSE / LEVEL_SECONDS)) + first
    if not len(pauses):
        return otherwise
    start, end = pauses[np.diff(pauses, axis=1)[:, 0].argmax()] * LEVEL_SECONDS
    return min(max(start, low), high), min(max(end, low), high)


def time_characters(
    path: Path,
    words: Sequence[WordTokens],
    timed: Sequence[TimedWord],
    tokens: Sequence[str],
    probabilities: np.ndarray,
    seconds: float,
) -> tuple[TimedToken, ...]:
    """Tokens with times inside those of their words; what belongs to no word lies between words.

    Args:
        path: Of the tokens.
        words, timed: The words' tokens, and their times.
        tokens: `(tokens,)`, names.
        probabilities: `(tokens,)`.
        seconds: Length of the clip.
    """
    edges = np.append(path.starts, path.ends[-1:])  # (tokens + 1,)
    stretches, done, at = [], 0, 0.0  # (first token, token after the last, start, end)
    for word, time in zip(words, timed, strict=True):
        first = max(word.first, done)  # a token that writes the end of one word and the next belongs to the earlier
        stretches += [(done, first, at, time.start), (first, word.last, time.start, time.end)]
        done, at = word.last, time.end
    stretches.append((done, len(tokens), at, seconds))
    borders: list[tuple[float, float]] = []
    for first, last, start, end in stretches:
        if first < last:
            inside = _fitted(edges[first : last + 1], start, end)
            borders += zip(inside[:-1].tolist(), inside[1:].tolist(), strict=True)
    return tuple(
        TimedToken(text, start, end, float(probability))
        for text, (start, end), probability in zip(tokens, borders, probabilities, strict=True)
    )


def _fitted(edges: np.ndarray, start: float, end: float) -> np.ndarray:
    """Borders of tokens `(tokens + 1,)` made to fill `start` to `end`: cut, or, where that leaves a token nothing,
    stretched."""
    cut = np.concatenate([[start], np.clip(edges[1:-1], start, end), [end]])
    if (np.diff(cut) > 0).all() or edges[-1] <= edges[0]:
        return cut
    return start + (edges - edges[0]) * (end - start) / (edges[-1] - edges[0])


def confidence(probabilities: np.ndarray) -> float:
    """Geometric mean of probabilities `(tokens,)`; 1 of none."""
    if not len(probabilities):
        return 1.0
    return float(np.exp(np.log(np.maximum(probabilities, 1e-30)).mean()))


def split_at_pauses(
    words: Sequence[TimedWord], pause: float = 0.6, longest: float = 10.0
) -> tuple[tuple[TimedWord, ...], ...]:
    """Words in groups, each what is said without a long pause, such as a line of subtitles.

    Args:
        words: In order.
        pause: Seconds between words that end a group.
        longest: Seconds of a group at most; only a single word can be longer.

    Raises:
        ValueError: A number is not above 0.
    """
    for name, value in (("pause", pause), ("longest", longest)):
        if not value > 0:
            raise ValueError(f"{name}={value} must be a number of seconds above 0")
    groups: list[list[TimedWord]] = []
    for word in words:
        if groups and word.start - groups[-1][-1].end < pause and word.end - groups[-1][0].start <= longest:
            groups[-1].append(word)
        else:
            groups.append([word])
    return tuple(tuple(group) for group in groups)
