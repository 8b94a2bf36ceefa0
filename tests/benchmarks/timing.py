"""Processor time of calls that stand in for each other."""

import statistics
import time
from collections.abc import Callable
from typing import Any


def medians(rounds: int, *calls: Callable[[], Any]) -> list[float]:
    """Median processor seconds of each call.

    The calls take turns, so that all of them meet the same machine; one turn before the first is not counted.

    Args:
        rounds: Turns that count.
        calls: What is measured.
    """
    seconds = [[_processor_seconds(call) for call in calls] for _ in range(rounds + 1)]
    return [statistics.median(column) for column in zip(*seconds[1:], strict=True)]


def _processor_seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start
