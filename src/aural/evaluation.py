"""`aural evaluate`: scores of a model folder on any data, counted as a run's own tests are."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .processing.files import write_whole
from .run_notes import RECIPE
from .run_tasks import load_task
from .runs import usable
from .training.measuring import measure
from .training.normalization import load_normalization
from .training.recipe import Recipe, TrainingSection
from .training.recipe_files import load_recipe
from .training.sources import Source, open_sources
from .training.trainer import AuralTrainer


def evaluate(
    model: str | Path,
    data: Mapping[str, list[Source]] | None = None,
    normalization: str | None = None,
    batch_size: int = 16,
    out: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure a model.

    Args:
        model: A model folder or Hub id.
        data: Sets by name; None: the test sets of the recipe beside the model.
        normalization: Of the texts, by name; None: what stands beside the model, or none.
        batch_size: Clips at once.
        out: File for all results with every clip's answer, as JSON.

    Returns:
        By set, `measure`'s result: scores with intervals, and each clip's answer.

    Raises:
        OSError: Model or data cannot be read, or `out` cannot be written.
        ValueError: Data and model do not fit, or there is no data and no recipe beside the model.
    """
    recipe = _recipe_beside(model)
    if data is None:
        if recipe is None or not recipe.data.test:
            raise ValueError(f"{model} has no {RECIPE} with test sets beside it: name the data")
        data = recipe.data.test
    if normalization is None:
        normalization = load_normalization(model) if Path(model).is_dir() else "none"
    task = load_task(model, recipe)
    results = {}
    with TemporaryDirectory() as scratch:
        arguments = TrainingSection(scratch, per_device_eval_batch_size=batch_size, report_to="none")
        trainer = AuralTrainer(task.model, arguments, data_collator=task.collator(), processing_class=task.processing)
        for name, sources in data.items():
            rows = open_sources(sources, task.target, normalization=normalization)
            results[name] = measure(trainer, usable(task, rows, task.recipe))
    if out is not None:
        write_whole(out, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    return results


def _recipe_beside(model: str | Path) -> Recipe | None:
    path = Path(model) / RECIPE
    return load_recipe(path) if path.is_file() else None
