"""Batches of like lengths, in an order that a seed repeats.

transformers' `LengthGroupedSampler` draws from torch's global generator: a resumed run sees other batches than an
uninterrupted one. Here the order of an epoch follows from (seed, epoch) alone.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler

JITTER = 0.1  # lengths vary by this share while sorting, so that batches differ between epochs


class LengthGroupedBatchSampler(Sampler[list[int]]):
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
        self.lengths = np.asarray(lengths, dtype=np.float64)
        if self.lengths.ndim != 1 or self.lengths.size == 0:
            raise ValueError(f"lengths has shape {self.lengths.shape}; expected (items,), at least one")
        wrong = np.flatnonzero(~np.isfinite(self.lengths) | (self.lengths < 0))
        if wrong.size:
            raise ValueError(f"lengths[{wrong[0]}] is {self.lengths[wrong[0]]}; it must be finite and not negative")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        if seed < 0:
            raise ValueError(f"seed is {seed}; it must not be negative")
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
        whole, rest = divmod(len(self.lengths), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        factors = 1 + generator.uniform(-JITTER, JITTER, size=len(self.lengths))
        # The random second key makes equal lengths (all zero, say) change places too.
        order = np.lexsort((generator.random(len(self.lengths)), self.lengths * factors))
        whole, rest = divmod(len(order), self.batch_size)
        start = int(generator.integers(whole + 1)) * self.batch_size
        short, order = order[start : start + rest], np.delete(order, slice(start, start + rest))
        batches = order.reshape(whole, self.batch_size)
        for batch in generator.permutation(whole):
            yield batches[batch].tolist()
        if rest and not self.drop_last:
            yield short.tolist()
