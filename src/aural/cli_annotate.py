"""What `aural transcribe` and `aural tag` share when they work through a corpus: options, a bar, closing lines."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from .annotation import Annotator

INTERRUPTED = 130  # the exit code of what Ctrl-C ended
_PANEL = "A corpus"

DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="In place of files: a folder of audio, with a metadata.csv or not; .parquet or .arrow files; a Hub id.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
SplitOption = Annotated[
    str | None, typer.Option("--split", help="Of the corpus.", show_default=False, rich_help_panel=_PANEL)
]
SubsetOption = Annotated[
    str | None,
    typer.Option("--subset", help="Configuration on the Hub.", show_default=False, rich_help_panel=_PANEL),
]
SecondsOption = Annotated[
    float | None,
    typer.Option("--seconds-per-batch", help="Most seconds in a batch, padding included.", rich_help_panel=_PANEL),
]
ShardOption = Annotated[
    int | None,
    typer.Option("--shard-rows", min=1, help="Rows of a parquet file; default: 1000.", rich_help_panel=_PANEL),
]
AudioOption = Annotated[
    str | None, typer.Option("--audio-column", help="Default: audio.", show_default=False, rich_help_panel=_PANEL)
]
TargetOption = Annotated[
    str | None,
    typer.Option("--target-column", help="What is right; default: text or label, if there.", rich_help_panel=_PANEL),
]


def check_inputs(
    files: Sequence[Path], dataset: str | None, out: Path | None, corpus_options: Mapping[str, Any]
) -> None:
    """Refuse files beside a corpus, neither, and options for a corpus where there is none.

    Args:
        files, dataset, out: As typed.
        corpus_options: Those for a corpus alone, by name; None where not given.

    Raises:
        typer.BadParameter: Otherwise.
    """
    if files and dataset is not None:
        raise typer.BadParameter(f"FILES and --dataset {dataset} exclude each other")
    if not files and dataset is None:
        raise typer.BadParameter("give audio FILES, or --dataset and --out for a corpus")
    given = [name for name, value in corpus_options.items() if value is not None]
    if dataset is None and given:
        raise typer.BadParameter(f"{', '.join(given)}: only with --dataset")
    if dataset is not None and out is None:
        raise typer.BadParameter("--out FOLDER is needed with --dataset: the rows go there")


def refuse_with_dataset(options: Mapping[str, Any]) -> None:
    """Refuse options that are for files alone.

    Args:
        options: By name; falsy where not given.

    Raises:
        typer.BadParameter: One is given.
    """
    if given := [name for name, value in options.items() if value]:
        raise typer.BadParameter(f"{', '.join(given)}: for FILES, not with --dataset; its rows are parquet")


def annotate(
    annotator: "Annotator",
    dataset: str,
    out: Path,
    split: str | None,
    subset: str | None,
    shard_rows: int | None,
    target_column: str | None,
    quiet: bool,
) -> None:
    """Run `annotate_corpus` and say what comes of it.

    Raises:
        OSError, ValueError: As `annotate_corpus`; or not one clip of the corpus could be heard.
    """
    from .corpus_inference import annotate_corpus, counted, told
    from .corpus_shards import SHARD_ROWS

    try:
        with _watcher(quiet) as watcher:
            options = (split, subset, shard_rows or SHARD_ROWS, target_column)
            work = annotate_corpus(annotator, dataset, out, *options, watcher)
    except KeyboardInterrupt:
        print(f"aural: stopped; whole shards stay in {out}, and the same command goes on from there", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    who = f"process {watcher.world.rank} of {watcher.world.size}"
    pace = f", {work.seconds / work.elapsed:,.1f} s of audio per second" if work.elapsed else ""
    done = ", ".join((counted(work.shards, "shard"), counted(work.rows, "row"), counted(work.errors, "error")))
    print(f"{who}: wrote {done}{pace}", flush=True)
    if work.missing:
        print(f"{who}: left to other processes or the same command again: {counted(work.missing, 'shard')} of {out}")
    if work.summary is None:
        return
    print(f"{out}: " + "\n".join(told(work.summary)), flush=True)
    if work.summary["errors"] == work.summary["rows"]:
        raise ValueError(f"none of the clips in {dataset} could be heard; the first: {work.summary['first_error']}")


@contextmanager
def _watcher(quiet: bool) -> Iterator[Any]:
    """A `Watcher` with a bar on standard error for a person, or a line per file for a log; of the first process."""
    from .corpus_inference import Watcher, Work, counted
    from .corpus_shards import Shards
    from .training.world import World

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:

        class Shown(Watcher):
            world = World()

            def begins(self, world: World, shards: Shards, missing: int, mine: list[int]) -> None:
                self.world, self.shards = world, shards
                if world.rank == 0 and not quiet:
                    processes = f"{world.size} process{'es' if world.size > 1 else ''}"
                    parts = f"{counted(shards.rows, 'row')} in {counted(len(shards), 'shard')}"
                    done = len(shards) - missing
                    # Another process of this run may have written some of them since it began: none waits for another.
                    print(f"{processes}; {parts}, of which {done:,} there already", file=sys.stderr, flush=True)
                rows = sum(len(shards.span(shard)) for shard in mine)
                self.task = bar.add_task("clips", total=rows, visible=world.rank == 0 and rows > 0)

            def heard(self, clips: int) -> None:
                bar.advance(self.task, clips)

            def wrote(self, shard: int, work: Work) -> None:
                if self.world.rank == 0 and not quiet and not console.is_terminal:
                    pace = work.seconds / work.elapsed
                    print(f"{self.shards.path(shard).name}: {pace:,.1f} s per second", file=sys.stderr, flush=True)

        yield Shown()
