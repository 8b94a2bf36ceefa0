"""Where a process stands among those that do one job together."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """The processes that a launcher such as torchrun started for one job, on one node or several.

    Attributes:
        rank: This process, from 0.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def from_environment(cls) -> "World":
        """As `RANK` and `WORLD_SIZE` say; one process where there is neither.

        Raises:
            ValueError: Only one of the two is set, or they are no numbers that fit.
        """
        rank, size = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
        if rank is None and size is None:
            return cls()
        try:
            world = cls(int(rank or "none"), int(size or "none"))
        except ValueError:
            world = cls(0, 0)
        if not 0 <= world.rank < world.size:
            raise ValueError(f"RANK={rank} and WORLD_SIZE={size}; a launcher sets both, the rank below the size")
        return world

    @classmethod
    def current(cls) -> "World":
        """As torch.distributed runs, or else `from_environment`.

        Raises:
            ValueError: As `from_environment`.
        """
        import torch.distributed as processes

        if processes.is_available() and processes.is_initialized():
            return cls(processes.get_rank(), processes.get_world_size())
        return cls.from_environment()
