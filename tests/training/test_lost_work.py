"""`kill -9` at random moments and SIGTERM to a whole job, then the same command again: nothing is lost."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from aural.training.checkpointing import UNFINISHED, checkpoints
from tests.training import lost_work

STEPS = 20


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    threads = torch.get_num_threads()
    lost_work.main([str(folder), "--steps", str(STEPS)])
    torch.set_num_threads(threads)
    return folder


@pytest.fixture(scope="module")
def server():
    """Starts the command without the seconds that its imports take."""
    with open_command("--serve", stdin=subprocess.PIPE) as process:
        yield process
        process.stdin.close()


def open_command(*arguments, **options):
    command = [sys.executable, lost_work.__file__, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **options)


class Served:
    """One run of the command, by the server."""

    def __init__(self, server, out, *options):
        self.server = server
        server.stdin.write(f"{out} --steps {STEPS} {' '.join(options)}\n")
        server.stdin.flush()
        self.pid = int(server.stdout.readline())

    def wait(self):
        return int(self.server.stdout.readline())


def wait_for(condition, seconds=300, pause=0.005):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(pause)
    raise TimeoutError


def steps(run):
    return max((int(path.name.partition("-")[2]) for path in checkpoints(run)), default=0)


def kill_at_random(run, process, generator, before):
    """Let it get on by a checkpoint or two, kill it, in every other case amid the writing of one."""
    goal = min(before + generator.choice([2, 4]), STEPS - 4)
    wait_for(lambda: steps(run) >= goal)
    if generator.random() < 0.5:
        part = generator.choice(["model", "optimizer", "rng_state", "trainer_state"])
        wait_for(lambda: list(run.glob(f"{UNFINISHED}/checkpoint-*/{part}*")) or steps(run) == STEPS, pause=0.0003)
    else:
        time.sleep(generator.uniform(0, 0.2))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return (run / UNFINISHED).exists()


def assert_as_if_uninterrupted(out, reference):
    ours, theirs = load_file(out / "model" / "model.safetensors"), load_file(reference / "model" / "model.safetensors")
    assert lost_work.differences(ours, theirs) == []
    assert json.loads((out / "history.json").read_text()) == json.loads((reference / "history.json").read_text())
    kept = [sorted(path.name for path in (folder / "run").iterdir()) for folder in (out, reference)]
    assert kept[0] == kept[1]


def test_killed_three_times_the_same_command_ends_with_the_same_weights(reference, server, tmp_path):
    generator = random.Random(0)
    for _ in range(3):
        kill_at_random(tmp_path / "run", Served(server, tmp_path), generator, steps(tmp_path / "run"))
    assert Served(server, tmp_path).wait() == 0
    assert_as_if_uninterrupted(tmp_path, reference)


def test_sigterm_to_a_whole_job_saves_and_exits_0(reference, server, tmp_path):
    with open_command(tmp_path, "--steps", STEPS, "--workers", 1, "--pause", 0.2, start_new_session=True) as process:
        wait_for(lambda: steps(tmp_path / "run") >= 2)
        os.killpg(process.pid, signal.SIGTERM)  # as a scheduler does: to the data workers as well
        told = process.communicate()[0]
    assert process.returncode == 0
    stopped = steps(tmp_path / "run")
    assert f"stopped after {stopped}\n" in told and stopped < STEPS
    assert not (tmp_path / "model").exists()
    assert Served(server, tmp_path).wait() == 0
    assert_as_if_uninterrupted(tmp_path, reference)


@pytest.mark.full
def test_killed_twenty_times_the_same_command_ends_with_the_same_weights(reference, tmp_path):
    generator = random.Random(1)
    amid_writing = 0
    for attempt in range(5):
        out, before = tmp_path / str(attempt), 0
        command = (out, "--steps", STEPS, "--workers", attempt % 2)
        for _ in range(4):
            with open_command(*command, start_new_session=True) as process:
                amid_writing += kill_at_random(out / "run", process, generator, before)
            before = steps(out / "run")
        with open_command(*command) as process:
            process.communicate()
        assert process.returncode == 0
        assert_as_if_uninterrupted(out, reference)
    assert amid_writing >= 3
