"""Where a process stands among those that do one job together: which number, which device, how many threads."""

import os
import sys
from dataclasses import dataclass

import torch


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


def default_device() -> str:
    """The accelerator of this process among those of its machine, by `LOCAL_RANK`; else "cpu".

    `ACCELERATE_USE_CPU=true` says "cpu", as it does to Accelerate.
    """
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "y", "on", "t"):
        return "cpu"
    if torch.cuda.is_available():
        return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count()}"
    return "cpu"


def use_one_thread_in_workers() -> None:
    """One thread of torch in a worker process, unless `OMP_NUM_THREADS` says how many.

    Workers share the cores, and the threads that a process had are gone in those that were forked from it.
    """
    modules = [sys.modules[name] for name in ("multiprocessing", "multiprocess") if name in sys.modules]
    is_worker = any(module.parent_process() is not None for module in modules)
    if is_worker and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
