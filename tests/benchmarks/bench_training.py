"""Training on two processes against one, at one thread each: `AuralTrainer` over gloo, a small LAS.

Alone it prints what one launch measures:

    ACCELERATE_USE_CPU=true torchrun --standalone --nproc_per_node 2 -m tests.benchmarks.bench_training
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import Seq2SeqTrainingArguments

from aural import LasConfig, LasForConditionalGeneration
from aural.training.collator import SpeechCollator
from aural.training.trainer import AuralTrainer

ROOT = Path(__file__).parents[2]
MELS, WORDS = 80, 40
FRAMES, TARGETS = 400, 30  # of each clip: 4 s, and its text
CLIPS = 4  # of each process in each step: with two processes a step has twice as many
STEPS, WARM = 6, 2  # of one launch; the first are not counted
LAUNCHES = 3  # of each, in turn
MARK = "pace: "  # before the line that a launch prints


class Noise(Dataset):
    """Clips of one length, so that nothing is padded and every step does the same."""

    def __init__(self, clips: int) -> None:
        generator = np.random.default_rng(0)
        self.features = generator.standard_normal((clips, FRAMES, MELS), dtype=np.float32)
        self.labels = generator.integers(4, WORDS, size=(clips, TARGETS))

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_features": self.features[index], "labels": self.labels[index]}


def bench() -> Iterator[dict[str, Any]]:
    """Audio seconds per second of the clock; medians of launches in turn, so that both meet the same machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    speeds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(LAUNCHES):
        for processes, found in speeds.items():
            found.append(_launch(processes))
    one, two = (statistics.median(found) for found in speeds.values())
    yield {
        "name": f"LAS training, {CLIPS} x {FRAMES / 100:g} s per process, two processes against one, {cores} cores",
        "ours": two,
        "theirs": one,
        "unit": "s of audio / s",
        "ratio": two / one,
        "bar": None,
    }


def _launch(processes: int) -> float:
    """What training on so many processes does per second."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    run = subprocess.run(
        [*command, "-m", __name__], capture_output=True, text=True, env={**os.environ, **environment}, cwd=ROOT
    )
    lines = [line for line in run.stdout.splitlines() if line.startswith(MARK)]
    if run.returncode or not lines:
        raise RuntimeError(f"training on {processes} processes failed:\n{run.stderr[-2000:]}")
    return json.loads(lines[0].removeprefix(MARK))["audio_per_second"]


def main() -> None:
    """One launch: print the figures of its pace, on the first process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = LasConfig(vocab_size=WORDS, num_mel_bins=MELS, listener_hidden_size=128, speller_hidden_size=256)
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(LasForConditionalGeneration(config), folder, WARM)
        trainer.train()
        trainer = _trainer(trainer.model, folder, STEPS)
        trainer.train()
        if trainer.is_world_process_zero():
            print(MARK + json.dumps(trainer.pace.figures()), flush=True)


def _trainer(model: LasForConditionalGeneration, folder: str, steps: int) -> AuralTrainer:
    arguments = Seq2SeqTrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=CLIPS,
        save_strategy="no",
        disable_tqdm=True,
        report_to=[],
        use_cpu=True,
        ddp_find_unused_parameters=False,
    )
    return AuralTrainer(model, arguments, data_collator=SpeechCollator(), train_dataset=Noise(2 * CLIPS * STEPS))


if __name__ == "__main__":
    main()
