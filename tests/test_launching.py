"""`in_processes`: answers by rank, a thread each, joined for Accelerate, and what happens when one of them fails."""

import os
import signal

import pytest
import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from aural import launching
from aural.launching import in_processes

pytestmark = pytest.mark.xdist_group("torchrun")  # not two launches at once


def shared_sum(base: int) -> dict[str, int]:
    """What a process knows of itself, and the sum of `base + rank` over all."""
    state = PartialState(cpu=True)
    total = reduce(torch.tensor(base + state.process_index), reduction="sum")
    return {
        "rank": state.process_index,
        "of": state.num_processes,
        "threads": torch.get_num_threads(),
        "pid": os.getpid(),
        "sum": int(total),
    }


def fail_in_the_second() -> None:
    if PartialState(cpu=True).process_index == 1:
        raise OSError("no such sound")


def my_pid(given: str) -> tuple[str, int]:
    return given, os.getpid()


def test_processes_are_joined_and_answer_by_rank():
    answers = in_processes(2, shared_sum, 10)
    assert [answer["rank"] for answer in answers] == [0, 1]
    assert all((answer["of"], answer["threads"], answer["sum"]) == (2, 1, 21) for answer in answers)
    assert len({os.getpid(), *(answer["pid"] for answer in answers)}) == 3


def test_one_process_is_this_one():
    assert in_processes(1, my_pid, "x") == [("x", os.getpid())]


def test_a_failure_ends_all(caplog):
    with pytest.raises(ChildFailedError):
        in_processes(2, fail_in_the_second)
    assert "no such sound" in caplog.text


@pytest.mark.parametrize(("sent", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SignalException)])
def test_ctrl_c_is_a_keyboard_interrupt(monkeypatch, sent, raised):
    def launched(*arguments):
        raise SignalException("stopped", sigval=sent)

    monkeypatch.setattr(launching, "elastic_launch", lambda config, function: launched)
    with pytest.raises(raised):
        in_processes(2, my_pid, "x")
