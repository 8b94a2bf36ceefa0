"""The sounds that described mixes are made of: drum hits in four families, and effects, each cut to where it sounds.

- Of the ten classes of drums a listener tells four families apart on a kit never heard: cymbals (hi-hats among them),
  kicks, snares and toms. The other classes are left out.
- A sound begins where it does for the ear, with the first 10 ms within 20 dB of its loudest, and ends after the last
  within 35 dB, or after its longest time, with a short fade. What two sounds overlap by is then known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..processing.levels import audible_levels, sound_levels
from .drums import SAMPLING_RATE, DrumHit, find_onset
from .effects import Effect

FAMILY_OF = {
    "hihat": "cymbal",
    "crash": "cymbal",
    "ride": "cymbal",
    "kick": "kick",
    "snare": "snare",
    "tom": "tom",
}
DRUM_SECONDS, EFFECT_SECONDS = 0.4, 0.7  # that a sound lasts at most
SHORTEST = 0.1  # seconds: what is shorter is lengthened by silence, so that another can begin while it "sounds"
ATTACK_DB, AUDIBLE_DB = 20.0, 35.0  # below the loudest 10 ms: a sound begins there, and is over

_LEVEL = SAMPLING_RATE // 100  # samples of 10 ms
_FADE = SAMPLING_RATE // 50  # samples of 20 ms


@dataclass(frozen=True, eq=False)
class MixSound:
    """One recording, ready to be mixed.

    Attributes:
        name: of the recording.
        source: what a caption calls it, one of `mix_grammar.SOURCES`.
        kit: of a drum; "" of an effect.
        audio: mono float32 `(samples,)` at 16 kHz, which sounds from its first to its last sample, with a root mean
            square of 1.
    """

    name: str
    source: str
    kit: str
    audio: np.ndarray


def drum_sounds(hits: Sequence[DrumHit]) -> list[MixSound]:
    """The hits of the four families, cut to at most 0.4 s."""
    return [
        MixSound(hit.name, FAMILY_OF[hit.label], hit.kit, cut_sound(hit.audio, DRUM_SECONDS))
        for hit in hits
        if hit.label in FAMILY_OF
    ]


def effect_sounds(effects: Sequence[Effect]) -> list[MixSound]:
    """The effects, cut to at most 0.7 s."""
    return [MixSound(each.name, each.label, "", cut_sound(each.audio, EFFECT_SECONDS)) for each in effects]


def cut_sound(audio: np.ndarray, longest: float) -> np.ndarray:
    """A recording from its onset until it is over, faded out over its last 20 ms, with a root mean square of 1.

    Args:
        audio: `(samples,)` at 16 kHz.
        longest: seconds that are kept.

    Returns:
        float32 `(samples,)`, at least 0.1 s.

    Raises:
        ValueError: the audio is silent.
    """
    audio = np.pad(audio[find_onset(audio) :], (0, round(SHORTEST * SAMPLING_RATE)))
    start, _ = audible_levels(sound_levels(audio, SAMPLING_RATE), ATTACK_DB)
    audio = audio[start * _LEVEL :][: round(longest * SAMPLING_RATE)]
    _, end = audible_levels(sound_levels(audio, SAMPLING_RATE), AUDIBLE_DB)
    sound = audio[: max(end * _LEVEL, round(SHORTEST * SAMPLING_RATE))].astype(np.float64)
    sound[-_FADE:] *= np.linspace(1.0, 0.0, _FADE)
    return (sound / np.sqrt(np.mean(sound**2))).astype(np.float32)
