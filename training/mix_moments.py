"""Described mixes as an encoder learns to hear them: for each time patch which source sounds, and how manieth it is.

    moments = MixMoments(mixes, config.patch_centers)
    moments[3]  # {"input_features": (frames, mels), "labels": (time patches, labels)}

What was mixed is known to the sample, so that every moment teaches; a caption says one thing about seconds of sound.
Counting is what a decoder is slow to learn from captions alone: so a sound is also labelled with its number among
those of its part, and with the number of its part.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from .event_scores import Event
from .mix_captions import MixCaptions
from .mix_grammar import MOST_PARTS, MOST_SOUNDS, SOURCES
from .mixes import frame_targets, step_edges

SOUNDS = tuple(f"sound {number} of its part" for number in range(1, MOST_SOUNDS + 1))
PARTS = tuple(f"part {number}" for number in range(1, MOST_PARTS + 1))
MOMENT_LABELS = (*SOURCES, *SOUNDS, *PARTS)


class MixMoments(torch.utils.data.Dataset):
    """Items for `SoundCollator` from the clips of `mixes`, each with labels for its time patches.

    Args:
        mixes: with a processor.
        patch_centers: from frames to the middle of each time patch in seconds: the config's.
    """

    def __init__(self, mixes: MixCaptions, patch_centers: Callable[[int], Sequence[float]]) -> None:
        self.mixes, self.patch_centers = mixes, patch_centers

    def set_epoch(self, epoch: int) -> None:
        """As of `mixes`."""
        self.mixes.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.mixes)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sounds, features = self.mixes.compose(index).sounds, self.mixes[index]["input_features"]
        seconds = len(features) * self.mixes.processor.feature_extractor.seconds_per_frame
        edges = step_edges(self.patch_centers(len(features)), seconds)
        return {"input_features": features, "labels": moment_targets(sounds, edges)}


def moment_targets(sounds: Sequence[Any], edges: np.ndarray) -> np.ndarray:
    """1 for each of `MOMENT_LABELS` that holds for a sound that fills most of a time patch: float32
    `(time patches, labels)`.

    Args:
        sounds: with `source`, `start` and `end` in seconds, in the order in which they begin.
        edges: `(time patches + 1,)` seconds.
    """
    parts, events = list(dict.fromkeys(sound.source for sound in sounds)), []
    counts = dict.fromkeys(parts, 0)
    for sound in sounds:
        labels = (sound.source, SOUNDS[counts[sound.source]], PARTS[parts.index(sound.source)])
        events += [Event(label, sound.start, sound.end) for label in labels]
        counts[sound.source] += 1
    return frame_targets(events, edges, MOMENT_LABELS)
