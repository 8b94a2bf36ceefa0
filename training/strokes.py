"""Single drum hits for training, each heard in a new way: another speed, damped, blended with another, in some noise.

strokes = DrumStrokes(load_drums("drums", folds=[1, 2, 3, 4]), feature_extractor, count=10_000, seed=0)
strokes[3]  # {"input_features": (frames, mels), "labels": (labels,)}, labels that sum to 1
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .data import Augmentation
from .drum_labels import LABELS
from .drums import SAMPLING_RATE, DrumHit
from .mixes import HitDrawer
from .mixup import mix_labels

LEAST = 800  # samples of a damped hit, 50 ms


@dataclass(frozen=True)
class StrokeOptions:
    """How much hits vary.

    Args:
        speeds: factors of tempo and pitch.
        damped: share of the hits that are faded out early, after 40 to 100% of their length.
        blended: share of the hits that are blended with another one, by Beta(`alpha`, `alpha`) of the energy and of
            the label (mixup, arXiv:1710.09412).
        alpha: see `blended`.
        lead: shortest and longest time before the stroke, in seconds.
        peak_db: lowest and highest level of the loudest sample, in dB of full scale.
        noise_db: lowest and highest level of white noise, in dB of full scale.
        smoothing: share of a label that is spread over all.
        power: of the number of hits, which labels and kits are as likely as; see `HitDrawer`. The square root is
            midway: hits are met nearly as they come, and rare ones not too rarely.
    """

    speeds: tuple[float, ...] = tuple(2 ** (step / 16) for step in range(-2, 3))
    damped: float = 0.3
    blended: float = 0.3
    alpha: float = 0.5
    lead: tuple[float, float] = (0.0125, 0.1)
    peak_db: tuple[float, float] = (-12.0, -8.0)
    noise_db: tuple[float, float] = (-85.0, -50.0)
    smoothing: float = 0.05
    power: float = 0.5


class DrumStrokes(torch.utils.data.Dataset):
    """`count` hits as items for `SoundCollator`, each made when it is asked for; all follow from (seed, epoch, index).

    Args:
        hits: to draw from, by `HitDrawer`.
        feature_extractor: a `LogMelFeatureExtractor` of 16 kHz.
        count: items.
        seed: with epoch and index, of what is drawn.
        labels: names by id.
        seconds: what is longer is cut off.
        options: how much hits vary.
        augment_features: changes features `(frames, mels)`, drawing only from the generator that it is handed.

    Raises:
        ValueError: no hits, `count` below 1, or a hit's label is not among `labels`.
    """

    def __init__(
        self,
        hits: Sequence[DrumHit],
        feature_extractor: Any,
        count: int,
        seed: int,
        labels: Sequence[str] = LABELS,
        seconds: float = 2.0,
        options: StrokeOptions | None = None,
        augment_features: Augmentation | None = None,
    ) -> None:
        self.options = options or StrokeOptions()
        self._drawer = HitDrawer(hits, self.options.speeds, self.options.power)
        if unknown := sorted(self._drawer.by_label.keys() - set(labels)):
            raise ValueError(f"hits have the labels {', '.join(unknown)}, which are not among {', '.join(labels)}")
        if not hits or count < 1:
            raise ValueError(f"{len(hits)} hits, count={count}; at least one of each is needed")
        self.feature_extractor, self.count, self.seed = feature_extractor, count, seed
        self.labels, self.seconds, self.augment_features = tuple(labels), seconds, augment_features
        # In shared memory, so that workers kept over epochs see the change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that items follow from; Accelerate's loaders and `EpochCallback` call it.

        Args:
            epoch: from 0.
        """
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.count:
            raise IndexError(f"index={index} must be in [0, {self.count})")
        rng = np.random.default_rng((self.seed, int(self._epoch), index))
        wave, target = self.compose(rng)
        features = self.feature_extractor(wave, sampling_rate=SAMPLING_RATE, padding=False)["input_features"][0]
        if self.augment_features is not None:
            features = self.augment_features(features, rng)
        smoothing = self.options.smoothing
        return {"input_features": features, "labels": target * (1 - smoothing) + smoothing / len(target)}

    def compose(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A stroke as drawn from `rng`: audio `(samples,)` float32, and its label `(labels,)`, softly if blended."""
        options = self.options
        wave, target = self._hit(rng)
        if rng.random() < options.blended:
            other, other_target = self._hit(rng)
            share = rng.beta(options.alpha, options.alpha)
            both = np.zeros(max(len(wave), len(other)))
            both[: len(wave)] += np.sqrt(share) * wave
            both[: len(other)] += np.sqrt(1 - share) * other
            wave, target = both, mix_labels(target, other_target, share)
        lead = rng.uniform(*options.lead)
        wave = np.concatenate([np.zeros(round(lead * SAMPLING_RATE)), wave])[: round(self.seconds * SAMPLING_RATE)]
        wave = wave / max(np.abs(wave).max(), 1e-9) * 10 ** (rng.uniform(*options.peak_db) / 20)
        noise = 10 ** (rng.uniform(*options.noise_db) / 20) * rng.standard_normal(len(wave))
        return (wave + noise).astype(np.float32), target

    def _hit(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One hit with its loudest sample at 1, perhaps damped, and its label."""
        ((label, wave),) = self._drawer.draw(rng, 1)
        wave = wave / max(float(np.abs(wave).max()), 1e-9)
        if rng.random() < self.options.damped:
            wave = wave[: max(LEAST, int(len(wave) * rng.uniform(0.4, 1.0)))]
            wave = wave * np.sqrt(np.linspace(1, 0, len(wave)))
        target = np.zeros(len(self.labels), dtype=np.float32)
        target[self.labels.index(label)] = 1.0
        return wave, target
