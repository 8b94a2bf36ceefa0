"""How loud a sound is from moment to moment, and which moments stand out of the rest as speech.

One level per 10 ms and no smoothing: this is for finding where words begin and end, which frames of 40 or 80 ms cannot
tell. Cutting hours at pauses needs a floor that follows the noise, and a steadier view (`pauses.py`).
"""

import numpy as np

LEVEL_SECONDS = 0.01  # one level per 10 ms
SILENCE_DB = -150.0  # of digital silence, so that every level is a number
FLOOR = 10  # percentile of the levels: the noise of the room
ABOVE_FLOOR_DB = 3.0  # white noise varies by half a dB from one level to the next
BELOW_LOUDEST_DB = 40.0  # the weakest consonants lie about so far below the loudest vowels


def sound_levels(wave: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Level of each 10 ms in dB of full scale, `(levels,)`; the rest that fills no 10 ms is left out.

    Args:
        wave: `(samples,)`.
        sampling_rate: Of `wave`, in Hz.
    """
    size = int(sampling_rate * LEVEL_SECONDS)
    blocks = wave[: len(wave) // size * size].reshape(-1, size).astype(np.float64)
    return 10 * np.log10((blocks**2).mean(axis=1) + 10 ** (SILENCE_DB / 10))


def sounding(levels: np.ndarray, below_loudest: float = BELOW_LOUDEST_DB) -> np.ndarray:
    """Which levels are those of speech, `(levels,)` boolean: above the noise, and not far below the loudest.

    Args:
        levels: `(levels,)` in dB, as `sound_levels` gives them.
        below_loudest: How far in dB; less leaves out weak consonants, and more of what is no speech.
    """
    if not len(levels):
        return np.zeros(0, dtype=bool)
    noise = np.percentile(levels, FLOOR) + ABOVE_FLOOR_DB
    return levels > max(noise, levels.max() - below_loudest)


def audible_levels(levels: np.ndarray, below_loudest: float) -> tuple[int, int]:
    """The first level that is less than `below_loudest` dB below the loudest, and the one after the last.

    Args:
        levels: `(levels,)` in dB, at least one.
        below_loudest: Above 0.
    """
    loud = np.flatnonzero(levels > levels.max() - below_loudest)
    return int(loud[0]), int(loud[-1]) + 1


def runs(active: np.ndarray, shortest: int = 1) -> np.ndarray:
    """First index, and the index after the last, of each run of `shortest` or more True in `(steps,)`: `(runs, 2)`."""
    edges = np.diff(np.concatenate([[0], active.astype(np.int8), [0]]))
    found = np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)
    return found[found[:, 1] - found[:, 0] >= shortest]
