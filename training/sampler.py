"""Batches of like lengths, and batches with as much of each class, in an order that a seed repeats.

transformers' `LengthGroupedSampler` and torch's `WeightedRandomSampler` draw from torch's global generator: a resumed
run sees other batches than an uninterrupted one. Here the order of an epoch follows from (seed, epoch) alone.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler

JITTER = 0.1  # lengths vary by this share while sorting, so that batches differ between epochs


class _SeededBatchSampler(Sampler[list[int]]):
    """Batches of `items` indices whose order follows from (seed, epoch)."""

    def __init__(self, items: int, batch_size: int, seed: int, drop_last: bool) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        if seed < 0:
            raise ValueError(f"seed is {seed}; it must not be negative")
        self.items = items
        self.batch_size = batch_size  # read by accelerate's BatchSamplerShard, as is drop_last
        self.drop_last = drop_last
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives.

        Args:
            epoch: from 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        whole, rest = divmod(self.items, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)


class LengthGroupedBatchSampler(_SeededBatchSampler):
    """Group indices of like lengths into batches and shuffle the batches.

    Per epoch, lengths are multiplied by 1 + u, u uniform in ±`JITTER`, and sorted; the sorted indices are cut into
    batches and the batches shuffled. Each index occurs exactly once. A short batch, if any, is cut at a random place
    of the sorted indices, so that it does not always hold the longest, and comes last: `accelerate` shards whole
    batches over processes and takes only the last for short.

    Args:
        lengths: one per item, in any unit (seconds, frames).
        batch_size: items per batch.
        seed: of the order, with the epoch.
        drop_last: leave the short batch out.

    Raises:
        ValueError: no lengths, a length that is negative or not finite, a batch size below 1, a negative seed.
    """

    def __init__(self, lengths: Sequence[float] | Any, batch_size: int, seed: int, drop_last: bool = False) -> None:
        self.lengths = numbers("lengths", lengths)
        super().__init__(len(self.lengths), batch_size, seed, drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        yield from _grouped(self.lengths, self.batch_size, generator, self.drop_last)


class ClassBalancedBatchSampler(_SeededBatchSampler):
    """Draw items by weight, with replacement, as many per epoch as there are.

    With `balancing_weights` every class is drawn equally often on average, as PSLA (Gong et al. 2021,
    arXiv:2102.01243) and AST train on AudioSet. Rare items come several times an epoch, common ones not in each.

    Args:
        weights: one per item, finite and not negative; only their proportions matter.
        batch_size: items per batch.
        seed: of the draws, with the epoch.
        drop_last: leave the short batch out.
        lengths: one per item: what was drawn is then cut into batches as `LengthGroupedBatchSampler` does it.

    Raises:
        ValueError: no weights, one that is negative or not finite, none above 0, as many lengths as there are no
            weights, a batch size below 1, a negative seed.
    """

    def __init__(
        self,
        weights: Sequence[float] | Any,
        batch_size: int,
        seed: int,
        drop_last: bool = False,
        lengths: Sequence[float] | Any = None,
    ) -> None:
        self.weights = numbers("weights", weights)
        if not self.weights.any():
            raise ValueError("weights are all 0; at least one must be above 0")
        self.lengths = None if lengths is None else numbers("lengths", lengths)
        if self.lengths is not None and len(self.lengths) != len(self.weights):
            raise ValueError(f"lengths has {len(self.lengths)} entries; expected {len(self.weights)}, one per weight")
        super().__init__(len(self.weights), batch_size, seed, drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        drawn = generator.choice(self.items, size=self.items, p=self.weights / self.weights.sum())
        if self.lengths is not None:
            for batch in _grouped(self.lengths[drawn], self.batch_size, generator, self.drop_last):
                yield drawn[batch].tolist()
            return
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield drawn[start : start + self.batch_size].tolist()


def balancing_weights(labels: Sequence[Sequence[int]]) -> np.ndarray:
    """Weights that make every class come equally often: the sum of 1 / (items of the class) over an item's classes.

    AST adds 0.01 to each count, against classes without items; here only the classes of some item are counted. Items
    without a class count as one class more, where AST never draws them.

    Args:
        labels: the classes of each item, none twice.

    Returns:
        float64 `(items,)`.
    """
    bare = -1  # the class of items without one
    classes = [list(item) or [bare] for item in labels]
    counts = Counter(one for item in classes for one in item)
    return np.array([sum(1 / counts[one] for one in item) for item in classes], dtype=np.float64)


def numbers(name: str, values: Any) -> np.ndarray:
    """Check what a sampler is given per item.

    Args:
        name: of the argument, for the errors.
        values: one per item.

    Returns:
        float64 `(items,)`.

    Raises:
        ValueError: no items, or a value that is negative or not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; expected (items,), at least one")
    wrong = np.flatnonzero(~np.isfinite(array) | (array < 0))
    if wrong.size:
        raise ValueError(f"{name}[{wrong[0]}] is {array[wrong[0]]}; it must be finite and not negative")
    return array


def _grouped(
    lengths: np.ndarray, batch_size: int, generator: np.random.Generator, drop_last: bool
) -> Iterator[list[int]]:
    """Batches of like lengths, shuffled, as `LengthGroupedBatchSampler` says."""
    factors = 1 + generator.uniform(-JITTER, JITTER, size=len(lengths))
    # The random second key makes equal lengths (all zero, say) change places too.
    order = np.lexsort((generator.random(len(lengths)), lengths * factors))
    whole, rest = divmod(len(order), batch_size)
    start = int(generator.integers(whole + 1)) * batch_size
    short, order = order[start : start + rest], np.delete(order, slice(start, start + rest))
    batches = order.reshape(whole, batch_size)
    for batch in generator.permutation(whole):
        yield batches[batch].tolist()
    if rest and not drop_last:
        yield short.tolist()
