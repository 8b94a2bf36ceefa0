"""What `test_processes.py` runs in one process and, by torchrun, in two:

    ACCELERATE_USE_CPU=true torchrun --standalone --nproc_per_node 2 -m tests.training.two_processes OUT

Every process writes what it saw to OUT/rank-R.json and its weights beside it. A case of two processes takes half as
many clips per process as the same case of one, so that every step has the same clips.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from safetensors.torch import save_file
from torch.utils.data import Dataset
from transformers import PreTrainedModel, Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerCallback, set_seed

from aural import AuralProcessor, LogMelFeatureExtractor, train_tokenizer
from aural.training.collator import SpeechCollator
from aural.training.metrics import compute_metrics
from aural.training.sound_collator import SoundCollator
from aural.training.sound_metrics import compute_tagging_metrics
from aural.training.trainer import AuralTrainer
from tests.tiny import tiny_las
from tests.tiny_spectrogram import tiny_spectrogram

TEXTS = ["a", "ab cd ab cd abc", "bc", "dd cc", "abcd abcd ab", "c"]  # targets of very different lengths
CLIPS = 24
EVALUATED = 7  # not to be divided by the clips of a step
CLIPS_PER_STEP = 4
CARD = {"license": "cc0-1.0", "language": "en", "dataset": "noise", "data_license": "cc0-1.0"}
CASES: dict[str, dict[str, Any]] = {
    "texts": {},
    "texts, accumulated": {"gradient_accumulation_steps": 2, "max_steps": 3},
    "texts, by frames": {"frames_per_batch": 240, "max_steps": 12},
    "sounds": {},
}


class Items(Dataset):
    """Items with features and labels of known lengths, the same in every process; some are twice as long."""

    def __init__(self, labels: list[Any], mels: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self.frames = generator.integers(24, 60, size=len(labels)).tolist()
        features = [generator.standard_normal((count, mels), dtype=np.float32) for count in self.frames]
        self.items = [{"input_features": one, "labels": label} for one, label in zip(features, labels, strict=True)]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]


def make_trainer(
    case: str,
    folder: Path,
    processes: int,
    kind: type[Seq2SeqTrainer] = AuralTrainer,
    callbacks: Sequence[TrainerCallback] = (),
    **arguments: Any,
) -> Seq2SeqTrainer:
    """The Trainer of a case, for one of `processes` processes."""
    set_seed(0)
    arguments = {
        "per_device_train_batch_size": CLIPS_PER_STEP // processes,
        "per_device_eval_batch_size": CLIPS_PER_STEP // processes,
        "max_steps": 6,
        "learning_rate": 0.1,
        "optim": "sgd",  # Adam and clipping would hide a wrong scale of the gradients
        "max_grad_norm": 0,
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        "report_to": [],
        "use_cpu": True,
        "ddp_find_unused_parameters": False,  # an error if a loss leaves a weight out
        "predict_with_generate": case != "sounds",
        **CASES[case],
        **arguments,
    }
    by_frames = arguments.pop("frames_per_batch", None)
    options = {} if by_frames is None else {"frames_per_batch": by_frames // processes}
    make = sounds if case == "sounds" else texts
    return kind(
        args=Seq2SeqTrainingArguments(output_dir=str(folder), **arguments),
        **options,
        **make(),
        callbacks=list(callbacks),
    )


def texts() -> dict[str, Any]:
    """A LAS with CTC beside the speller: both losses are sums over labels."""
    processor = AuralProcessor(LogMelFeatureExtractor(num_mel_bins=6), train_tokenizer(["ab cd"]))
    words = len(processor.tokenizer)
    labels = [processor.tokenizer(TEXTS[index % len(TEXTS)]).input_ids for index in range(CLIPS + EVALUATED)]
    model = tiny_las(vocab_size=words, scale=0.2, ctc_weight=0.3, ctc_layer=0, listener_time_reductions=[1, 2]).train()
    model.generation_config.update(num_beams=1, max_length=12)
    return {
        "model": model,
        "data_collator": SpeechCollator(),
        "train_dataset": Items(labels[:CLIPS], 6, seed=1),
        "eval_dataset": Items(labels[CLIPS:], 6, seed=2),
        "processing_class": processor,
        "compute_metrics": compute_metrics(processor),
    }


def sounds() -> dict[str, Any]:
    """A spectrogram transformer with one label per clip."""
    labels = np.random.default_rng(3).integers(3, size=CLIPS + EVALUATED).tolist()
    return {
        "model": tiny_spectrogram(problem_type="single_label_classification", position_kind="sinusoidal").train(),
        "data_collator": SoundCollator(),
        "train_dataset": Items(labels[:CLIPS], 8, seed=1),
        "eval_dataset": Items(labels[CLIPS:], 8, seed=2),
        "processing_class": LogMelFeatureExtractor(num_mel_bins=8),
        "compute_metrics": compute_tagging_metrics(),
    }


def run_case(case: str, folder: Path, processes: int) -> tuple[dict[str, Any], Seq2SeqTrainer]:
    """Train and evaluate; the losses of the steps, the scores, and how many clips they were counted from."""
    trainer = make_trainer(case, folder, processes)
    trainer.train()
    scores = trainer.evaluate()
    answers = trainer.predict(trainer.eval_dataset)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    scores = {name: value for name, value in scores.items() if not name.endswith(("runtime", "per_second"))}
    return {"losses": losses, "scores": scores, "clips": len(answers.predictions)}, trainer


def measured(folder: Path, processes: int) -> dict[str, Any]:
    """The pace of half a run, and of the whole one after it went on from its checkpoint."""
    figures = []
    for steps in (3, 6):
        trainer = make_trainer("texts", folder, processes, max_steps=steps, save_strategy="steps", save_steps=3)
        trainer.train(resume_from_checkpoint=str(folder / "checkpoint-3") if steps > 3 else None)
        figures.append(trainer.pace.figures())
    return {"half": figures[0], "whole": figures[1]}


def written_while_saving(folder: Path, processes: int) -> dict[str, Any]:
    """What this process opened for writing while a run saved checkpoints, and how often it saved a model."""
    opened: set[str] = set()
    saved: list[str] = []
    save_pretrained = PreTrainedModel.save_pretrained

    def hear(event: str, details: tuple[Any, ...]) -> None:
        if event != "open" or not isinstance(details[0], str) or not details[0].startswith(str(folder)):
            return
        if set(str(details[1] or "")) & set("wxa+"):
            opened.add(str(Path(details[0]).relative_to(folder)))

    def save(self: Any, where: Any, *more: Any, **options: Any) -> Any:
        saved.append(str(where))
        return save_pretrained(self, where, *more, **options)

    sys.addaudithook(hear)
    PreTrainedModel.save_pretrained = save
    try:
        trainer = make_trainer("texts", folder, processes, max_steps=2, save_strategy="steps", save_steps=1)
        trainer.train()
        trainer.card = CARD
        trainer.create_model_card()
    finally:
        PreTrainedModel.save_pretrained = save_pretrained
    return {"opened": sorted(opened), "models": len(saved)}


def main(out: Path) -> None:
    """All cases, and what this process saw of them."""
    state = PartialState(cpu=True)
    processes, rank = state.num_processes, state.process_index
    seen: dict[str, Any] = {"processes": processes, "backend": torch.distributed.get_backend()}
    weights: dict[str, torch.Tensor] = {}
    for case in CASES:
        seen[case], trainer = run_case(case, out / case, processes)
        weights |= {f"{case}/{name}": value for name, value in trainer.model.state_dict().items()}
    seen["pace"] = measured(out / "pace", processes)
    seen["files"] = written_while_saving(out / "files", processes)
    save_file({name: value.contiguous() for name, value in weights.items()}, out / f"rank-{rank}.safetensors")
    (out / f"rank-{rank}.json").write_text(json.dumps(seen), encoding="utf-8")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
