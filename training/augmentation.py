"""Changes of sounds in training, each drawn from the generator that it is handed (`data.Augmentation`)."""

from dataclasses import dataclass

import numpy as np

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
