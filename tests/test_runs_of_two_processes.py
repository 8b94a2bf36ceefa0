"""`aural train` under torchrun: one run by two processes, with the files of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .small_corpora import write_speech

pytestmark = pytest.mark.xdist_group("torchrun")
ROOT = Path(__file__).parent.parent


def test_two_processes_make_one_run(tmp_path):
    write_speech(tmp_path / "data/speech", {"train": 12, "dev": 5, "test": 3})
    told = [
        "training.log_examples=2",
        "data.test.kept={source: data/speech, split: test}",
        "data.frames_per_batch=400",
    ]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "aural"]
    command += ["train", "las-tiny", "--out", "run", *(part for one in told for part in ("--set", one))]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **environment})
    assert run.returncode == 0, run.stderr[-3000:]
    assert "2 processes" in run.stdout and run.stdout.count("loads with from_pretrained") == 1  # one speaks
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert facts["state"] == "finished" and facts["pace"]["processes"] == 2
    assert facts["results"]["kept"]["utterances"] == 3
    assert {path.name for path in (tmp_path / "run/checkpoint-4").glob("rng_state*")} == {
        "rng_state_0.pth",
        "rng_state_1.pth",
    }
    assert len(list((tmp_path / "run/examples").glob("*.txt"))) == 2
