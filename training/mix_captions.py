"""Mixes with their descriptions: clips of drum hits and effects whose captions follow from what was mixed.

    sounds = [*drum_sounds(load_drums("drums")), *effect_sounds(load_effects("effects"))]
    mixes = MixCaptions(sounds, count=1_000, seed=0)
    mixes.compose(4).texts[0]  # "a dog then two snares overlapping"

What is notable here:

- A mix has one to three parts, each of one source that sounds one to three times. Among several there is always a
  drum: on kits never heard no caption is right by the effects alone.
- The sounds of a part follow each other with a short gap. The next part begins a longer gap after the last of them,
  or, in a mix that overlaps, while it sounds. Nothing in between: a caption is never a matter of taste.
- Every caption has several wordings (`mix_grammar.captions`). An item has one of them, drawn anew for each.
- All follows from (seed, epoch, index). Descriptions of several parts are divided by their sha1 into those that
  training composes and those that only the test does.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
import torch

from .compose import DRAWS, Stage, is_held_out
from .data import Augmentation
from .mix_grammar import COUNTS, FAMILIES, MOST_PARTS, MOST_SOUNDS, WORDINGS, Description, Part, captions
from .mix_sounds import SAMPLING_RATE, MixSound

ANY_PARTS = (Stage(1.0, 1, MOST_PARTS),)
SHORTEST = 0.7  # seconds of a clip: a CTC head every 40 ms has a column for every word of the longest caption


@dataclass(frozen=True)
class MixSpread:
    """How much mixes vary; times in seconds.

    Args:
        ends: silence before the first sound and after the last.
        between_sounds: gap between two sounds of a part.
        between_parts: gap between two parts that do not overlap.
        into: share of a sound after which the next part begins, in a mix that overlaps.
        gain_db: each part is up to this much louder or softer.
        peak_db: lowest and highest level of a mix's loudest sample, in dB of full scale.
        snr_db: lowest and highest ratio of the mix to the white noise added, in dB.
        speeds: factors of tempo and pitch, one drawn per part of drums. Kits vary; an effect is the one recording.
    """

    ends: tuple[float, float] = (0.1, 0.3)
    between_sounds: tuple[float, float] = (0.04, 0.12)
    between_parts: tuple[float, float] = (0.15, 0.35)
    into: tuple[float, float] = (0.35, 0.65)
    gain_db: float = 4.0
    peak_db: tuple[float, float] = (-20.0, -1.0)
    snr_db: tuple[float, float] = (25.0, 50.0)
    speeds: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class Sounding:
    """A sound of a mix: its source, and from when to when it sounds, in seconds."""

    source: str
    start: float
    end: float


@dataclass(frozen=True, eq=False)
class DescribedMix:
    """A clip.

    Attributes:
        audio: mono float32 `(samples,)` at 16 kHz.
        told: what was mixed.
        sounds: every sound, in the order in which they begin.
        kits: of the drums, in that order.
    """

    audio: np.ndarray
    told: Description
    sounds: tuple[Sounding, ...]
    kits: tuple[str, ...]

    @property
    def texts(self) -> list[str]:
        """The captions, the canonical wording first."""
        return captions(self.told)

    @property
    def transcript(self) -> str:
        """A word for every sound, in the order in which they begin, as one counts along: "dog snare two three"."""
        words, heard = [], Counter[str]()
        for sound in self.sounds:
            heard[sound.source] += 1
            words.append(sound.source if heard[sound.source] == 1 else COUNTS[heard[sound.source] - 1])
        return " ".join(words)


class MixCaptions(torch.utils.data.Dataset):
    """`count` mixes as items for `SpeechCollator`, each made when it is asked for.

    Args:
        sounds: what is mixed, drums and effects.
        count: mixes.
        seed: with epoch and index, what a mix follows from.
        processor: an `AuralProcessor` of 16 kHz; None where only `compose` is asked.
        stages: how many parts, over the items in order.
        held_out: only descriptions that training never composes (True), or only the others (False). A single part is
            no arrangement: training knows them all, and the test has none.
        group: consecutive items that share their number of parts, so that a batch read in order has little padding.
        spread: how much mixes vary.
        augment_features: changes features `(frames, mels)`, drawing only from the generator that it is handed.
        wordings: how many of a caption's wordings items draw from, the canonical one first.
        transcripts: the share of items, from the first on, whose text is the mix's `transcript` and no caption. All
            items then have it as `ctc_targets` too. None: no transcripts.

    Raises:
        ValueError: no drum or too few sources, a count or group below 1, stages that do not end at 1 or ask for other
            numbers of parts, or a processor of another rate.
    """

    def __init__(
        self,
        sounds: Sequence[MixSound],
        count: int,
        seed: int,
        processor: Any = None,
        stages: Sequence[Stage] = ANY_PARTS,
        held_out: bool = False,
        group: int = 1,
        spread: MixSpread | None = None,
        augment_features: Augmentation | None = None,
        wordings: int = len(WORDINGS),
        transcripts: float | None = None,
    ) -> None:
        self.by_source: dict[str, dict[str, list[MixSound]]] = {}  # and by kit
        for sound in sounds:
            self.by_source.setdefault(sound.source, {}).setdefault(sound.kit, []).append(sound)
        self.drums = sorted(source for source in self.by_source if source in FAMILIES)
        if not self.drums or len(self.by_source) < MOST_PARTS:
            raise ValueError(
                f"sounds are of {sorted(self.by_source)}; a drum and {MOST_PARTS} sources at least are needed"
            )
        if count < 1 or group < 1:
            raise ValueError(f"count={count}, group={group}; both must be at least 1")
        _check_stages(stages, held_out)
        if processor is not None and (rate := processor.feature_extractor.sampling_rate) != SAMPLING_RATE:
            raise ValueError(f"processor is for {rate} Hz; the sounds have {SAMPLING_RATE}")
        self.count, self.seed, self.processor, self.stages = count, seed, processor, tuple(stages)
        self.held_out, self.group, self.spread = held_out, group, spread or MixSpread()
        if not 1 <= wordings <= len(WORDINGS):
            raise ValueError(f"wordings={wordings} must be from 1 to {len(WORDINGS)}")
        if transcripts is not None and not 0 <= transcripts <= 1:
            raise ValueError(f"transcripts={transcripts} must be from 0 to 1, or None")
        self.augment_features, self.wordings, self.transcripts = augment_features, wordings, transcripts
        self._at_speed: dict[tuple[int, float], np.ndarray] = {}
        # In shared memory, so that workers kept over epochs see the change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that mixes follow from; Accelerate's loaders and `EpochCallback` call it.

        Args:
            epoch: from 0. A test set stays at 0.
        """
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        mix = self.compose(index)
        rng = self._generator(index, 1)
        text = mix.texts[rng.integers(min(self.wordings, len(mix.texts)))]
        if self.transcripts is not None and index < self.transcripts * self.count:
            text = mix.transcript
        # Not padded, whatever the extractor's default is: the collator pads, and knows then what is padding.
        item = self.processor(audio=mix.audio, sampling_rate=SAMPLING_RATE, text=text, audio_kwargs={"padding": False})
        features = item["input_features"][0]
        if self.augment_features is not None:
            features = self.augment_features(features, rng)
        told = {"input_features": features, "labels": item["labels"]}
        if self.transcripts is not None:
            told["ctc_targets"] = self.processor(text=mix.transcript)["labels"]
        return told

    def _generator(self, index: int, *purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, int(self._epoch), index, *purpose))

    def compose(self, index: int) -> DescribedMix:
        """Mix `index`: its audio, what was mixed, and when each sound sounds.

        Raises:
            IndexError: there is no such mix.
            ValueError: the sounds give no description of the kind that is asked for.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"index={index} must be in [0, {self.count})")
        rng = self._generator(index)
        told = self._draw(rng, self._number_of_parts(index))
        drawn = [self._sound(rng, part.source) for part in told.parts]
        audio, sounds = self._mixed(rng, told, [wave for _, wave in drawn])
        return DescribedMix(audio, told, sounds, tuple(kit for kit, _ in drawn if kit))

    def _number_of_parts(self, index: int) -> int:
        group = index // self.group
        stage = next(stage for stage in self.stages if group * self.group / self.count < stage.until)
        return int(self._generator(group, 2).integers(stage.fewest, stage.most + 1))

    def _draw(self, rng: np.random.Generator, number: int) -> Description:
        for _ in range(DRAWS):
            effects = sorted(self.by_source.keys() - set(self.drums))
            if number == 1:
                drums = int(rng.random() < len(self.drums) / len(self.by_source))  # any source
            else:
                drums = int(rng.integers(1, number))  # at least one of each kind
            drums = min(max(drums, number - len(effects)), len(self.drums))
            sources = [*_some(rng, self.drums, drums), *_some(rng, effects, number - drums)]
            parts = tuple(Part(str(one), int(rng.integers(1, MOST_SOUNDS + 1))) for one in rng.permutation(sources))
            told = Description(parts, number > 1 and bool(rng.random() < 0.5))
            if number == 1 or is_held_out(captions(told)[0]) == self.held_out:
                return told
        raise ValueError(f"no description of {number} parts with held_out={self.held_out} found in {DRAWS} draws")

    def _sound(self, rng: np.random.Generator, source: str) -> tuple[str, np.ndarray]:
        """A kit that has the source, all alike likely, and the wave of one of its recordings."""
        kit = str(rng.choice(sorted(self.by_source[source])))
        sounds = self.by_source[source][kit]
        sound = sounds[rng.integers(len(sounds))]
        speed = float(rng.choice(self.spread.speeds)) if source in FAMILIES else 1.0
        if speed == 1.0:
            return kit, sound.audio
        key = (id(sound), speed)  # the sounds live as long as their mixes
        if key not in self._at_speed:
            self._at_speed[key] = soxr.resample(sound.audio, speed, 1.0, quality="MQ")
        return kit, self._at_speed[key]

    def _mixed(
        self, rng: np.random.Generator, told: Description, waves: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, tuple[Sounding, ...]]:
        """Audio `(samples,)`, and when each sound begins and ends."""
        spread, placed = self.spread, []  # (first sample, wave, source)
        start = _samples(rng, spread.ends)
        for part, wave in zip(told.parts, waves, strict=True):
            louder = 10 ** (rng.uniform(-spread.gain_db, spread.gain_db) / 20)
            step = len(wave) + _samples(rng, spread.between_sounds)
            placed += [(start + i * step, wave * np.float32(louder), part.source) for i in range(part.count)]
            last = placed[-1][0]
            if told.overlapping:
                start = last + round(rng.uniform(*spread.into) * len(wave))
            else:
                start = last + len(wave) + _samples(rng, spread.between_parts)
        end = max(first + len(wave) for first, wave, _ in placed)
        audio = np.zeros(max(end + _samples(rng, spread.ends), round(SHORTEST * SAMPLING_RATE)))
        for first, wave, _ in placed:
            audio[first : first + len(wave)] += wave
        audio *= 10 ** (rng.uniform(*spread.peak_db) / 20) / np.abs(audio).max()
        noise = np.sqrt(np.mean(audio**2)) * 10 ** (-rng.uniform(*spread.snr_db) / 20)
        audio += noise * rng.standard_normal(len(audio))
        times = sorted(
            (first / SAMPLING_RATE, (first + len(wave)) / SAMPLING_RATE, one) for first, wave, one in placed
        )
        return audio.astype(np.float32), tuple(Sounding(source, start, end) for start, end, source in times)


def _some(rng: np.random.Generator, names: Sequence[str], count: int) -> list[str]:
    return [str(name) for name in rng.choice(list(names), size=count, replace=False)] if count else []


def _samples(rng: np.random.Generator, seconds: tuple[float, float]) -> int:
    return round(rng.uniform(*seconds) * SAMPLING_RATE)


def _check_stages(stages: Sequence[Stage], held_out: bool) -> None:
    least = 2 if held_out else 1
    wrong = [stage for stage in stages if not least <= stage.fewest <= stage.most <= MOST_PARTS]
    if not stages or stages[-1].until != 1.0 or wrong:
        raise ValueError(
            f"stages={list(stages)} must end with until=1.0 and have {least} to {MOST_PARTS} parts "
            f"(held_out={held_out})"
        )
