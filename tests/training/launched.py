"""What `test_accelerate_files.py` runs with the environment that `accelerate launch --config_file` would set:

    python -m tests.training.launched OUT

Two steps of a LAS and of a spectrogram transformer, on the CPU, saved; OUT/rank-R.json tells what was in force.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType

from tests.training.two_processes import make_trainer


def shard_on_the_cpu() -> None:
    """Let Accelerate shard models over CPU processes, which it does over accelerators alone though torch can."""
    begin = PartialState.__init__

    def begin_as_if_on_accelerators(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        if self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = begin_as_if_on_accelerators


def main(out: Path) -> None:
    """Train, save, and tell."""
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        shard_on_the_cpu()
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        torch.backends.mkldnn.set_flags(False)  # whose LSTM has no bf16 on processors without instructions for it
    seen: dict[str, Any] = {}
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    for case in ("texts", "sounds"):
        trainer = make_trainer(case, out / case, processes, max_steps=2, save_strategy="steps", save_steps=2)
        trainer.train()
        plugin = getattr(trainer.accelerator.state, "fsdp_plugin", None)
        weights = trainer.model_wrapped.parameters()
        seen[case] = {
            "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
            "processes": trainer.args.world_size,
            "precision": trainer.accelerator.mixed_precision,
            "compiler": trainer.accelerator.state.dynamo_plugin.backend.value,
            "sharding": None if plugin is None else plugin.fsdp_version,
            "sharded": sum(isinstance(one, torch.distributed.tensor.DTensor) for one in weights),
        }
    (out / f"rank-{os.environ.get('RANK', '0')}.json").write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
