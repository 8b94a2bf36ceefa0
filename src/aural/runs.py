"""A recipe's run, from its data to a folder that loads, measured: `aural train`.

- The same command starts a run, goes on with one that was stopped or killed, and leaves a finished one alone.
- What a run follows from (recipe, versions, seed, fingerprint of the data) stands beside every checkpoint, and a run
  does not go on where any of it changed.
- Test sets are measured once, when training is over; one process writes.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset
from rich.console import Console
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback, set_seed

from .examples import ExamplesCallback
from .processing.files import write_whole
from .processing.plots import save_figure
from .run_notes import RECIPE, RUN, as_json, check_same_data, facts_of, finished_run
from .run_results import CURVE, LISTENING, closing, learning_curve, listening
from .run_tasks import TASKS, Task
from .training.adapters import is_adapter, merge_trained, with_lora
from .training.cards import write_card
from .training.checkpointing import newest_checkpoint
from .training.fine_tuning import freeze
from .training.measuring import measure
from .training.normalization import FILE_NAME, normalization_json
from .training.progress import RichProgress
from .training.recipe import Recipe, TrainingSection, dump_recipe
from .training.reports import machine_facts, write_report
from .training.skipping import SkippedClips, SkippingDataset, without_corrupt
from .training.sources import Rows, open_sources
from .training.trainer import AuralTrainer
from .training.trainer_report import card_facts, trainer_report
from .training.world import World


@dataclass(frozen=True)
class Sets:
    """The opened sources of a recipe, by role."""

    train: Rows
    eval: Rows | None
    test: dict[str, Rows]

    @property
    def fingerprint(self) -> str:
        """Of what is trained on and steered by."""
        return self.train.fingerprint + (f"+{self.eval.fingerprint}" if self.eval is not None else "")


def train(recipe: Recipe, out: Path, console: Console | None = None) -> dict[str, Any]:
    """Run a recipe, or go on with its run.

    Args:
        recipe: What to run.
        out: Folder of the run; the same recipe goes on there with the newest whole checkpoint.
        console: Where progress is shown.

    Returns:
        The content of `run.json`: its "state" is "finished", or "stopped" after SIGTERM or Ctrl-C.

    Raises:
        OSError: Data, base or `out` cannot be read or written.
        ValueError: Recipe, data and model do not fit, or `out` holds the run of another recipe or other data.
    """
    console = console or Console(quiet=World.from_environment().rank > 0)
    out = out.resolve()
    if (finished := finished_run(out, recipe)) is not None:
        _say(console, f"{out} is finished; choose another --out for another run.\n{closing(finished, out)}")
        return finished
    sets = open_sets(recipe)
    check_same_data(out, sets.fingerprint)
    set_seed(recipe.seed)
    task = make_task(recipe, sets.train, console)
    sets = without_misfits(sets, task)
    facts = facts_of(recipe, sets.fingerprint, sets.train.dropped)
    trainer = make_trainer(recipe, task, sets, out, facts, console)
    if trainer.is_world_process_zero():
        out.mkdir(parents=True, exist_ok=True)
        for name, text in trainer.checkpoint_files.items():
            write_whole(out / name, text)
        _say(console, _opening(recipe, trainer, sets))
    checkpoint = newest_checkpoint(out)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    facts |= {"pace": trainer.pace.figures(), "skipped": skipped_of(trainer).gathered()}
    if trainer.stopped:
        _say(console, f"Stopped and saved after {trainer.state.global_step} updates; the same command goes on.")
        return {**facts, "state": "stopped"}
    return _finish(trainer, recipe, task, sets, facts, out, console)


def open_sets(recipe: Recipe) -> Sets:
    """Open every source of a recipe; only training sets stream."""
    section, target = recipe.data, TASKS[recipe.model.architecture].target
    limits: dict[str, Any] = {"normalization": section.normalization, "seed": recipe.seed}
    bounds: dict[str, Any] = {"min_seconds": section.min_seconds, "max_seconds": section.max_seconds}
    return Sets(
        open_sources(section.train, target, streaming=section.streaming, **bounds, **limits),
        open_sources(section.eval, target, **bounds, **limits) if section.eval else None,
        {name: open_sources(sources, target, **limits) for name, sources in section.test.items()},
    )


def make_task(recipe: Recipe, rows: Rows, console: Console) -> Task:
    """The task of a recipe with its model as it begins: adapted, frozen, with adapters where the recipe says so."""
    known = None if recipe.data.streaming else rows.dataset
    task = TASKS[recipe.model.architecture].start(recipe, known, console)
    if recipe.model.freeze:
        freeze(task.model, recipe.model.freeze)
    if recipe.model.lora is not None:
        return replace(task, model=with_lora(task.model, **asdict(recipe.model.lora)))
    return task


def without_misfits(sets: Sets, task: Task) -> Sets:
    """The sets that losses are computed of, without rows that the model cannot learn from, which are counted."""

    def kept(rows: Rows) -> Rows:
        if not isinstance(rows.dataset, Dataset) or not (wrong := set(task.misfits(rows.dataset))):
            return rows
        right = [index for index in range(len(rows.dataset)) if index not in wrong]
        if not right:
            raise ValueError("no clip is long enough for CTC to align its text; see ctc_weight and ctc_layer")
        return replace(
            rows,
            dataset=rows.dataset.select(right),
            weights=None if rows.weights is None else rows.weights[right],
            dropped={**rows.dropped, "too short for CTC to align its text": len(wrong)},
            seconds=None if rows.seconds is None else float(sum(rows.dataset.select(right)["duration"])),
        )

    return replace(sets, train=kept(sets.train), eval=None if sets.eval is None else kept(sets.eval))


def make_trainer(
    recipe: Recipe,
    task: Task,
    sets: Sets,
    out: Path,
    facts: Mapping[str, Any],
    console: Console,
) -> AuralTrainer:
    """The Trainer of a run, with what a run shows and writes.

    Args:
        recipe, task, sets: What is trained, on what.
        out: Its folder.
        facts: Kept beside each checkpoint, with the recipe.
        console: Where the bar is drawn.
    """
    told = dict(recipe.training)
    patience, decay, examples = (
        told.pop(name, None) for name in ("early_stopping_patience", "layer_decay", "log_examples")
    )
    arguments = TrainingSection(
        **{"report_to": "none", "dataloader_pin_memory": False, "remove_unused_columns": False, **told},
        output_dir=str(out),
        disable_tqdm=True,
    )
    skipped = SkippedClips(recipe.data.max_corrupt)
    evaluation = None if sets.eval is None else usable(task, sets.eval, recipe, console)
    callbacks: list[TrainerCallback] = [RichProgress(console, lines=True)]
    if patience is not None:
        callbacks.append(EarlyStoppingCallback(patience))
    shown = (
        ExamplesCallback(_first(sets.eval, examples), task.processing) if examples and task.target == "text" else None
    )
    if shown is not None:
        callbacks.append(shown)
    trainer = AuralTrainer(
        task.model,
        arguments,
        data_collator=task.collator(),
        train_dataset=training_set(task, sets.train, skipped),
        eval_dataset=evaluation,
        processing_class=task.processing,
        compute_metrics=task.metrics(evaluation),
        preprocess_logits_for_metrics=task.answers(),
        callbacks=callbacks,
        layer_decay=decay,
        frames_per_batch=recipe.data.frames_per_batch,
        checkpoint_files={RECIPE: dump_recipe(recipe), RUN: as_json(facts), **_normalization(recipe, task)},
        card=recipe.data.card,
    )
    trainer.pop_callback(PrinterCallback)  # it prints every log; the bar shows the loss
    if shown is not None:
        shown.trackers = trainer.callback_handler.callbacks
    return trainer


def _normalization(recipe: Recipe, task: Task) -> dict[str, str]:
    """What tells later readers of a folder how its texts were written."""
    return {FILE_NAME: normalization_json(recipe.data.normalization)} if task.target == "text" else {}


def training_set(task: Task, rows: Rows, skipped: SkippedClips) -> Any:
    """Items to train on, others in place of corrupt ones."""
    if not isinstance(rows.dataset, Dataset):
        return task.stream(rows.dataset, skipped)
    return SkippingDataset(task.dataset(rows.dataset, training=True), skipped, rows.weights)


def usable(task: Task, rows: Rows, recipe: Recipe, console: Console | None = None) -> Any:
    """Items to measure on, without corrupt ones, which are told."""
    skipped = SkippedClips(recipe.data.max_corrupt)
    items = without_corrupt(task.dataset(rows.dataset, training=False), skipped)
    if skipped.corrupt and console is not None:
        _say(console, str(skipped))
    return items


def skipped_of(trainer: AuralTrainer) -> SkippedClips:
    """The training set's corrupt clips, as they stand."""
    items: Any = trainer.train_dataset
    return items.skipped


def _first(rows: Rows | None, number: int) -> list[Any]:
    return [] if rows is None else [rows.dataset[index] for index in range(min(number, len(rows.dataset)))]


def _finish(
    trainer: AuralTrainer,
    recipe: Recipe,
    task: Task,
    sets: Sets,
    facts: dict[str, Any],
    out: Path,
    console: Console,
) -> dict[str, Any]:
    """Save the model, measure the test sets, write report, card, picture and notes; one process does it."""
    if is_adapter(trainer.model):
        merge_trained(trainer)  # the adapters alone stay in a folder of their own
    trainer.save_model()
    if not trainer.is_world_process_zero():
        return facts
    started = time.perf_counter()
    tests = {name: usable(task, rows, recipe, console) for name, rows in sets.test.items()}
    results = {name: measure(trainer, dataset) for name, dataset in tests.items()}
    facts |= {
        "state": "finished",
        "updates": trainer.state.global_step,
        "best": {"metric": trainer.state.best_metric, "checkpoint": _name(trainer.state.best_model_checkpoint)},
        "results": {
            name: {key: value for key, value in one.items() if _is_plain(value)} for name, one in results.items()
        },
        "measuring_seconds": round(time.perf_counter() - started, 1),
        "machine": machine_facts(),
    }
    if recipe.data.card.get("license") and results:
        known = card_facts(recipe.data.card, text=task.target == "text")
        report = trainer_report(trainer, known, trainer.base_model, results)
        write_report(out, report)
        write_card(out)
    save_figure(learning_curve(trainer.state.log_history, out.name), out / CURVE)
    if (picture := listening(out)) is not None:
        save_figure(picture, out / LISTENING, dpi=100)
    write_whole(out / RUN, as_json(facts))
    _say(console, closing(facts, out))
    return facts


def _model(trainer: AuralTrainer) -> Any:
    return trainer.model


def _opening(recipe: Recipe, trainer: AuralTrainer, sets: Sets) -> str:
    seconds = sets.train.seconds
    hours = "a stream" if seconds is None else f"{seconds / 3600:.2f} h of audio"
    world, model = trainer.args.world_size, _model(trainer)
    return (
        f"{recipe.about}\n{type(model).__name__}, {model.num_parameters() / 1e6:.1f} M parameters, "
        f"{hours}, {world} process{'es' if world > 1 else ''}."
    )


def _name(path: str | None) -> str | None:
    return None if path is None else Path(path).name


def _is_plain(value: Any) -> bool:
    return isinstance(value, (int, float, str)) or (isinstance(value, list) and all(map(_is_number, value)))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _say(console: Console, text: str) -> None:
    """As it stands: no markup in paths, and lines as long as they are."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
