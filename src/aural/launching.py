"""Several processes of this machine for one job, started from Python: torchrun without its command line."""

import logging
import os
import signal
from collections.abc import Callable
from typing import TypeVar

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

Answer = TypeVar("Answer")


def in_processes(count: int, function: Callable[..., Answer], *arguments: object) -> list[Answer]:
    """Call a function in new processes of one thread each, which Accelerate, and so the Trainer, finds joined.

    A script that calls this from its top level needs Python's `if __name__ == "__main__"`, as for any process that is
    spawned.

    Args:
        count: How many processes; 1 is a call in this one.
        function: Of a module, so that a new process can import it.
        arguments: Of it, the same for all. They and the answers are pickled.

    Returns:
        Its answers, by rank.

    Raises:
        torch.distributed.elastic.multiprocessing.errors.ChildFailedError: It failed in a process, whose traceback is
            on standard error; the others are stopped.
        KeyboardInterrupt: Ctrl-C, after they are stopped.
    """
    if count == 1:
        return [function(*arguments)]
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id="aural",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # any port that is free
        max_restarts=0,
    )
    # Its warnings tell how it ends the processes of whoever pressed Ctrl-C; its errors are tracebacks of theirs.
    for room in ("agent.server.api", "multiprocessing.api"):  # each has a level of its own
        logging.getLogger(f"torch.distributed.elastic.{room}").setLevel(logging.ERROR)
    try:
        answers = elastic_launch(config, _on_one_thread)(function, *arguments)
    except SignalException as stopped:
        if stopped.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise
    return [answers[rank] for rank in range(count)]


def _on_one_thread(function: Callable[..., Answer], *arguments: object) -> Answer:
    """They share the cores; torchrun's processes have as many unless OMP_NUM_THREADS says otherwise."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # or else Accelerate sets it, and warns
    torch.set_num_threads(1)
    return function(*arguments)
