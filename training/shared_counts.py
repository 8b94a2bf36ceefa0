"""Numbers that data workers add up and the process that started them reads, in shared memory, without a lock."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import get_worker_info

SLOTS = 65  # the process itself and 64 workers; each adds in a place of its own


def worker_slot() -> int:
    """Where this process adds: 0, or in a data worker 1 and up."""
    info = get_worker_info()
    return 0 if info is None else 1 + info.id % (SLOTS - 1)


class SharedCounts(Mapping[str, int]):
    """Counts by name over a process and its data workers; names that were never counted are not listed.

    Args:
        names: all that can be counted.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._counts = torch.zeros(SLOTS, len(self.names), dtype=torch.int64).share_memory_()

    def add(self, name: str, count: int = 1) -> None:
        """Count some more.

        Args:
            name: one of `names`.
            count: how many.
        """
        self._counts[worker_slot(), self.names.index(name)] += count

    def __getitem__(self, name: str) -> int:
        if name not in self.names or not (count := int(self._counts[:, self.names.index(name)].sum())):
            raise KeyError(name)
        return count

    def __iter__(self) -> Iterator[str]:
        counts = self._counts.sum(dim=0).tolist()
        return (name for name, count in zip(self.names, counts, strict=True) if count)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __deepcopy__(self, memo: dict[int, Any]) -> "SharedCounts":
        return self  # shared by copies too: a stream copies its filters

    def __repr__(self) -> str:
        return repr(dict(self))
