"""A progress bar for the Trainer that shows the loss and the time left."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

LOGGED = (
    "loss",
    "learning_rate",
    "eval_loss",
    "eval_wer",
    "eval_cer",
    "eval_accuracy",
    "eval_macro_recall",
    "eval_map",
)


class RichProgress(TrainerCallback):
    """One line that moves: updates done, loss of the last log, time used and left.

    Use it with `TrainingArguments(disable_tqdm=True)`; off the main process it shows nothing.

    Args:
        console: Where it is drawn; default standard output.
        label: Written before the bar.
        lines: Where the console is no terminal, such as a file, write a line at every log instead.
    """

    def __init__(self, console: Console | None = None, label: str = "training", lines: bool = False) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console or Console(),
        )
        self.label = label
        self.lines = lines and not self.progress.console.is_terminal
        self.task: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Draw the bar."""
        if state.is_world_process_zero and not self.lines:
            self.task = self.progress.add_task(self.label, total=state.max_steps, completed=state.global_step, loss="")
            self.progress.start()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move it on."""
        if self.task is not None:
            self.progress.update(self.task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show the newest loss, or write what was logged."""
        if self.task is not None and logs and "loss" in logs:
            self.progress.update(self.task, loss=f"loss {float(logs['loss']):.2f}")
        if self.lines and logs and state.is_world_process_zero:
            values = ", ".join(
                f"{name.removeprefix('eval_')} {value:.4g}" for name, value in logs.items() if name in LOGGED
            )
            if values:
                self.progress.console.print(
                    f"{self.label} {state.global_step}/{state.max_steps}: {values}", soft_wrap=True
                )

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the finished bar on the screen."""
        if self.task is not None:
            self.progress.stop()
