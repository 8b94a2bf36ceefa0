"""What a recipe's model learns, text, sounds or what is masked: how each gets its features, model, data and metrics.

One class per kind of target. A run (`runs.py`) knows none of them: it opens the rows, asks the task for the parts, and
hands them to the Trainer.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol

from .run_pretraining import Pretraining
from .run_recognition import Answers, Recognition
from .run_tagging import Tagging
from .run_text_models import TEXT_MODELS
from .training.bases import load_base
from .training.recipe import Recipe
from .training.skipping import SkippedClips
from .training.streams import ItemStream


class Task(Protocol):
    """What a run asks of a kind of target."""

    target: ClassVar[str]

    @property
    def recipe(self) -> Recipe:
        """What is trained, or was."""

    @property
    def model(self) -> Any:
        """What is trained."""

    @property
    def processing(self) -> Any:
        """What makes its features, and its ids if it writes."""

    @property
    def outputs(self) -> list[str]:
        """Symbols or labels that the model tells, by id."""

    def dataset(self, rows: Any, training: bool) -> Any:
        """Items of a set; augmented if it is for training."""

    def stream(self, rows: Any, skipped: SkippedClips) -> ItemStream:
        """Training items of a stream, without end."""

    def misfits(self, rows: Any) -> list[int]:
        """Rows that the model's losses cannot take."""

    def collator(self) -> Any:
        """From items to batches."""

    def metrics(self, items: Any) -> Callable[[Any], dict[str, float]] | None:
        """Scores of an evaluation of `items` amid training, None where there is none; None: its loss is all."""

    def answers(self) -> Answers | None:
        """What of the logits of a model that does not generate is scored; None for all."""


TASKS: dict[str, type[Recognition] | type[Tagging] | type[Pretraining]] = {
    **dict.fromkeys(TEXT_MODELS, Recognition),
    "SpectrogramTransformerForAudioClassification": Tagging,
    "SpectrogramTransformerForPreTraining": Pretraining,
}


def load_task(folder: str | Path, recipe: Recipe | None) -> Task:
    """The task that a model folder is for, with model and processing as they lie there.

    Args:
        folder: A model folder or Hub id.
        recipe: What stands beside it, if anything: how sounds are cropped.

    Raises:
        OSError, ValueError: It cannot be loaded, or is for no task here.
    """
    model, processing = load_base(folder)
    name = type(model).__name__
    if name not in TASKS:
        raise ValueError(f"{folder} holds a {name}; allowed: {', '.join(TASKS)}")
    return TASKS[name](Recipe() if recipe is None else recipe, model, processing)
