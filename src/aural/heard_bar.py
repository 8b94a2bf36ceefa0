"""The bar that shows how much of a recording is heard."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

BAR_FROM = 60.0  # seconds of audio
Heard = Callable[[float, float | None], None]


@contextmanager
def heard_bar(name: str, quiet: bool) -> Iterator[Heard]:
    """A bar on standard error, for a person who waits for over a minute of audio.

    Args:
        name: Of the recording.
        quiet: No bar.

    Yields:
        What to call with the seconds heard, and the length where it is known.
    """
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda heard, seconds: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    on_screen = sys.stdout.isatty()  # then what is printed goes above the bar; else it must not come to the screen
    with Progress(*columns, console=console, transient=True, redirect_stdout=on_screen) as bar:
        task = bar.add_task(name, total=None, visible=False)

        def show(heard: float, seconds: float | None) -> None:
            long = max(heard, seconds or 0) > BAR_FROM
            bar.update(task, completed=heard, total=seconds, visible=long)

        yield show
