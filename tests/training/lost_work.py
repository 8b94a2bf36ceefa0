"""A tiny training that can be killed and started again: the command of test_lost_work.py, and its reference.

    python tests/training/lost_work.py OUT [--steps 20] [--workers 0] [--pause 0]
    python tests/training/lost_work.py --serve  # a process for each line of such arguments, without their imports

Everything that could make a resumed run differ is on: dropout, SpecAugment, noise on the features, accumulation,
an evaluation, the best model, a loss that is logged more seldom than saved.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from transformers import EarlyStoppingCallback, Seq2SeqTrainingArguments, TrainerCallback, set_seed

from aural import AuralProcessor, LasConfig, LasForConditionalGeneration, LogMelFeatureExtractor, train_tokenizer
from aural.training.checkpointing import newest_checkpoint
from aural.training.collator import SpeechCollator
from aural.training.data import SpeechDataset
from aural.training.trainer import AuralTrainer

RATE = 16_000  # Hz
FRAMES = 150  # of a batch: two to five clips


class Weighted(SpeechDataset):
    """Draws the second half of its clips three times as often."""

    @property
    def sample_weights(self):
        return np.where(np.arange(len(self)) < len(self) / 2, 1.0, 3.0)


class Pause(TrainerCallback):
    """Make steps slow enough to be hit by a signal."""

    def __init__(self, seconds):
        self.seconds = seconds

    def on_step_begin(self, args, state, control, **kwargs):
        time.sleep(self.seconds)


def add_noise(features, generator):
    return features + generator.normal(size=features.shape).astype(np.float32)


def rows(count=24):
    generator = np.random.default_rng(0)
    seconds = generator.uniform(0.3, 0.9, size=count)
    waves = [generator.normal(scale=0.1, size=int(length * RATE)).astype(np.float32) for length in seconds]
    texts = ["".join(generator.choice(list("ab cd"), size=int(8 * length))) + "a" for length in seconds]
    return Dataset.from_dict(
        {
            "audio": [{"array": wave, "sampling_rate": RATE} for wave in waves],
            "text": texts,
            "duration": [len(wave) / RATE for wave in waves],
        }
    )


def make_trainer(folder, dataset=SpeechDataset, frames=FRAMES, callbacks=(), **arguments):
    set_seed(0)
    processor = AuralProcessor(LogMelFeatureExtractor(num_mel_bins=16), train_tokenizer(["ab cd"]))
    config = LasConfig(
        vocab_size=len(processor.tokenizer),
        num_mel_bins=16,
        listener_hidden_size=8,
        listener_time_reductions=[2, 2],
        listener_dropout=0.1,
        apply_spec_augment=True,
        attention_size=8,
        speller_layers=1,
        speller_hidden_size=8,
        speller_embedding_size=8,
        speller_output_size=8,
    )
    arguments = {
        "max_steps": 20,
        "gradient_accumulation_steps": 2,
        "learning_rate": 0.01,
        "save_steps": 2,
        "save_total_limit": 2,
        "logging_steps": 3,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "loss",
        "disable_tqdm": True,
        "use_cpu": True,
        "report_to": "none",
        **arguments,
    }
    data = rows()
    return AuralTrainer(
        model=LasForConditionalGeneration(config),
        args=Seq2SeqTrainingArguments(output_dir=str(folder), **arguments),
        data_collator=SpeechCollator(mels=16, vocab_size=len(processor.tokenizer)),
        train_dataset=dataset(data, processor, augment_features=add_noise),
        eval_dataset=SpeechDataset(data.select(range(4)), processor),
        processing_class=processor,
        frames_per_batch=frames,
        checkpoint_files={"recipe.yaml": "about: nothing lost\n"},
        callbacks=list(callbacks),
    )


def history(trainer):
    """What was logged, without clocks."""
    kept = ("loss", "eval_loss", "grad_norm", "learning_rate", "epoch", "step")
    entries = [{name: entry[name] for name in kept if name in entry} for entry in trainer.state.log_history]
    return [entry for entry in entries if "loss" in entry or "eval_loss" in entry]


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def differences(one, other):
    return [name for name in one if not torch.equal(one[name], other[name])]


def main(arguments=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--pause", type=float, default=0.0)
    told = parser.parse_args(arguments)
    torch.set_num_threads(1)
    trainer = make_trainer(
        told.out / "run",
        callbacks=[Pause(told.pause), EarlyStoppingCallback(50)],
        max_steps=told.steps,
        dataloader_num_workers=told.workers,
    )
    trainer.train(resume_from_checkpoint=newest_checkpoint(told.out / "run"))
    if trainer.stopped:
        print("stopped after", trainer.state.global_step, flush=True)
        return
    trainer.save_model(str(told.out / "model"))
    (told.out / "history.json").write_text(json.dumps(history(trainer)))


def serve():
    """For each line of arguments, start a process of its own group, tell its id and then how it ended."""
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            os.setsid()
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
            main(line.split())
            os._exit(0)
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
