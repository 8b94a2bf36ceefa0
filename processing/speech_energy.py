"""Speech told from silence in a stream, a hundred times a second, by the energy of short frames.

- The floor of the noise is followed as it changes: a low percentile of the levels around a moment. What lies little
  above it is silence; what is loud never passes for silence.
- Where the noise itself changes, a lull is what lies far below the loudest on both sides. It may be a pause, but not
  one to be left out.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

FRAMES_PER_SECOND = 100
EMPHASIS = 0.97  # of the difference between neighbouring samples: hum and rumble count less than speech
SMOOTHING = 5  # frames in the mean power of one
LOWEST_LEVEL = -90.0  # dB of full scale: what 16 bits can tell from nothing
FLOOR, TOP = 5, 95  # percentiles of the levels around a moment: its noise, its speech
HEARD_BEFORE, HEARD_AFTER = 20, 5  # seconds around a moment whose levels tell these
MARGIN = 6.0  # dB above the floor at least, where speech begins
SHARE = 0.15  # of the way from the floor to the top, where speech begins
LOUD = -25.0  # dB of full scale: never silence, however loud the noise
AT_ONCE = 50  # frames with one floor
BESIDE = 2  # seconds on either side of a moment whose loudest level it is held against
BELOW = (6.0, 15.0)  # dB under the loudest on both sides, at least and at most, where there may be a pause
DEPTH = 0.6  # of the way from the loudest to the quietest around, between these two
SILENCE, LULL, SPEECH = 0, 1, 2  # what there is: only silence may be left out; at a lull one may cut


class Detector(Protocol):
    """What tells speech from silence in a stream: a hundred times a second `SILENCE`, `LULL` or `SPEECH`."""

    def add(self, block: np.ndarray) -> np.ndarray:
        """Hear `block`, `(samples,)`; what there is, int8 `(frames,)`, in the frames that are known by now."""

    def rest(self) -> np.ndarray:
        """What there is in the remaining frames, at the end of the recording."""


class FrameLevels:
    """The level of each frame of a stream, in dB of full scale, over a twentieth of a second.

    Args:
        sampling_rate: In Hz.
    """

    def __init__(self, sampling_rate: int) -> None:
        self.hop = sampling_rate // FRAMES_PER_SECOND
        self._samples = np.zeros(0, np.float32)  # heard, not yet in a frame
        self._last = np.float32(0)  # sample before them
        self._powers: np.ndarray | None = None  # of the last frames

    def add(self, block: np.ndarray) -> np.ndarray:
        """Levels `(frames,)` that are known once `block`, `(samples,)`, is heard."""
        held = np.concatenate([self._samples, block])
        frames = len(held) // self.hop
        self._samples = held[frames * self.hop :].copy()
        if frames == 0:
            return np.zeros(0)
        held = held[: frames * self.hop]
        emphasised = held - EMPHASIS * np.concatenate([[self._last], held[:-1]]).astype(np.float32)
        self._last = held[-1]
        powers = np.square(emphasised, dtype=np.float64).reshape(frames, self.hop).mean(axis=1)
        before = np.repeat(powers[:1], SMOOTHING // 2) if self._powers is None else self._powers
        return self._smooth(np.concatenate([before, powers]))

    def rest(self) -> np.ndarray:
        """Levels of the last frames."""
        if self._powers is None:
            return np.zeros(0)
        return self._smooth(np.concatenate([self._powers, np.repeat(self._powers[-1:], SMOOTHING // 2)]))

    def _smooth(self, powers: np.ndarray) -> np.ndarray:
        self._powers = powers[max(0, len(powers) - SMOOTHING + 1) :]
        if len(powers) < SMOOTHING:
            return np.zeros(0)
        mean = np.lib.stride_tricks.sliding_window_view(powers, SMOOTHING).mean(axis=1)
        return np.maximum(10 * np.log10(np.maximum(mean, 1e-12)), LOWEST_LEVEL)


class EnergyDetector:
    """Speech is what stands out of the noise around it.

    Args:
        sampling_rate: In Hz.
    """

    def __init__(self, sampling_rate: int) -> None:
        self._frames = FrameLevels(sampling_rate)
        self._levels = np.zeros(0)  # of frames not yet told, after `_before` frames that were
        self._before = 0

    def add(self, block: np.ndarray) -> np.ndarray:
        """As `Detector.add`."""
        self._levels = np.concatenate([self._levels, self._frames.add(block)])
        ready = len(self._levels) - self._before - HEARD_AFTER * FRAMES_PER_SECOND
        return self._tell(max(0, ready) // AT_ONCE * AT_ONCE)

    def rest(self) -> np.ndarray:
        """As `Detector.rest`."""
        self._levels = np.concatenate([self._levels, self._frames.rest()])
        return self._tell(len(self._levels) - self._before)

    def _tell(self, count: int) -> np.ndarray:
        if count == 0:
            return np.zeros(0, np.int8)
        levels = self._levels[self._before : self._before + count]
        found = np.where(levels < self._valley(count), LULL, SPEECH).astype(np.int8)
        for start in range(0, count, AT_ONCE):
            at = self._before + start
            around = self._levels[max(0, at - HEARD_BEFORE * FRAMES_PER_SECOND) : at + HEARD_AFTER * FRAMES_PER_SECOND]
            part = slice(start, start + AT_ONCE)
            found[part][levels[part] <= _threshold(around)] = SILENCE
        told = self._before + count
        self._before = min(told, HEARD_BEFORE * FRAMES_PER_SECOND)
        self._levels = self._levels[told - self._before :]
        return found

    def _valley(self, count: int) -> np.ndarray:
        """Levels `(count,)` that are low beside what is loudest before and after each of the next frames."""
        reach, heard = BESIDE * FRAMES_PER_SECOND, self._levels
        at = self._before + np.arange(count)
        around = np.pad(heard, reach, mode="edge")[: self._before + count + 2 * reach]
        peaks = _sliding(around, reach + 1, np.max)  # peaks[i] is the loudest of the frames i - reach to i
        lows = _sliding(around, 2 * reach + 1, np.min)
        loud = np.minimum(peaks[at], peaks[at + reach])
        return loud - np.clip(DEPTH * (loud - lows[at]), *BELOW)


def _sliding(values: np.ndarray, size: int, of: Callable[..., np.ndarray]) -> np.ndarray:
    """The largest or smallest of each `size` neighbours, `(values - size + 1,)`."""
    width = 1
    while width < size:  # of twice as many, from those of half
        step = min(width, size - width)
        values = of([values[: len(values) - step], values[step:]], axis=0)
        width += step
    return values


def _threshold(levels: np.ndarray) -> float:
    """The level up to which there is silence among `levels`: little above their floor, and far below their top, for
    one who speaks on may grow quiet. Where both are one, all is silence."""
    floor, top = np.percentile(levels, [FLOOR, TOP])
    threshold = floor + max(MARGIN, SHARE * (top - floor))
    return min(threshold if top - floor < MARGIN else min(threshold, top - BELOW[1]), LOUD)
