"""What a run leaves about itself beside its weights, and whether the folder of a run may be gone on with."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .training.checkpointing import UNFINISHED
from .training.normalization import FILE_NAME
from .training.recipe import Recipe, differences
from .training.recipe_files import load_recipe

RECIPE, RUN = "recipe.yaml", "run.json"
PACKAGES = ("aural", "torch", "transformers", "datasets", "accelerate")
FREE = (  # what may change between a run and its continuation, since no weight follows from it
    "about",
    "make",
    "expected",
    "status",
    "data.test",
    "data.card",
    "data.cache",
    "training.save_total_limit",
    "training.logging_",
    "training.report_to",
    "training.log_examples",
    "training.dataloader_",
    "training.run_name",
)


def facts_of(recipe: Recipe, fingerprint: str, dropped: Mapping[str, int]) -> dict[str, Any]:
    """What a run follows from, beside the recipe.

    Args:
        recipe: Whose seed counts.
        fingerprint: Of the data.
        dropped: Training clips that are left out, by reason.
    """
    return {
        "state": "running",
        "seed": recipe.seed,
        "data_fingerprint": fingerprint,
        "versions": {name: version(name) for name in PACKAGES},
        "dropped": dict(dropped),
    }


def _read_run(out: Path) -> tuple[Recipe, dict[str, Any]] | None:
    """Recipe and facts of the run in a folder; None if it holds none."""
    if out.is_file():
        raise NotADirectoryError(f"{out} is a file; --out names a folder")
    if not (out / RUN).is_file() or not (out / RECIPE).is_file():
        begun = {RECIPE, RUN, FILE_NAME, UNFINISHED}  # killed before all of its notes were there
        foreign = sorted({entry.name for entry in out.iterdir()} - begun) if out.is_dir() else []
        if foreign:
            raise FileExistsError(f"{out} holds {foreign[0]}, which is no part of a run; choose another --out")
        return None
    try:
        return load_recipe(out / RECIPE), json.loads((out / RUN).read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{out} holds the damaged notes of a run: {error}") from error


def finished_run(out: Path, recipe: Recipe) -> dict[str, Any] | None:
    """The facts of a finished run of this recipe in a folder; None if there is none.

    Raises:
        OSError: `out` is a file, or holds something else than a run.
        ValueError: It holds a run of another recipe, or damaged notes.
    """
    if (found := _read_run(out)) is None:
        return None
    earlier, facts = found
    if changed := [name for name in differences(earlier, recipe) if not name.startswith(FREE)]:
        raise ValueError(f"{out} holds a run with another {', '.join(changed[:5])}; choose another --out")
    return facts if facts.get("state") == "finished" else None


def check_same_data(out: Path, fingerprint: str) -> None:
    """A run goes on only with the data that it began with.

    Raises:
        ValueError: The run in the folder has data of another fingerprint.
    """
    found = _read_run(out)
    if found is not None and found[1].get("data_fingerprint") != fingerprint:
        raise ValueError(f"{out} holds a run on other data: files or texts changed since; choose another --out")


def as_json(facts: Mapping[str, Any]) -> str:
    """The content of `run.json`."""
    return json.dumps(facts, indent=2, ensure_ascii=False, default=str) + "\n"
