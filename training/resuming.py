"""A Trainer that loses no work: killed at any moment and started again, it ends with the weights of an unbroken run.

What is added to `Seq2SeqTrainer`, which resumes nearly so:

1. **Whole checkpoints** (`checkpointing.py`): `checkpoint-N` appears complete, older ones are pruned after that, and
   `resume_from_checkpoint=True` takes the newest that is whole. A disk that is full says so, and what is kept.
2. **What the stock Trainer forgets**: the loss not yet logged, the state of callbacks such as early stopping (in
   place, without `restore_callback_states_from_checkpoint`), the best checkpoint of a folder that was moved, and that
   a run was at its end: resumed there, the stock Trainer does one more step.
3. **An epoch's end is one**: a checkpoint due at the last step of an epoch is written after what the epoch's end logs
   and evaluates, which a run resumed from it would miss.
4. **Evaluation draws nothing** from training's generators, so how often a run evaluates changes no weight.
5. **SIGTERM and SIGINT** stop it at the end of the step with a checkpoint. An evaluation that is due or running then
   is left to the run that resumes.

Bit-equal means: on a CPU, with as many processes, batches ordered by (seed, epoch), and data that draw from their own
generators. The generators of torch, numpy and Python are restored after a resumed epoch's first batches were fetched:
data that draw from those would see other numbers.
"""

import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError
from transformers import EarlyStoppingCallback, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..processing.files import write_whole
from .checkpointing import UNFINISHED, clear_unfinished, move_files, newest_checkpoint, prune, put_in_place
from .measured_trainer import MeasuredTrainer
from .saving import SaveCallback, StoppedEvaluation
from .stopping import StopSignals


class ResumableTrainer(MeasuredTrainer):
    """`Seq2SeqTrainer` whose runs go on where they were interrupted, as if they had not been.

        trainer.train(resume_from_checkpoint=newest_checkpoint(args.output_dir))  # None at the first start
        if trainer.stopped:
            sys.exit(0)  # asked to stop by SIGTERM or Ctrl-C: the same command goes on

    Several processes write into one folder, which all of them see, or each node into its own with
    `save_on_each_node`.

    Args:
        model: As for `Seq2SeqTrainer`, as are all others but `checkpoint_files`.
        checkpoint_files: Texts by file name to be saved with every checkpoint and model, such as the recipe.

    Attributes:
        stopped: Whether the last `train()` ended because a signal asked for it; its checkpoint is the newest.
    """

    def __init__(
        self,
        model: Any = None,
        args: TrainingArguments | None = None,
        *more: Any,
        checkpoint_files: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.checkpoint_files = dict(checkpoint_files or {})
        self.stopped = False
        self._source: str | None = None  # the checkpoint that is resumed from
        self._scratch: Path | None = None  # where a checkpoint is being written
        super().__init__(model, args, *more, **kwargs)
        self._signals = StopSignals()
        self._saving = SaveCallback(lambda: self._signals.agreed(self.args.device))
        self.add_callback(self._saving)

    def train(self, resume_from_checkpoint: str | Path | bool | None = None, *more: Any, **kwargs: Any) -> Any:
        """Train, to the end or until a signal; `stopped` tells which.

        Args:
            resume_from_checkpoint: A checkpoint; True: the newest whole one of `args.output_dir`.
            more, kwargs: As for the stock Trainer.

        Raises:
            ValueError: There is no whole checkpoint to resume from.
            OSError: A checkpoint cannot be written; the message says which is kept.
        """
        folder = str(self.args.output_dir)
        if self.args.should_save:
            clear_unfinished(folder)
        if resume_from_checkpoint is True:
            found = [newest_checkpoint(folder)]
            resume_from_checkpoint = broadcast_object_list(found)[0]  # all processes take the first's
            if resume_from_checkpoint is None:
                raise ValueError(f"{folder} has no whole checkpoint to resume from; train without resuming")
        self._source = str(resume_from_checkpoint) if resume_from_checkpoint else None
        self._saving.reset()
        with self._signals.heeded():
            output = super().train(self._source, *more, **kwargs)
            # A signal that came after the last step is answered as well.
            self.stopped = self._saving.stopped or self._signals.agreed(self.args.device)
        return output

    def train_whole(self) -> None:
        """Train to the end, for a caller who would else go on with half a model and nothing to resume from.

        Raises:
            KeyboardInterrupt: A signal stopped it.
        """
        self.train()
        if self.stopped:
            raise KeyboardInterrupt

    # ---- Writing ----

    def _get_output_dir(self, trial: Any) -> str:
        """The run's folder, or amid a save the one under it where checkpoints are written."""
        return super()._get_output_dir(trial) if self._scratch is None else str(self._scratch)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        run = Path(self._get_output_dir(trial))
        checkpoint = run / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        part, best = run / UNFINISHED / checkpoint.name, self.state.best_model_checkpoint
        try:
            self._scratch = part.parent
            super()._save_checkpoint(model, trial)
            self._scratch = None
            step = self.state.best_global_step
            path = run / f"{PREFIX_CHECKPOINT_DIR}-{step}"
            self.state.best_model_checkpoint = str(path) if step and (path == checkpoint or path.is_dir()) else best
            self.accelerator.wait_for_everyone()  # each process has written its generators
            if self.args.should_save:
                self._keep_callback_states(self._callback_states())
                self.state.save_to_json(str(part / TRAINER_STATE_NAME))
                self._write_files(part)
                put_in_place(part, checkpoint)
                prune(checkpoint, self.args.save_total_limit, self.state.best_model_checkpoint)
        except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors raise their own
            raise OSError(_not_written(checkpoint, error)) from error
        finally:
            self._scratch = None
            if self.args.should_save:
                clear_unfinished(run)
        self.accelerator.wait_for_everyone()  # nobody goes on, and evaluates or ends, before it is there
        if self.args.push_to_hub:
            self._push_from_checkpoint(str(checkpoint))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model, each file whole or not at all; on all processes, of which one writes.

        Args:
            output_dir: Its folder; None: `args.output_dir`.
            _internal_call: As in the stock Trainer.

        Raises:
            OSError: A file cannot be written; those that stood there are untouched.
        """
        if self._scratch is not None:  # amid a checkpoint
            super().save_model(output_dir, _internal_call=True)
            return
        folder = Path(str(output_dir or self.args.output_dir))
        part = folder / UNFINISHED / "model"
        try:
            super().save_model(str(part), _internal_call=True)
            if self.args.should_save and part.is_dir():
                self._write_files(part)
                move_files(part, folder)
        finally:
            if self.args.should_save:
                clear_unfinished(folder)
        if self.args.push_to_hub and not _internal_call:
            self.push_to_hub(commit_message="Model save", revision=self.args.hub_revision)

    def _write_files(self, folder: Path) -> None:
        for name, text in self.checkpoint_files.items():
            write_whole(folder / name, text)

    def _keep_callback_states(self, states: dict[str, Any]) -> None:
        self.state.stateful_callbacks = states  # type: ignore[assignment]  # it begins as a list of callbacks

    def _callback_states(self) -> dict[str, Any]:
        """What callbacks want kept, by class: a list where several are of one class, as the stock Trainer reads it."""
        states: dict[str, Any] = {}
        for callback in [*self.callback_handler.callbacks, self.control]:
            if isinstance(callback, ExportableState):
                name, state = type(callback).__name__, callback.state()
                if name not in states:
                    states[name] = state
                else:
                    states[name] = [*(states[name] if isinstance(states[name], list) else [states[name]]), state]
        return states

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        sums = {"loss": self._tr_loss.item(), "last_logged_step": self._globalstep_last_logged}
        write_whole(Path(output_dir) / self._unlogged(), json.dumps(sums))

    def _unlogged(self) -> str:
        return f"unlogged_loss_{self.args.process_index}.json"

    # ---- Resuming ----

    def _load_callback_state(self) -> None:
        """Give the callbacks their states, in place, and find the best checkpoint where the run's folder is now."""
        kept: Any = self.state.stateful_callbacks  # a mapping by now, whatever its declared type says
        for name, states in kept.items():
            found = [one for one in self.callback_handler.callbacks if type(one).__name__ == name]
            for callback, state in zip(found, states if isinstance(states, list) else [states], strict=False):
                for attribute, value in state.get("attributes", {}).items():
                    setattr(callback, attribute, value)
        self._keep_callback_states(self._callback_states() | kept)  # the stock Trainer misses those that are new
        best = Path(str(self.args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.best_global_step}"
        if self.state.best_global_step and best.is_dir():
            self.state.best_model_checkpoint = str(best)

    def _run_epoch(self, **kwargs: Any) -> None:  # type: ignore[override]  # called by name
        """One epoch, or what is left of it; in a run that has reached its end, what is left of that."""
        source, trial = kwargs["resume_from_checkpoint"], kwargs["trial"]
        if source is not None and kwargs["epoch"] == kwargs["epochs_trained"]:
            self._load_unlogged_loss(Path(source))
            self._catch_up(trial, kwargs["ignore_keys_for_eval"])
            if self.state.global_step >= self.state.max_steps or self._ended_early():
                self.control.should_training_stop = True
        if not self.control.should_training_stop:
            self._saving.steps_per_epoch = kwargs["num_update_steps_per_epoch"]
            super()._run_epoch(**kwargs)

    def _load_unlogged_loss(self, checkpoint: Path) -> None:
        file = checkpoint / self._unlogged()
        if not file.is_file():  # of the stock Trainer, or of fewer processes
            return
        sums = json.loads(file.read_text(encoding="utf-8"))
        self._tr_loss = torch.tensor(sums["loss"], device=self.args.device)
        self._globalstep_last_logged = sums["last_logged_step"]
        self._total_loss_scalar = -sums["loss"]  # the mean loss told at the end is that of this call's steps

    def _ended_early(self) -> bool:
        stoppers = [one for one in self.callback_handler.callbacks if isinstance(one, EarlyStoppingCallback)]
        return any(one.early_stopping_patience_counter >= one.early_stopping_patience for one in stoppers)

    def _catch_up(self, trial: Any, ignore_keys: list[str] | None = None) -> None:
        """Do the evaluation that was due when the run was asked to stop."""
        if self._saving.evaluation_due:
            try:
                metrics = self._evaluate(trial, ignore_keys)
            except StoppedEvaluation:  # again: the checkpoint still says that it is due
                self._saving.stop(self.control)
                return
            self._saving.evaluation_due = False
            if self._determine_best_metric(metrics=metrics, trial=trial) or self._saving.stopping:
                self._load_rng_state(self._source)  # which the stock Trainer does later
                self._save_checkpoint(self.model_wrapped, trial)
            if self._saving.stopping:
                self._saving.stop(self.control)

    # ---- Evaluating and stopping ----

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        try:
            super()._maybe_log_save_evaluate(*args, **kwargs)
        except StoppedEvaluation:
            self._saving.hurry(self.control)
            super()._maybe_log_save_evaluate(*args, **kwargs)

    def _evaluate(self, trial: Any, ignore_keys_for_eval: list[str] | None, skip_scheduler: bool = False) -> Any:
        if skip_scheduler and self.state.global_step > 0:  # `eval_on_start`, which a resumed run is past
            return {}
        self._saving.evaluating = True
        try:
            with _generators_kept():
                return super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler)
        finally:
            self._saving.evaluating = False

    def prediction_step(self, *args: Any, **kwargs: Any) -> Any:
        """As in the stock Trainer; amid training, a signal breaks the evaluation off.

        Args:
            args, kwargs: As in the stock Trainer.
        """
        if self._saving.evaluating and self._signals.agreed(self.args.device):
            raise StoppedEvaluation
        return super().prediction_step(*args, **kwargs)

    def _finalize_training(self, trial: Any, *args: Any) -> Any:
        if not self._saving.stopped:
            self._catch_up(trial)
        if not self._saving.stopped:
            return super()._finalize_training(trial, *args)
        # Without a best checkpoint, the weights stay the newest, and so does the checkpoint that the run goes on from.
        best, self.state.best_model_checkpoint = self.state.best_model_checkpoint, None
        try:
            return super()._finalize_training(trial, *args)
        finally:
            self.state.best_model_checkpoint = best


def _not_written(checkpoint: Path, error: Exception) -> str:
    kept = newest_checkpoint(checkpoint.parent)
    what = "no earlier one is there" if kept is None else f"{kept.name} is whole, and a resumed run goes on from it"
    return f"{checkpoint.name} could not be written to {checkpoint.parent}: {error}; {what}"


@contextmanager
def _generators_kept() -> Iterator[None]:
    """Whatever the block draws, the generators of Python, numpy and torch stand afterwards where they stood."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
