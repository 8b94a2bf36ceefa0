"""Two processes over gloo: the training, evaluation and files of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.two_processes import CASES, EVALUATED, measured, run_case, written_while_saving

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.xdist_group("torchrun")  # one fixture for all, and not two launches at once
SUMMED = 1e-4  # what the order of summing may change, in a loss or a weight


def torchrun(*arguments, processes=2, **environment):
    """Run `python -m ARGUMENTS` as so many processes on the CPU."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **environment}
    command += [str(one) for one in arguments]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, cwd=ROOT)
    assert run.returncode == 0, run.stderr[-4000:]
    return run.stdout


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What each of two processes saw, and its weights."""
    out = tmp_path_factory.mktemp("two")
    torchrun("tests.training.two_processes", out)
    seen = [json.loads((out / f"rank-{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]
    return [{**one, "weights": load_file(out / f"rank-{rank}.safetensors")} for rank, one in enumerate(seen)]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """What one process sees, by case, and its weights."""
    folder = tmp_path_factory.mktemp("one")
    runs = {case: run_case(case, folder / case, processes=1) for case in CASES}
    return {case: {**seen, "weights": trainer.model.state_dict()} for case, (seen, trainer) in runs.items()}


def test_there_are_two_processes(two):
    assert [(seen["processes"], seen["backend"]) for seen in two] == [(2, "gloo")] * 2


@pytest.mark.parametrize("case", CASES)
def test_the_loss_curve_is_that_of_one_process_with_twice_the_batch(case, one, two):
    expected = torch.tensor(one[case]["losses"])
    assert len(expected) == CASES[case].get("max_steps", 6)
    assert expected.std() > 100 * SUMMED  # or else any curve would do
    for seen in two:
        torch.testing.assert_close(torch.tensor(seen[case]["losses"]), expected, atol=SUMMED, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_the_weights_are_those_of_one_process(case, one, two):
    for name, expected in one[case]["weights"].items():
        first, second = (seen["weights"][f"{case}/{name}"] for seen in two)
        assert torch.equal(first, second), name
        torch.testing.assert_close(first, expected, atol=SUMMED, rtol=0, msg=name)


@pytest.mark.parametrize("case", CASES)
def test_scores_count_each_clip_once(case, one, two):
    for seen in two:
        assert seen[case]["clips"] == one[case]["clips"] == EVALUATED
        assert seen[case]["scores"] == pytest.approx(one[case]["scores"], abs=SUMMED)


def test_the_pace_is_that_of_both_also_after_resuming(two, tmp_path):
    expected = measured(tmp_path, processes=1)
    for name in ("half", "whole"):
        assert two[0]["pace"][name] == two[1]["pace"][name]
        found = two[0]["pace"][name]
        assert found["processes"] == 2
        assert found["audio_per_second"] == pytest.approx(2 * found["audio_per_second_per_process"])
        for figure in ("updates", "clips", "audio_seconds"):
            assert found[figure] == pytest.approx(expected[name][figure])
        assert found["padding_share"] < expected[name]["padding_share"]  # each pads its half of a step alone


def test_one_process_writes(two, tmp_path):
    """All but what each process keeps of itself: its generators, and its loss since the last log."""
    first, second = (seen["files"] for seen in two)
    alone = written_while_saving(tmp_path, processes=1)
    assert first["models"] == alone["models"] > 0
    assert second["models"] == 0
    names = {Path(name).name for name in first["opened"]}
    assert {"config.json", "trainer_state.json", ".report.json.part", ".README.md.part"} <= names
    assert [name for name in second["opened"] if "_1." not in Path(name).name] == []
