"""Changes of sounds in training, each drawn from the generator that it is handed (`data.Augmentation`)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from .data import Augmentation

NEPERS = np.log(10) / 10  # of energy, per dB: what log-mel features are measured in


@dataclass(frozen=True)
class RandomEqualizer:
    """Another room, microphone or instrument: a smooth curve over frequency, added to log-mel features.

    Args:
        db: standard deviation of the curve at its points, in dB.
        std: what the features were divided by after the log: an extractor's `std`, 1 for those as they are.
        points: where the curve is drawn, evenly over the mels; linear between them.

    Raises:
        ValueError: `db` below 0, `std` not above 0, fewer than 2 points.
    """

    db: float
    std: float = 1.0
    points: int = 6

    def __post_init__(self) -> None:
        if not 0 <= self.db < np.inf or not 0 < self.std < np.inf or self.points < 2:
            raise ValueError(f"db={self.db}, std={self.std}, points={self.points}; allowed are 0 up, above 0, 2 up")

    def __call__(self, features: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Features `(frames, mels)` with the curve added, the same in every frame."""
        curve = generator.normal(0.0, self.db * NEPERS / self.std, self.points)
        mels = features.shape[1]
        places = np.linspace(0, self.points - 1, mels)
        return features + np.interp(places, np.arange(self.points), curve).astype(np.float32)


@dataclass(frozen=True)
class RandomSpeed:
    """Play faster or slower, pitch and all: speed perturbation (Ko et al. 2015, "Audio augmentation for speech").

    Args:
        factors: One is drawn per clip, all alike often; 1.1 is a tenth faster and so shorter.
        resolution: Factors are rounded to 1 / resolution.

    Raises:
        ValueError: No factors, or one that is not above 0.
    """

    factors: Sequence[float] = (0.9, 1.0, 1.1)
    resolution: int = 1000

    def __post_init__(self) -> None:
        if not self.factors or not all(0 < factor < np.inf for factor in self.factors):
            raise ValueError(f"factors is {self.factors!r}; expected numbers above 0, such as 0.9, 1.0, 1.1")

    def __call__(self, wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """A waveform `(samples,)` of about `samples / factor`."""
        factor = self.factors[int(generator.integers(len(self.factors)))]
        if factor == 1:
            return wave
        return soxr.resample(wave, round(factor * self.resolution), self.resolution, quality="MQ")


@dataclass(frozen=True)
class RandomGain:
    """Nearer or farther: the level changes.

    Args:
        db: Standard deviation, in dB.

    Raises:
        ValueError: `db` below 0.
    """

    db: float

    def __post_init__(self) -> None:
        if not 0 <= self.db < np.inf:
            raise ValueError(f"db is {self.db}; it must be 0 or more")

    def __call__(self, wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """The waveform `(samples,)`, louder or softer."""
        return wave * np.float32(10 ** (generator.normal(0.0, self.db) / 20))


@dataclass(frozen=True)
class RandomNoise:
    """White noise below the sound.

    Args:
        low, high: The signal-to-noise ratio in dB is drawn between them, over the clip's mean energy.

    Raises:
        ValueError: `low` above `high`.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not -np.inf < self.low <= self.high < np.inf:
            raise ValueError(f"low={self.low}, high={self.high}; expected finite dB, the lower first")

    def __call__(self, wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """The waveform `(samples,)` with noise added."""
        ratio = generator.uniform(self.low, self.high)
        level = np.sqrt(np.mean(wave.astype(np.float64) ** 2)) * 10 ** (-ratio / 20)
        return wave + (level * generator.standard_normal(len(wave))).astype(np.float32)


@dataclass(frozen=True)
class InTurn:
    """Several changes, one after the other, from one generator.

    Args:
        changes: Each called with what the one before it gave.
    """

    changes: Sequence[Augmentation]

    def __call__(self, values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """What the last change gives."""
        for change in self.changes:
            values = change(values, generator)
        return values
