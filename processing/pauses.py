"""Where to cut hours of speech: at pauses, as the recording streams by.

- A stretch ends at the first pause once it is long enough, since a recogniser is surest on utterances. One that grows
  too long is cut at the longest pause in it, be it a moment.
- Where nobody pauses at all, windows overlap; their words are put together by time (`stitching.py`).
- Silence is left out, but for a little around speech, whose first and last sounds are weak.
- Memory holds one stretch and a few seconds, and nothing depends on how the audio was cut into blocks.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from .levels import runs
from .speech_energy import FRAMES_PER_SECOND, SILENCE, SPEECH, Detector, EnergyDetector

LONG_PAUSE = 1.0  # seconds: ends even a stretch that is short
MOMENT = 0.2  # seconds: a pause good enough for a stretch that has grown too long
PADDING = 0.4  # seconds of silence kept at either end: weak sounds begin and end words
CLICK = 0.1  # seconds: less than this, alone between long pauses, is no word


@dataclass(frozen=True)
class Cutting:
    """How long stretches may be.

    Args:
        max_seconds: No stretch is longer.
        min_seconds: A stretch goes on over pauses, other than those of a second, until it is this long.
        pause: Seconds of silence that end a stretch.
        overlap: Seconds that windows share where there is no pause.

    Raises:
        ValueError: A number is not above 0, or `max_seconds` is too small beside the others.
    """

    max_seconds: float = 15.0
    min_seconds: float = 1.0
    pause: float = 0.7
    overlap: float = 2.0

    def __post_init__(self) -> None:
        for name in ("max_seconds", "min_seconds", "pause", "overlap"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name}={value} must be a number of seconds above 0")
        for name, value in (("min_seconds", self.min_seconds), ("twice the overlap", 2 * self.overlap)):
            if self.max_seconds < value:
                raise ValueError(f"max_seconds={self.max_seconds} must be at least {name}, {value}")

    @classmethod
    def up_to(cls, max_seconds: float) -> "Cutting":
        """The usual lengths, made smaller where `max_seconds` asks for it."""
        if not 0 < max_seconds < math.inf:
            raise ValueError(f"max_seconds={max_seconds} must be a number of seconds above 0")
        return cls(max_seconds, min(cls.min_seconds, max_seconds / 4), cls.pause, min(cls.overlap, max_seconds / 4))


@dataclass(frozen=True, eq=False)
class Stretch:
    """A part of a recording.

    Attributes:
        start: Its first sample, counted from the recording's.
        audio: Its samples `(samples,)`, float32.
        sampling_rate: In Hz.
        overlap: Samples at its beginning that the stretch before it holds too; 0 where it follows a pause.
    """

    start: int
    audio: np.ndarray
    sampling_rate: int
    overlap: int = 0

    @property
    def end(self) -> int:
        """The sample after its last."""
        return self.start + len(self.audio)

    @property
    def start_seconds(self) -> float:
        """Seconds from the start of the recording to its first sample."""
        return self.start / self.sampling_rate

    @property
    def end_seconds(self) -> float:
        """Seconds from the start of the recording to the end of it."""
        return self.end / self.sampling_rate


def speech_stretches(
    blocks: Iterable[np.ndarray], sampling_rate: int, cutting: Cutting | None = None, detector: Detector | None = None
) -> Iterator[Stretch]:
    """The stretches of a recording that hold speech, cut at pauses.

    Args:
        blocks: The samples `(samples,)`, float32, in blocks of any sizes.
        sampling_rate: In Hz.
        cutting: How long stretches may be.
        detector: What tells speech from silence; default: their energy.

    Yields:
        Stretches in order. None for a recording of silence.
    """
    cutter = _Cutter(sampling_rate, cutting or Cutting())
    detector = detector or EnergyDetector(sampling_rate)
    for block in blocks:
        for at in range(0, len(block), sampling_rate):  # so that little is heard ahead, however long the blocks
            part = block[at : at + sampling_rate]
            yield from cutter.add(part, detector.add(part))
    yield from cutter.rest(detector.rest())


class _Cutter:
    """Cuts what it hears. Frames count from the first that no stretch has taken."""

    def __init__(self, sampling_rate: int, cutting: Cutting) -> None:
        self.rate, self.hop = sampling_rate, sampling_rate // FRAMES_PER_SECOND
        self.most, self.least = self._frames(cutting.max_seconds), self._frames(cutting.min_seconds)
        self.pause, self.overlap = self._frames(cutting.pause), self._frames(cutting.overlap)
        self.long, self.moment = self._frames(LONG_PAUSE), self._frames(MOMENT)
        self.padding, self.click = self._frames(PADDING), self._frames(CLICK)
        self.origin = 0  # frames of the recording before
        self.shared = 0  # frames that the stretch before holds too
        self.found = np.zeros(0, np.int8)
        self.audio: list[np.ndarray] = []  # also of frames not yet told
        self.ended = False

    def _frames(self, seconds: float) -> int:
        return max(1, int(seconds * self.rate / self.hop))

    def add(self, block: np.ndarray, found: np.ndarray) -> Iterator[Stretch]:
        """The stretches that end by now."""
        self.audio.append(block)
        self.found = np.append(self.found, found)
        while (stretch := self._next()) is not None:
            if len(stretch.audio):
                yield stretch

    def rest(self, found: np.ndarray) -> Iterator[Stretch]:
        """The stretches up to the end of the recording."""
        self.ended = True
        return self.add(np.zeros(0, np.float32), found)

    def _next(self) -> Stretch | None:
        """The next stretch, one without samples where there was a click; None if more must be heard."""
        if not self.shared:
            self._drop(max(0, _first(self.found > SILENCE) - self.padding))
        told, first = len(self.found), _first(self.found == SPEECH)
        if first == told:
            return None
        for start, stop in runs(self.found == SILENCE, self.pause).tolist():
            if start > self.most:
                break
            if start < first:
                continue
            if stop == told and stop - start < self.long and not self.ended and told < self.most + self.pause:
                return None  # this pause goes on
            if start >= self.least or stop - start >= self.long:
                return self._at_pause(start, stop)
        if self.ended and told <= self.most:
            return self._at_pause(told - _first(self.found[::-1] > SILENCE), told)
        return self._too_long() if self.ended or told >= self.most + self.pause else None

    def _too_long(self) -> Stretch:
        """What comes before the longest pause, be it a moment; else a window."""
        moments = runs(self.found < SPEECH, self.moment)
        moments = moments[(moments[:, 0] >= self.least) & (moments[:, 0] < self.most)]
        if not len(moments):
            return self._take(self.most, self.most - self.overlap, self.overlap)
        return self._at_pause(*max(moments.tolist(), key=lambda run: run[1] - run[0]))

    def _at_pause(self, start: int, stop: int) -> Stretch:
        """What comes before the pause from `start` to `stop`. Only silence may be left out, and not all of it."""
        silences = runs(self.found[start:stop] == SILENCE, 1).tolist()
        begin, end = max(silences, key=lambda run: run[1] - run[0], default=(0, stop - start))
        half = end - begin if stop == len(self.found) and self.ended else (end - begin) // 2
        length = min(start + begin + (min(half, self.padding) if silences else half), self.most)
        click = int((self.found[:length] > SILENCE).sum()) < self.click
        return self._take(0 if click else length, max(length, 1))

    def _take(self, length: int, to: int, shared: int = 0) -> Stretch:
        """The first `length` frames. The next stretch may begin at frame `to`, and shares `shared` frames with it."""
        audio = np.concatenate(self.audio)
        last = self.ended and length == len(self.found)  # the rest of it is too short for a frame of its own
        part = audio[: (self.most if last else length) * self.hop].copy()
        taken = Stretch(self.origin * self.hop, part, self.rate, self.shared * self.hop)
        self._drop(to)
        self.shared = shared
        return taken

    def _drop(self, frames: int) -> None:
        """Forget frames."""
        if frames:
            audio = np.concatenate(self.audio)
            self.audio = [audio[frames * self.hop :].copy()]  # a view would keep the whole
            self.found = self.found[frames:]
            self.origin += frames
            self.shared = 0


def _first(flags: np.ndarray) -> int:
    """The first True of `flags`, else their number."""
    return int(flags.argmax()) if flags.any() else len(flags)
