"""Spoken strings composed from recordings: real speech with as many different sentences as one likes.

`ComposedStrings` joins recorded words ("seven", "b", "tango") with pauses, gain, speed and noise. Every random choice
of item `i` comes from a generator made of (seed, i) alone, so an item is the same in whichever process and order it is
made. A curriculum goes from single words to strings: attention learns to align on short ones first.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
import torch

from ..processing.levels import LEVEL_SECONDS, audible_levels, sound_levels
from ..processing.processor import AuralProcessor
from .clips import Clip

HELD_OUT_SHARE = 5  # per cent of all strings of several recordings, which training never composes
AUDIBLE_DB = 40.0  # below a recording's loudest 10 ms: what is softer at its ends is not counted as sounding
DRAWS = 10_000  # of words for one string; a twentieth of all is held out, so more than a few hundred find nothing


@dataclass(frozen=True)
class Stage:
    """A part of a curriculum: the first `until` of the run composes strings of `fewest` to `most` words.

    Args:
        until: Share of the run, in (0, 1], at which the stage ends.
        fewest, most: Words per string.
    """

    until: float
    fewest: int
    most: int


CURRICULUM = (Stage(0.20, 1, 1), Stage(0.45, 1, 3), Stage(1.0, 2, 6))
STRINGS = (Stage(1.0, 2, 6),)


@dataclass(frozen=True)
class Augmentation:
    """How much composed speech varies.

    Args:
        pause: Shortest and longest pause between words, in seconds.
        gain_db: Each word is up to this much louder or softer, in dB.
        speeds: Factors of tempo and pitch, one drawn per string.
        snr_db: Lowest and highest signal-to-noise ratio of the white noise added, in dB.
    """

    pause: tuple[float, float] = (0.02, 0.25)
    gain_db: float = 6.0
    speeds: tuple[float, ...] = (0.9, 0.95, 1.0, 1.05, 1.1)
    snr_db: tuple[float, float] = (15.0, 45.0)


@dataclass(frozen=True)
class Spoken:
    """What one recording says in a composed string, and when it sounds.

    Attributes:
        text: One word or, of some recordings, several.
        start, end: Seconds from the start of the string to the recording's first and last audible 10 ms.
    """

    text: str
    start: float
    end: float


def audible(audio: np.ndarray, sampling_rate: int) -> tuple[float, float]:
    """Where a recording's sound begins and ends, in seconds from its start.

    The recordings keep some silence at their ends; audible is the first to the last 10 ms whose level is less than
    `AUDIBLE_DB` below that of the loudest.

    Args:
        audio: `(samples,)`, at least 10 ms.
        sampling_rate: In Hz.
    """
    first, last = audible_levels(sound_levels(audio, sampling_rate), AUDIBLE_DB)
    return first * LEVEL_SECONDS, last * LEVEL_SECONDS


def is_held_out(text: str) -> bool:
    """Whether a string belongs to the test set: by the sha1 of its text, so that no list has to be kept."""
    return int(hashlib.sha1(text.encode()).hexdigest(), 16) % 100 < HELD_OUT_SHARE


class ComposedStrings(torch.utils.data.Dataset):
    """`count` composed strings as training items, each made when it is asked for.

    Args:
        clips: Recorded words, at the rate of the processor's feature extractor.
        processor: Makes features and labels.
        count: Number of strings.
        seed: What the strings follow from.
        stages: The curriculum over the items in order; held-out strings have no place in its stages of one word.
        held_out: Compose only strings that training never sees (True) or only the others (False); a single
            recording is no arrangement, training knows them all.
        group: Consecutive items that share their number of words, so that a batch read in order has little padding.
        augmentation: How much the speech varies.

    Raises:
        ValueError: No clips, stages that do not end at 1, a group below 1; later, too few clips for such strings.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        processor: AuralProcessor,
        count: int,
        seed: int,
        stages: Sequence[Stage] = CURRICULUM,
        held_out: bool = False,
        group: int = 1,
        augmentation: Augmentation | None = None,
    ) -> None:
        if not clips:
            raise ValueError("clips is empty: there is nothing to compose strings from")
        if not stages or stages[-1].until != 1.0:
            raise ValueError(f"stages={list(stages)} must end with until=1.0")
        if group < 1:
            raise ValueError(f"group={group} must be at least 1")
        self.clips, self.processor, self.count, self.seed = list(clips), processor, count, seed
        self.stages, self.held_out, self.group = list(stages), held_out, group
        self.augmentation = augmentation or Augmentation()
        self.sampling_rate = processor.feature_extractor.sampling_rate
        self._at_speed: dict[tuple[int, float], np.ndarray] = {}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        audio, text = self.compose(index)
        return {**self._features(audio), "labels": self.processor.tokenizer(text)["input_ids"]}

    def _features(self, audio: np.ndarray) -> dict[str, Any]:
        features = self.processor.feature_extractor(audio, sampling_rate=self.sampling_rate, return_tensors="np")
        return {"input_features": features["input_features"][0]}

    def compose(self, index: int) -> tuple[np.ndarray, str]:
        """String `index`: audio `(samples,)` float32, and its text."""
        audio, text, _ = self.compose_timed(index)
        return audio, text

    def compose_timed(self, index: int) -> tuple[np.ndarray, str, tuple[Spoken, ...]]:
        """String `index` as `compose` gives it, and when each of its recordings sounds."""
        if not 0 <= index < self.count:
            raise IndexError(f"index={index} must be in [0, {self.count})")
        rng = np.random.default_rng((self.seed, index))
        words = self._draw_words(rng, self._number_of_words(index))
        audio, spoken = self._speak(rng, words)
        return audio, " ".join(one.text for one in spoken), spoken

    def _number_of_words(self, index: int) -> int:
        group = index // self.group
        share = group * self.group / self.count
        stage = next(s for s in self.stages if share < s.until)
        drawn = np.random.default_rng((self.seed, group, 1)).integers(stage.fewest, stage.most + 1)
        return int(drawn)

    def _draw_words(self, rng: np.random.Generator, number: int) -> list[int]:
        for _ in range(DRAWS):
            words = [int(i) for i in rng.integers(len(self.clips), size=number)]
            # A single word is no arrangement: training knows them all, so none can be held out.
            if number == 1 or is_held_out(" ".join(self.clips[i].text for i in words)) == self.held_out:
                return words
        kind = "held-out" if self.held_out else "training"
        raise ValueError(f"{len(self.clips)} clips: no {kind} string of {number} words found in {DRAWS} draws")

    def _word(self, index: int, speed: float) -> np.ndarray:
        key = (index, speed)
        if key not in self._at_speed:
            audio = self.clips[index].audio
            self._at_speed[key] = audio if speed == 1.0 else soxr.resample(audio, speed, 1.0, quality="MQ")
        return self._at_speed[key]

    def _speak(self, rng: np.random.Generator, words: list[int]) -> tuple[np.ndarray, tuple[Spoken, ...]]:
        options = self.augmentation
        speed = float(rng.choice(options.speeds))
        parts, spoken = [self._pause(rng)], []
        at = len(parts[0])  # samples so far
        for word in words:
            gain = 10 ** (rng.uniform(-options.gain_db, options.gain_db) / 20)
            sound = self._word(word, speed)
            start, end = audible(sound, self.sampling_rate)
            begin = at / self.sampling_rate
            spoken.append(Spoken(self.clips[word].text, begin + start, begin + end))
            parts += [sound * np.float32(gain), self._pause(rng)]
            at += len(sound) + len(parts[-1])
        audio = np.concatenate(parts)
        level = np.sqrt(np.mean(audio**2)) * 10 ** (-rng.uniform(*options.snr_db) / 20)
        noisy = (audio + level * rng.standard_normal(len(audio))).astype(np.float32)
        return noisy, tuple(spoken)

    def _pause(self, rng: np.random.Generator) -> np.ndarray:
        return np.zeros(int(rng.uniform(*self.augmentation.pause) * self.sampling_rate), dtype=np.float32)
