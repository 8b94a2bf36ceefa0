"""What a process computes on: which device, how many threads."""

import os
import sys

import torch


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
