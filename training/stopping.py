"""Stop a run when the machine asks for it: at the end of the step, on all processes alike.

Schedulers send SIGTERM some seconds before they kill; whoever presses Ctrl-C sends SIGINT. The handlers only take
note: nothing is saved amid a step, where weights and optimizer would not belong together.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from types import FrameType
from typing import Any

import torch
from accelerate.utils import reduce
from transformers.trainer_utils import seed_worker

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Takes note of SIGTERM and SIGINT while a block runs; a second SIGINT is a KeyboardInterrupt as ever.

        signals = StopSignals()
        with signals.heeded():
            for step in range(steps):
                …
                if signals.agreed(device):
                    break

    Only Python's main thread can handle signals; elsewhere the block runs as if there were none to heed.
    """

    def __init__(self) -> None:
        self.received = False

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Put the handlers in place, and those that were there before at the end."""
        self.received = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[signal.Signals, Any] = {one: signal.signal(one, self._note) for one in SIGNALS}
        try:
            yield
        finally:
            for one, handler in before.items():
                # None: whoever had it was no Python, and cannot be put back from here.
                signal.signal(one, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received:
            raise KeyboardInterrupt
        self.received = True

    def agreed(self, device: torch.device) -> bool:
        """Whether any process was asked to stop: one answer for all, which must all ask at the same point.

        Args:
            device: Of this process's tensors.
        """
        return bool(reduce(torch.tensor(float(self.received), device=device), reduction="sum") > 0)


def start_worker(worker: int, workers: int, rank: int) -> None:
    """Seed a DataLoader's worker as the stock Trainer does, and let it heed the process that it works for alone.

    SIGTERM to a whole job, or Ctrl-C, reaches the workers as well: without this they end, and with them the step. The
    process itself ends its workers by SIGTERM, and waits for them: so who sent it has to be told apart, which Linux
    can. Elsewhere SIGTERM ends a worker, whoever sent it.

    Args:
        worker: Its number.
        workers: How many there are.
        rank: Of the process that it works for.
    """
    seed_worker(worker, num_workers=workers, rank=rank)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        # Blocked here and in all threads to come, it waits for the one that asks for its sender.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_told, daemon=True).start()


def _end_when_told() -> None:
    employer = parent_process()
    while True:
        sender = signal.sigwaitinfo({signal.SIGTERM}).si_pid
        if employer is None or sender == employer.pid:
            os._exit(0)
