"""Drum hits that sound together: clips of 1 to 4 sounds at once, with exact times, composed when they are asked for.

    hits = load_drums("drums", folds=[1, 2, 3, 4])
    mixes = DrumMixes(hits, count=1_000, seed=0)
    mixes.compose(3).events  # [Event(label="kick", onset=0.52, offset=0.82), …]

What is notable here:

- "At once" is meant: all sounds of a mix have begun before half of the shortest of them is over.
- An event lasts from its stroke for as long as its hit, but 0.3 s at most: a stroke has a clear beginning, while the
  end of a cymbal depends on who listens.
- Item `i` has 1 + i mod 4 sounds, so that every number of sounds is measured on equally many clips; all else follows
  from (seed, epoch, i), whichever process makes it and in whatever order.
- Which kits are heard is the caller's choice, by the hits that are handed over: kits held out stay out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
import torch

from .data import Augmentation
from .drum_labels import LABELS
from .drums import SAMPLING_RATE, DrumHit, find_onset
from .event_scores import Event

EVENT_SECONDS = 0.3  # longest length of an event
SECONDS = 2.0  # of a clip
MOST = 4  # sounds at once
LEAD = 0.05  # seconds of a clip before the first sound can begin
TOGETHER = 0.5  # share of the shortest event in which all sounds begin


@dataclass(frozen=True)
class MixOptions:
    """How much mixes vary.

    Args:
        gain_db: each hit is brought to one loudness (root mean square over its event) and then made up to this much
            louder or softer, in dB.
        peak_db: lowest and highest level of a mix's loudest sample, in dB of full scale.
        snr_db: lowest and highest ratio of the mix, over the events' time, to the white noise added, in dB.
        speeds: factors of tempo and pitch, one drawn per hit.
    """

    gain_db: float = 6.0
    peak_db: tuple[float, float] = (-20.0, -1.0)
    snr_db: tuple[float, float] = (25.0, 50.0)
    speeds: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, eq=False)
class Mix:
    """A clip.

    Attributes:
        audio: mono float32 `(samples,)` at 16 kHz.
        events: by onset; each of another label.
        sounds: how many of them sound at once: all.
    """

    audio: np.ndarray
    events: list[Event]
    sounds: int


class HitDrawer:
    """Hits at random: a label, then one of the kits that have it, then one of its hits.

    Args:
        hits: to draw from.
        speeds: factors of tempo and pitch, one drawn per hit.
        power: a label, and a kit that has it, is as likely as its number of hits to this power. By default all labels
            are alike, and their kits: those of many layers would else be most of what is heard. 1 draws all hits
            alike.
    """

    def __init__(self, hits: Sequence[DrumHit], speeds: Sequence[float] = (1.0,), power: float = 0.0) -> None:
        self.by_label: dict[str, dict[str, list[DrumHit]]] = {}
        for hit in hits:
            self.by_label.setdefault(hit.label, {}).setdefault(hit.kit, []).append(hit)
        self.speeds, self.power = tuple(speeds), power
        self._at_speed: dict[tuple[int, float], np.ndarray] = {}

    def draw(self, rng: np.random.Generator, count: int) -> list[tuple[str, np.ndarray]]:
        """`count` labels, none twice, and for each the waveform `(samples,)` of a hit."""
        names = sorted(self.by_label)
        sizes = [sum(map(len, self.by_label[name].values())) for name in names]
        labels = rng.choice(names, size=count, replace=False, p=self._shares(sizes))
        drawn = []
        for label in labels:
            kits = self.by_label[label]
            names = sorted(kits)
            kit = names[rng.choice(len(names), p=self._shares([len(kits[name]) for name in names]))]
            drawn.append(kits[kit][rng.integers(len(kits[kit]))])
        return [(hit.label, self._wave(hit, float(rng.choice(self.speeds)))) for hit in drawn]

    def _shares(self, sizes: Sequence[int]) -> np.ndarray | None:
        """How likely each is; None where all are alike."""
        weights = np.asarray(sizes, dtype=np.float64) ** self.power
        return weights / weights.sum() if self.power else None

    def _wave(self, hit: DrumHit, speed: float) -> np.ndarray:
        """The hit played at another speed; kept, since resampling costs more than the rest of a mix."""
        if speed == 1.0:
            return hit.audio
        key = (id(hit), speed)  # the hits live as long as their drawer
        if key not in self._at_speed:
            self._at_speed[key] = soxr.resample(hit.audio, speed, 1.0, quality="MQ")
        return self._at_speed[key]


class DrumMixes(torch.utils.data.Dataset):
    """`count` mixes as training items, each made when it is asked for.

    An item has `labels`: `(labels,)` float32, 1 for what is heard, or with `edges` `(steps, labels)`; `events`,
    `sounds`; and `input_features` `(frames, mels)` or, without a feature extractor, `audio` `(samples,)`.

    Args:
        hits: what is mixed, as `load_drums` gives it.
        feature_extractor: a `LogMelFeatureExtractor` of 16 kHz.
        count: number of mixes.
        seed: with epoch and index, what a mix follows from.
        edges: seconds at which the time steps of frame labels begin, and at which the last ends, `(steps + 1,)`; see
            `step_edges`. None for labels per clip.
        labels: names by id, as in the model.
        seconds: length of a clip.
        most: highest number of sounds at once.
        options: how much mixes vary.
        augment_features: changes features `(frames, mels)`, drawing only from the generator that it is handed.

    Raises:
        ValueError: `hits` have fewer than `most` labels or one that is not in `labels`; a clip too short for its
            events; a feature extractor of another rate; `count` or `most` below 1.
    """

    def __init__(
        self,
        hits: Sequence[DrumHit],
        count: int,
        seed: int,
        feature_extractor: Any = None,
        edges: Sequence[float] | np.ndarray | None = None,
        labels: Sequence[str] = LABELS,
        seconds: float = SECONDS,
        most: int = MOST,
        options: MixOptions | None = None,
        augment_features: Augmentation | None = None,
    ) -> None:
        self.options, self.augment_features = options or MixOptions(), augment_features
        self._drawer = HitDrawer(hits, self.options.speeds)
        if unknown := sorted(self._drawer.by_label.keys() - set(labels)):
            raise ValueError(f"hits have the labels {', '.join(unknown)}, which are not among {', '.join(labels)}")
        if count < 1 or not 1 <= most <= len(self._drawer.by_label):
            allowed = f"count at least 1, most from 1 to {len(self._drawer.by_label)}, the labels that the hits have"
            raise ValueError(f"count={count}, most={most}; allowed are {allowed}")
        if seconds < (least := LEAD + (1 + TOGETHER) * EVENT_SECONDS):
            raise ValueError(f"seconds={seconds}; a clip whose events fit in has at least {least:g}")
        if feature_extractor is not None and feature_extractor.sampling_rate != SAMPLING_RATE:
            raise ValueError(
                f"feature_extractor is for {feature_extractor.sampling_rate} Hz; hits have {SAMPLING_RATE}"
            )
        self.count, self.seed, self.feature_extractor = count, seed, feature_extractor
        self.edges = None if edges is None else np.asarray(edges, dtype=np.float64)
        self.labels, self.seconds, self.most = tuple(labels), seconds, most
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
        item: dict[str, Any] = {"events": mix.events, "sounds": mix.sounds}
        if self.edges is None:
            item["labels"] = clip_target(mix.events, self.labels)
        else:
            item["labels"] = frame_targets(mix.events, self.edges, self.labels)
        if self.feature_extractor is None:
            return {**item, "audio": mix.audio}
        # Not padded, whatever the extractor's default is: the collator pads, and knows then what is padding.
        features = self.feature_extractor(mix.audio, sampling_rate=SAMPLING_RATE, padding=False)["input_features"][0]
        if self.augment_features is not None:
            generator = np.random.default_rng((self.seed, int(self._epoch), index, 1))
            features = self.augment_features(features, generator)
        return {**item, "input_features": features}

    def compose(self, index: int) -> Mix:
        """Mix `index`: its audio, its events, and how many of them sound at once.

        Raises:
            IndexError: there is no such mix.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"index={index} must be in [0, {self.count})")
        rng = np.random.default_rng((self.seed, int(self._epoch), index))
        drawn = self._drawer.draw(rng, 1 + index % self.most)
        waves = [wave for _, wave in drawn]
        lengths = [_event_samples(wave) for wave in waves]
        spread = int(TOGETHER * min(lengths))
        latest = round((self.seconds - EVENT_SECONDS) * SAMPLING_RATE) - spread
        first = int(rng.integers(round(LEAD * SAMPLING_RATE), latest + 1))
        audio = np.zeros(round(self.seconds * SAMPLING_RATE))
        events = []
        for (label, wave), length in zip(drawn, lengths, strict=True):
            onset = first + int(rng.integers(spread + 1))
            _add(audio, _leveled(wave, length, rng.uniform(-1, 1) * self.options.gain_db), onset)
            events.append(Event(label, onset / SAMPLING_RATE, (onset + length) / SAMPLING_RATE))
        events.sort(key=lambda event: (event.onset, event.label))
        return Mix(self._finished(audio, events, rng), events, len(events))

    def _finished(self, audio: np.ndarray, events: list[Event], rng: np.random.Generator) -> np.ndarray:
        """The sum of the hits at the level that is drawn, with noise."""
        peak = 10 ** (rng.uniform(*self.options.peak_db) / 20)
        audio = audio * (peak / np.abs(audio).max())
        start, stop = (
            round(events[0].onset * SAMPLING_RATE),
            round(max(e.offset or 0.0 for e in events) * SAMPLING_RATE),
        )
        noise = np.sqrt(np.mean(audio[start:stop] ** 2)) * 10 ** (-rng.uniform(*self.options.snr_db) / 20)
        return (audio + noise * rng.standard_normal(len(audio))).astype(np.float32)


def clip_target(events: Sequence[Event], labels: Sequence[str]) -> np.ndarray:
    """1 for each label that an event has, `(labels,)` float32.

    Raises:
        ValueError: an event's label is not among `labels`.
    """
    target = np.zeros(len(labels), dtype=np.float32)
    for event in events:
        target[_id(event, labels)] = 1.0
    return target


def frame_targets(events: Sequence[Event], edges: Sequence[float] | np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """1 where an event of a label fills at least half of a time step, or half of the event is in it.

    Every event inside the edges has a step; if the event is as long as a step or longer, the first of its steps begins
    at most half a step off its onset.

    Args:
        events: of one clip, with offsets.
        edges: `(steps + 1,)` seconds: step t lasts from `edges[t]` to `edges[t + 1]`, as `find_events` has it.
        labels: names by id.

    Returns:
        `(steps, labels)` float32.

    Raises:
        ValueError: edges that do not rise, an event without an offset, or whose label is not among `labels`.
    """
    edges = np.asarray(edges, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"edges of shape {edges.shape} must be rising seconds (steps + 1,), at least 2")
    targets = np.zeros((len(edges) - 1, len(labels)), dtype=np.float32)
    for event in events:
        if event.offset is None:
            raise ValueError(f"{event} has no offset: which steps it fills is not known")
        shared = np.minimum(event.offset, edges[1:]) - np.maximum(event.onset, edges[:-1])  # (steps,)
        needed = np.minimum(np.diff(edges), event.offset - event.onset) / 2
        targets[(shared > 0) & (shared >= needed), _id(event, labels)] = 1.0
    return targets


def step_edges(centers: Sequence[float], seconds: float) -> np.ndarray:
    """Edges `(steps + 1,)` of time steps around `centers`, such as a config's `patch_centers`, in a clip of `seconds`.

    Patches may overlap or leave out the clip's ends; steps do neither: they meet midway between centers.

    Raises:
        ValueError: centers that do not rise within the clip.
    """
    middle = np.asarray(centers, dtype=np.float64)
    if not len(middle) or not (np.diff([0.0, *middle, seconds]) > 0).all():
        raise ValueError(f"centers={list(centers)} must rise within 0 to {seconds} seconds")
    return np.concatenate([[0.0], (middle[1:] + middle[:-1]) / 2, [seconds]])


def _event_samples(audio: np.ndarray) -> int:
    return min(len(audio) - find_onset(audio), round(EVENT_SECONDS * SAMPLING_RATE))


def _leveled(audio: np.ndarray, length: int, gain_db: float) -> np.ndarray:
    """A hit with a root mean square of 1 over the `length` samples of its event, and then the gain."""
    onset = find_onset(audio)
    level = np.sqrt(np.mean(audio[onset : onset + length].astype(np.float64) ** 2))
    return audio / level * 10 ** (gain_db / 20)


def _add(audio: np.ndarray, hit: np.ndarray, onset: int) -> None:
    """Add a hit so that its own onset falls on sample `onset`; what rings on after the clip's end is cut off."""
    hit = hit[max(0, find_onset(hit) - onset) :]
    start = onset - find_onset(hit)
    stop = min(len(audio), start + len(hit))
    audio[start:stop] += hit[: stop - start]


def _id(event: Event, labels: Sequence[str]) -> int:
    if event.label not in labels:
        raise ValueError(f"{event} has a label that is not among {', '.join(labels)}")
    return list(labels).index(event.label)
