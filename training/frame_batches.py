"""Batches by total frames: as many clips of like lengths as fit, the same clips per step on one process or several.

What is notable here:

1. **A step is planned whole**, for all processes together, and then dealt out: every process gets as many batches, and
   one process with twice the frames sees, step by step, the clips that two processes see.
2. **The plan is one for all epochs**, so that an epoch has as many steps as the Trainer counted before the first.
   Lengths are put into narrow buckets; the plan knows the buckets alone, and an epoch draws which clip of a bucket
   stands where. No batch is over its budget in any epoch.
3. **Weights** draw by systematic sampling (Madow 1949): a clip of weight w comes N w / sum(w) times an epoch, rounded
   down or up, and exactly so on average; without weights each comes once.
4. What an epoch draws follows from (seed, epoch) alone.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from .sampler import numbers

BUCKET = 1.03  # the longest clip of a bucket over the shortest, at most
MULTIPLES = (8, 4)  # clips of a step come in these where at least four of them fit, else in pairs


class FrameBatchSampler(Sampler[list[int]]):
    """Batches whose clips times their longest are at most `frames_per_batch`, the batches of a step one by one.

    Batch `step * processes + process` is for that process: what accelerate's `BatchSamplerShard` makes of it with
    `split_batches=False`. The clips of a step are sorted and cut into `processes` parts of equal size, or of sizes
    that differ by one at an epoch's end; which process has the longest is drawn. With fewer clips at an epoch's end
    than processes, some come twice: a process without a batch would keep the others waiting.

    Steps are the same on 1 and 2 processes with the same total budget; on 4 and 8 where every process has room for
    four clips of any length.

    Args:
        lengths: Frames of each item.
        frames_per_batch: Frames of a padded batch, at most.
        seed: Of the order, with the epoch.
        processes: How many share a step.
        weights: One per item, finite and not negative, to draw by; None: each once.
        max_clips: Of a batch, whatever their lengths; None: any number.

    Raises:
        ValueError: No lengths, one that is negative or not finite or longer than a batch; not as many weights, one
            that is negative or not finite, none above 0; a number below 1, or a negative seed.
    """

    batch_size = None  # batches differ in size: so accelerate counts batches, not clips
    drop_last = False  # no batch is short by chance

    def __init__(
        self,
        lengths: Sequence[float] | Any,
        frames_per_batch: int,
        seed: int,
        processes: int = 1,
        weights: Sequence[float] | Any = None,
        max_clips: int | None = None,
    ) -> None:
        least = {"frames_per_batch": frames_per_batch, "processes": processes, "max_clips": max_clips}
        for name, value in least.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if seed < 0:
            raise ValueError(f"seed is {seed}; it must not be negative")
        self.lengths = numbers("lengths", lengths)
        longest = int(self.lengths.argmax())
        if self.lengths[longest] > frames_per_batch:
            raise ValueError(
                f"item {longest} has {self.lengths[longest]:g} frames; frames_per_batch is {frames_per_batch}: "
                "allow more, or leave such items out"
            )
        self.weights = None if weights is None else _shares(weights, len(self.lengths))
        self.frames_per_batch = frames_per_batch
        self.processes = processes
        self.seed = seed
        self.epoch = 0
        self._buckets = _buckets(self.lengths)
        self._bounds = self._planned_lengths()
        self._cuts = _plan(self._bounds, frames_per_batch * processes, processes, max_clips)

    def _planned_lengths(self) -> np.ndarray:
        """How long the clip that an epoch puts at each place can be at most: not rising, `(items,)`."""
        falling = np.argsort(-self._buckets, kind="stable")
        if self.weights is None:
            return self._buckets[falling]
        return self._buckets[falling[_places(self.weights[falling], 0.0)]]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration gives.

        Args:
            epoch: From 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches of an epoch, for all processes together."""
        return (len(self._cuts) - 1) * self.processes

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        drawn = self._drawn(generator)
        steps = list(pairwise(self._cuts))
        order = generator.permutation(len(steps))  # before anything is drawn that depends on the processes
        for start, end in (steps[step] for step in order):
            clips = np.resize(drawn[start:end], max(end - start, self.processes))
            parts = np.array_split(clips[np.argsort(-self.lengths[clips], kind="stable")], self.processes)
            for part in generator.permutation(self.processes):
                yield parts[part].tolist()

    def _drawn(self, generator: np.random.Generator) -> np.ndarray:
        """The epoch's clips, none longer than `_bounds` at its place."""
        falling = np.lexsort((generator.random(len(self.lengths)), -self._buckets))
        if self.weights is None:
            return falling
        drawn = falling[_places(self.weights[falling], generator.random())]
        # A clip that is drawn several times stands side by side with itself: mix those that share a bound.
        return drawn[np.lexsort((generator.random(len(drawn)), -self._bounds))]


def frame_lengths(dataset: Any, processing: Any) -> Sequence[int] | np.ndarray:
    """Frames of each item, for `FrameBatchSampler`, before augmentation changes them.

    Args:
        dataset: Offers `frames`, one number per item; or `durations` in seconds.
        processing: Turns seconds into frames: an extractor with `frame_count` and `sampling_rate`, or a processor that
            holds one as `feature_extractor`. The dataset's own, if it has one, goes before it.

    Raises:
        ValueError: There are neither `frames` nor `durations`, or no extractor.
    """
    if getattr(dataset, "frames", None) is not None:
        return dataset.frames
    durations = getattr(dataset, "durations", None)
    if durations is None:
        raise ValueError(
            f"frames_per_batch needs a training set that knows its lengths: `frames` or `durations`, one number per "
            f"item; {type(dataset).__name__} has neither"
        )
    for holder in (dataset, getattr(dataset, "processor", None), processing):
        extractor: Any = getattr(holder, "feature_extractor", holder)
        if hasattr(extractor, "frame_count"):
            rate = extractor.sampling_rate
            return np.array([extractor.frame_count(round(seconds * rate)) for seconds in durations])
    raise ValueError("frames_per_batch needs a feature extractor with `frame_count`: give it as processing_class")


def _shares(weights: Any, items: int) -> np.ndarray:
    """How often each item comes per epoch on average, float64 `(items,)`, summing to `items`."""
    array = numbers("weights", weights)
    if len(array) != items:
        raise ValueError(f"weights has {len(array)} entries; expected {items}, one per length")
    if not array.any():
        raise ValueError("weights are all 0; at least one must be above 0")
    return array / array.sum() * items


def _buckets(lengths: np.ndarray) -> np.ndarray:
    """For each item the longest of its bucket, `(items,)`; buckets reach from the longest clip down by `BUCKET`."""
    longest = max(1.0, lengths.max())
    bucket = np.floor(np.log(longest / np.maximum(lengths, 1.0)) / math.log(BUCKET)).astype(np.int64)
    bounds = np.zeros(bucket.max() + 1)
    np.maximum.at(bounds, bucket, np.maximum(lengths, 1.0))
    return bounds[bucket]


def _places(shares: np.ndarray, offset: float) -> np.ndarray:
    """Systematic sampling: which item covers the point k + `offset` of the line that shares make, k from 0."""
    ends = np.cumsum(shares)
    points = (np.arange(len(shares)) + offset) * (ends[-1] / len(shares))
    found = np.searchsorted(ends, points, side="right")
    return np.minimum(found, np.flatnonzero(shares)[-1])


def _plan(bounds: np.ndarray, budget: int, processes: int, max_clips: int | None) -> list[int]:
    """Where steps begin among `bounds`, which do not rise, and where the last ends.

    Args:
        bounds: Longest clip possible at each place, `(items,)`.
        budget: Frames of a step over all processes.
        processes: How many share a step.
        max_clips: Of a process.
    """
    cuts = [0]
    while cuts[-1] < len(bounds):
        most = int(budget // bounds[cuts[-1]])
        if max_clips is not None:
            most = min(most, max_clips * processes)
        cuts.append(cuts[-1] + _step_size(most, processes))
    if len(cuts) > 2 and cuts[-1] > len(bounds):  # the last two share what is left, neither a crumb
        unit = math.lcm(_unit(cuts[-2] - cuts[-3]), processes)
        half = math.ceil((len(bounds) - cuts[-3]) / 2 / unit) * unit
        cuts[-2] = min(cuts[-2], cuts[-3] + half)
    cuts[-1] = len(bounds)
    return cuts


def _unit(most: int) -> int:
    return next((unit for unit in MULTIPLES if most >= 4 * unit), 2 if most >= 2 else 1)


def _step_size(most: int, processes: int) -> int:
    """The largest number of clips up to `most` that can be dealt out to the processes evenly."""
    unit = math.lcm(_unit(most), processes)
    while unit > most:  # a multiple of an odd number of processes
        unit //= 2
    return most // unit * unit
