"""`aural train --dry-run`: what a recipe would do, counted and measured on its own data before anything is written."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from transformers import set_seed

from .run_tasks import Task
from .runs import Sets, make_task, make_trainer, open_sets, without_misfits
from .training.feature_cache import bytes_per_hour
from .training.frame_batches import frame_lengths
from .training.recipe import Recipe
from .training.sources import Rows
from .training.trainer import AuralTrainer

TRIED = 3  # batches whose update is timed; the first warms up
BYTES = 4  # of a weight, and of each of the optimizer's two moments


@dataclass(frozen=True)
class DryRun:
    """What a run would be.

    Attributes:
        sets: By role, facts of each set as the table shows them.
        vocabulary: Symbols or labels that the model tells.
        parameters, trainable: Weights, and those that learn.
        updates: Of the whole run.
        clips_per_update: Mean, over all processes.
        padding_share: Of the frames of an epoch's batches; of a stream, of those that were tried.
        seconds: Estimate of the training's wall time, without evaluations.
        disk: Bytes of the checkpoints that are kept at once, and of the model.
        cache: Bytes of the features that are kept; None where none are, or a stream's length is not known.
    """

    sets: dict[str, dict[str, Any]]
    vocabulary: list[str]
    parameters: int
    trainable: int
    updates: int
    clips_per_update: float
    padding_share: float
    seconds: float
    disk: int
    cache: int | None


def dry_run(recipe: Recipe, console: Console | None = None) -> DryRun:
    """Open the data, build the model, and time a few updates on real batches; nothing is kept.

    Args:
        recipe: What would run.
        console: Where progress is shown.

    Raises:
        OSError, ValueError: As `runs.train`.
    """
    console = console or Console(stderr=True)
    asked, recipe = recipe, replace(recipe, data=replace(recipe.data, cache=None))  # nothing is kept
    sets = open_sets(recipe)
    set_seed(recipe.seed)
    task = make_task(recipe, sets.train, console)
    sets = without_misfits(sets, task)
    with TemporaryDirectory() as scratch:
        trainer = make_trainer(recipe, task, sets, Path(scratch), {}, console)
        return _measured(asked, task, sets, trainer)


def _measured(recipe: Recipe, task: Task, sets: Sets, trainer: AuralTrainer) -> DryRun:
    model: Any = trainer.model
    loader = trainer.get_train_dataloader()
    updates = _updates(trainer, loader)
    batches, tried, seconds = _planned(trainer, loader), [], []
    begun = time.perf_counter()
    for batch in islice(loader, TRIED):
        tried.append(batch["attention_mask"].sum(1).numpy())
        model.train()
        loss = model(**batch).loss
        loss.backward()
        model.zero_grad()
        seconds.append(time.perf_counter() - begun)
        begun = time.perf_counter()
    batches = batches or tried
    real, frames = sum(float(one.sum()) for one in batches), sum(float(len(one) * one.max()) for one in batches)
    accumulated = trainer.args.gradient_accumulation_steps
    weights = [parameter.numel() for parameter in model.parameters() if parameter.requires_grad]
    parameters, trainable = model.num_parameters(), sum(weights)
    checkpoint = BYTES * (parameters + 2 * trainable)
    kept = (trainer.args.save_total_limit or 3) + 1  # a new one is whole before an old one goes
    return DryRun(
        sets={role: _facts(rows) for role, rows in _roles(sets).items()},
        vocabulary=task.outputs,
        parameters=parameters,
        trainable=trainable,
        updates=updates,
        clips_per_update=float(np.mean([len(one) for one in batches])) * accumulated * trainer.args.world_size,
        padding_share=1 - real / frames,
        seconds=float(np.median(seconds[1:] or seconds)) * accumulated * updates,
        disk=kept * checkpoint + BYTES * parameters,
        cache=_cache(recipe, task, sets),
    )


def _planned(trainer: AuralTrainer, loader: Any) -> list[np.ndarray]:
    """Frames of each clip, `(clips,)`, of each batch of this process's first epoch; nothing of a stream."""
    sampler = getattr(loader, "batch_sampler", None)
    if sampler is None or not hasattr(trainer.train_dataset, "durations"):
        return []
    lengths = np.asarray(frame_lengths(trainer.train_dataset, trainer.processing_class))
    return [lengths[batch] for batch in sampler]


def _updates(trainer: AuralTrainer, loader: Any) -> int:
    """Of the whole run: the Trainer's own count."""
    if trainer.args.max_steps > 0:
        return trainer.args.max_steps
    return int(trainer.set_initial_training_values(trainer.args, loader)[-1])


def _cache(recipe: Recipe, task: Task, sets: Sets) -> int | None:
    seconds = [rows.seconds for rows in _roles(sets).values()]
    if recipe.data.cache is None or None in seconds:
        return None
    extractor = getattr(task.processing, "feature_extractor", task.processing)
    return round(bytes_per_hour(extractor) * sum(one or 0.0 for one in seconds) / 3600)


def _roles(sets: Sets) -> Mapping[str, Rows]:
    evaluation = {} if sets.eval is None else {"eval": sets.eval}
    return {"train": sets.train, **evaluation, **{f"test: {name}": rows for name, rows in sets.test.items()}}


def _facts(rows: Rows) -> dict[str, Any]:
    """Clips, hours, and shortest, median and longest seconds; None where a stream does not tell."""
    dropped = dict(rows.dropped)
    if rows.seconds is None:
        return {"clips": None, "hours": None, "seconds": None, "dropped": dropped}
    lengths = np.asarray(rows.dataset["duration"], dtype=float)
    return {
        "clips": len(lengths),
        "hours": rows.seconds / 3600,
        "seconds": tuple(float(value) for value in np.percentile(lengths, (0, 50, 100))),
        "dropped": dropped,
    }


def render(plan: DryRun) -> list[Table | str]:
    """A dry run as a table and lines, for a console."""
    table = Table("set", "clips", "hours", "shortest, median, longest", "dropped")
    for role, facts in plan.sets.items():
        dropped = ", ".join(f"{number} {reason}" for reason, number in facts["dropped"].items()) or "none"
        if facts["clips"] is None:
            table.add_row(role, "a stream", "", "", dropped)
            continue
        spread = ", ".join(f"{value:.1f} s" for value in facts["seconds"])
        table.add_row(role, f"{facts['clips']:,}", f"{facts['hours']:.2f}", spread, dropped)
    shown = " ".join(plan.vocabulary[:60]) + (" …" if len(plan.vocabulary) > 60 else "")
    return [
        table,
        *([f"{len(plan.vocabulary)} outputs: {shown}"] if plan.vocabulary else []),
        f"{plan.parameters:,} parameters, {plan.trainable:,} of them learn",
        f"{plan.updates:,} updates of {plan.clips_per_update:.1f} clips; {plan.padding_share:.1%} of it padding",
        f"about {_clock(plan.seconds)} of training here, without evaluations, and {decimal(plan.disk)} of disk",
        *([] if plan.cache is None else [f"kept features take {decimal(plan.cache)} more"]),
    ]


def _clock(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
