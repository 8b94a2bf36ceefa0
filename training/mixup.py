"""Mixup (Zhang et al. 2018, arXiv:1710.09412) of two clips and of their labels.

Waveforms are mixed as between-class learning does it (Tokozume et al. 2018, arXiv:1711.10282): each is first brought
to the loudness at which it is heard in the proportion of the labels, and the sum back to the energy of one clip. Here
loudness is the plain root mean square, theirs is A-weighted; means are taken out first, as AST does. Features are
mixed as they are.

Lengths may differ: the shorter clip is followed by silence, and the mix is as long as the longer one.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..processing.processor import IGNORED_LABEL

KINDS = ("waveform", "spectrogram")
SILENCE = 1e-7  # root mean square of full scale, -140 dB: nothing there to make as loud as another clip


@dataclass(frozen=True)
class Mixup:
    """Which clips are mixed, and how much; the defaults are those of PSLA (arXiv:2102.01243) and AST on AudioSet.

    Args:
        kind: "waveform" mixes with any other item of the dataset, which is then read too; "spectrogram" mixes the
            features of the batch in the collator, which costs nothing.
        alpha: the share of the first clip is drawn from Beta(alpha, alpha): 10 mixes about half and half, 0.3 leaves
            most clips nearly alone.
        share: of the items that are mixed at all, from 0 to 1.

    Raises:
        ValueError: an unknown kind, an alpha that is not above 0, a share outside 0 to 1.
    """

    kind: str = "waveform"
    alpha: float = 10.0
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; allowed are {', '.join(map(repr, KINDS))}")
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha is {self.alpha}; it must be above 0")
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is {self.share}; allowed is 0 to 1")

    def draw(self, generator: np.random.Generator) -> float:
        """The first clip's part of a mix, in [0, 1]; 1 for a clip that stays alone."""
        mixed, ratio = generator.random() < self.share, generator.beta(self.alpha, self.alpha)
        return float(ratio) if mixed else 1.0


def mix_waveforms(first: np.ndarray, second: np.ndarray, ratio: float) -> np.ndarray:
    """Two waveforms heard at `ratio` to `1 - ratio`.

    With levels g (root mean square over a clip's own length), the weight of the first is
    p = 1 / (1 + g1 / g2 * (1 - ratio) / ratio), and the mix (p x1 + (1 - p) x2) / sqrt(p^2 + (1 - p)^2): section 3.2
    of arXiv:1711.10282. Where one of them is silent, p is `ratio`.

    Args:
        first, second: `(samples,)`, of any lengths.
        ratio: in [0, 1].

    Returns:
        float32, as long as the longer of both.
    """
    first, second = (wave - wave.mean(dtype=np.float64) for wave in (first, second))
    levels = [float(np.sqrt(np.mean(wave**2))) for wave in (first, second)]
    weight = ratio
    if min(levels) > SILENCE:
        weight = ratio * levels[1] / (ratio * levels[1] + (1 - ratio) * levels[0])
    mixed = np.zeros(max(len(first), len(second)))
    mixed[: len(first)] += weight * first
    mixed[: len(second)] += (1 - weight) * second
    return (mixed / np.hypot(weight, 1 - weight)).astype(np.float32)


def mix_labels(first: np.ndarray, second: np.ndarray, ratio: float) -> np.ndarray:
    """`ratio` of the first labels and the rest of the second ones, `(labels,)` float32; 1 and 1 is exactly 1."""
    return second + np.float32(ratio) * (first - second)


def mix_batch(
    features: list[Tensor], labels: list[Tensor], draws: list[tuple[float, float]], padding_value: float = 0.0
) -> tuple[list[Tensor], list[Tensor]]:
    """Mix each clip of a batch with another one of it; a batch of one stays as it is.

    Args:
        features: `(frames, mels)` float32 each.
        labels: of each clip float32 `(labels,)` or `(time patches, labels)`, -100 where ignored.
        draws: of each clip its own part of the mix, in [0, 1], and which of the others it is mixed with, in [0, 1).
        padding_value: of features after a clip's end.

    Returns:
        Features and labels in the same form.
    """
    others = len(features) - 1
    if others == 0:
        return features, labels
    mixed_features, mixed_labels = [], []
    for index, (ratio, place) in enumerate(draws):
        other = (index + 1 + int(place * others)) % len(features)
        first, second = _same_length(features[index], features[other], padding_value)
        mixed_features.append(features[index] if ratio == 1 else torch.lerp(second, first, ratio))
        first, second = _same_length(labels[index], labels[other], 0.0)  # nothing sounds after a clip's end
        ignored = (first == IGNORED_LABEL) | (second == IGNORED_LABEL)
        mixed = torch.lerp(second, first, ratio).masked_fill(ignored, IGNORED_LABEL)
        mixed_labels.append(labels[index] if ratio == 1 else mixed)
    return mixed_features, mixed_labels


def _same_length(first: Tensor, second: Tensor, value: float) -> tuple[Tensor, Tensor]:
    """The shorter one padded along time, where there is time."""
    if first.dim() == 1:
        return first, second
    length = max(len(first), len(second))
    pad = torch.nn.functional.pad
    return pad(first, (0, 0, 0, length - len(first)), value=value), pad(
        second, (0, 0, 0, length - len(second)), value=value
    )
