"""When a run saves: at an epoch's end after all that belongs to it, and at once when it is asked to stop."""

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState


class StoppedEvaluation(Exception):
    """An evaluation amid training was broken off, because the run is to stop."""


class SaveCallback(TrainerCallback, ExportableState):
    """Decide, after the other callbacks, what of logging, evaluating and saving is done now.

    1. What is to be saved at the last step of an epoch waits for the epoch's end.
    2. Asked to stop, the run saves at the end of the step and evaluates no more; that an evaluation was due is part of
       the checkpoint.

    Args:
        asked: Whether the run is to stop; on all processes alike, which all call it at the same points.

    Attributes:
        steps_per_epoch: Set by the Trainer.
        evaluating: Set by the Trainer while it evaluates amid training.
        evaluation_due: Whether an evaluation was left out.
        stopped: Whether the run was stopped, and saved.
    """

    def __init__(self, asked: Callable[[], bool]) -> None:
        self.asked = asked
        self.steps_per_epoch = 0
        self.evaluating = False
        self.reset()

    def reset(self) -> None:
        """Begin anew, before a training."""
        self.stopping = self.stopped = self.evaluation_due = self.postponed = False

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"args": {}, "attributes": {"evaluation_due": self.evaluation_due}}

    def hurry(self, control: TrainerControl) -> None:
        """Save now and leave the evaluation, if one is due, to the run that resumes.

        Args:
            control: Of the run.
        """
        self.stopping = True
        self.evaluation_due = self.evaluation_due or control.should_evaluate
        control.should_evaluate, control.should_save = False, True

    def stop(self, control: TrainerControl) -> None:
        """End the training; what is to be saved has been.

        Args:
            control: Of the run.
        """
        self.stopped = control.should_training_stop = True

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """See to what is due at a step.

        Args:
            args, kwargs: Not used.
            state: Tells the step.
            control: What the callbacks before have asked for, and what becomes of it.
        """
        if self.asked():
            self.hurry(control)
        if control.should_training_stop or state.global_step % self.steps_per_epoch == 0:
            self.postponed, control.should_save = control.should_save, False

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """See to what is due at an epoch's end, also where a run breaks off amid one.

        Args:
            args, state, kwargs: Not used.
            control: As for `on_step_end`.
        """
        if self.stopped:
            control.should_log = control.should_evaluate = control.should_save = False
            return
        control.should_save, self.postponed = control.should_save or self.postponed, False
        if self.stopping:
            self.hurry(control)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save after an evaluation in whose last moments the run was asked to stop.

        Args:
            args, state, kwargs: Not used.
            control: Its `should_save` is set.
        """
        if self.evaluating and self.asked():
            self.stopping = control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stop once the checkpoint is there.

        Args:
            args, state, kwargs: Not used.
            control: Its `should_training_stop` is set.
        """
        if self.stopping or self.asked():
            self.stop(control)
