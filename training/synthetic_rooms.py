"""What a voice goes through on its way to a recording: pitch, room, noise, telephone, level.

    setting = draw_setting(np.random.default_rng([0, 7]))
    audio = recorded(audio, rate, setting, np.random.default_rng([0, 7, 1]))  # (samples,) at 16 kHz

What is notable here:

- pitch is the speed of the tape, which moves the formants too and makes another speaker of the same voice; the voice
  is asked to speak so much slower or faster that its pace stays what was drawn;
- a room is a made-up impulse response: the direct sound, a few early reflections, and noise that dies away;
- the level is set last, so that nothing clips.
"""

from dataclasses import dataclass

import numpy as np
import soxr
from scipy.signal import fftconvolve

SAMPLING_RATE = 16_000  # Hz
TELEPHONE_RATE = 8_000  # Hz
FLAT_BELOW = 50  # Hz: else most of a brown noise is too low to be heard


@dataclass(frozen=True)
class Setting:
    """How one clip is spoken and recorded.

    Attributes:
        pace: of speech, times the voice's own.
        pitch: times the voice's own, formants included.
        reverberation: seconds in which the room's sound falls by 60 dB; None in the open.
        direct: dB of the direct sound over the room's.
        noise: dB of the speech over the noise.
        colour: power of the noise falls with frequency, above 50 Hz, to this power; 0 is white, 1 pink, 2 brown.
        telephone: whether nothing above 4 kHz is heard.
        peak: dB of the loudest sample below full scale.
    """

    pace: float
    pitch: float
    reverberation: float | None
    direct: float
    noise: float
    colour: float
    telephone: bool
    peak: float


def draw_setting(generator: np.random.Generator) -> Setting:
    """A setting, drawn: half of the clips in a room, a quarter through a telephone."""
    return Setting(
        pace=generator.uniform(0.85, 1.2),
        pitch=2 ** (generator.uniform(-2.0, 2.0) / 12),
        reverberation=generator.uniform(0.1, 0.5) if generator.random() < 0.5 else None,
        direct=generator.uniform(0.0, 12.0),
        noise=generator.uniform(10.0, 40.0),
        colour=generator.uniform(0.0, 2.0),
        telephone=bool(generator.random() < 0.25),
        peak=generator.uniform(-20.0, -1.0),
    )


def recorded(audio: np.ndarray, rate: int, setting: Setting, generator: np.random.Generator) -> np.ndarray:
    """Speech `(samples,)` at `rate` Hz as it is recorded in `setting`: float32 `(samples,)` at 16 kHz.

    Raises:
        ValueError: the audio is silent.
    """
    if not np.abs(audio).max(initial=0.0) > 0:
        raise ValueError("the voice said nothing")
    audio = soxr.resample(audio, rate * setting.pitch, SAMPLING_RATE)
    if setting.reverberation is not None:
        audio = fftconvolve(audio, room_response(setting.reverberation, setting.direct, generator))
        audio = audio[: _end_of_sound(audio)]
    power = float(np.mean(np.square(audio)))
    audio = audio + noise_of(len(audio), setting.colour, generator) * np.sqrt(power * 10 ** (-setting.noise / 10))
    if setting.telephone:
        audio = soxr.resample(soxr.resample(audio, SAMPLING_RATE, TELEPHONE_RATE), TELEPHONE_RATE, SAMPLING_RATE)
    return (audio * 10 ** (setting.peak / 20) / np.abs(audio).max()).astype(np.float32)


def room_response(reverberation: float, direct: float, generator: np.random.Generator) -> np.ndarray:
    """A room's impulse response `(samples,)` at 16 kHz, which begins with the direct sound, 1.

    Args:
        reverberation: seconds in which its sound falls by 60 dB.
        direct: dB of the direct sound's energy over that of all the rest.
        generator: draws six early reflections in the first 40 ms, and the noise that dies away.
    """
    time = np.arange(1, int(reverberation * SAMPLING_RATE)) / SAMPLING_RATE  # (samples - 1,) seconds
    fall = 10 ** (-3 * time / reverberation)
    rest = generator.standard_normal(len(time)) * fall
    early = generator.integers(16, int(0.04 * SAMPLING_RATE), 6)  # from 1 ms on
    rest[early] += generator.choice((-8.0, 8.0), 6) * fall[early]
    rest *= 10 ** (-direct / 20) / np.sqrt(np.sum(np.square(rest)))
    return np.concatenate([[1.0], rest])


def noise_of(samples: int, colour: float, generator: np.random.Generator) -> np.ndarray:
    """Noise `(samples,)` of power 1 whose power falls with frequency to the power of `colour`."""
    spectrum = np.fft.rfft(generator.standard_normal(samples))
    frequency = np.maximum(np.fft.rfftfreq(samples, 1 / SAMPLING_RATE), FLAT_BELOW)
    spectrum *= frequency ** (-colour / 2)
    noise = np.fft.irfft(spectrum, samples)
    return noise / np.sqrt(np.mean(np.square(noise)))


def _end_of_sound(audio: np.ndarray) -> int:
    """The sample after the last that comes within 50 dB of the peak."""
    return int(np.flatnonzero(np.abs(audio) >= np.abs(audio).max() * 10 ** (-50 / 20))[-1]) + 1
