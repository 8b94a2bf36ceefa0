"""The command that maps attention heads.

aural atlas yard.wav park.flac --model models/sounds -o atlas.png
aural atlas --corpus data/drums --model model_cards/drums -o atlas.png --csv atlas.csv --report atlas.json
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .cli_sounds import check_out
from .console import quiet_libraries
from .processing.plots import check_picture

if TYPE_CHECKING:
    from .atlas import Atlas

ATLAS_EXAMPLE = (
    "Example: `aural atlas yard.wav park.flac --model models/sounds -o atlas.png` · "
    "`aural atlas --corpus data/drums --model model_cards/drums --threshold 0.35 -o atlas.png --csv atlas.csv`"
)


def atlas(
    model: Annotated[str, typer.Option(help="Model folder or Hub id.", show_default=False)],
    files: Annotated[
        list[Path] | None, typer.Argument(help="Audio files: wav, flac, ogg, opus, mp3.", show_default=False)
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(
            help="In place of files: a folder that `aural corpora drums` made, whose hits are mixed. It tells which "
            "heads attend to their own source, and what heads are worth to a model of drums. Kits that the model's "
            "report names as heard are left out.",
            show_default=False,
        ),
    ] = None,
    effects: Annotated[
        Path | None, typer.Option(help="Beside --corpus: a folder that `aural corpora effects` made.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A .png, .svg or .pdf of the map.")] = None,
    table: Annotated[Path | None, typer.Option("--csv", help="Every number, a row per head.")] = None,
    report: Annotated[Path | None, typer.Option(help="JSON with counts, seed, scores and all numbers.")] = None,
    clips: Annotated[int, typer.Option(min=1, help="Mixes that are looked at; with --corpus.")] = 100,
    tests: Annotated[
        int, typer.Option(min=0, help="Clips that heads' worth is measured on; with --corpus. 0: it is not.")
    ] = 100,
    threshold: Annotated[float, typer.Option(help="From which an event counts.")] = 0.5,
    seed: Annotated[int, typer.Option(help="What mixes, shuffles and intervals follow from.")] = 0,
    dark: Annotated[bool, typer.Option("--dark", help="A picture on dark ground.")] = False,
    device: Annotated[str, typer.Option(help="Where the model runs, such as cuda.")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Map a model's attention heads: how far each looks, what it follows, what it is worth, and a name for it."""
    files = files or []
    if bool(files) == (corpus is not None):
        raise typer.BadParameter("give audio files, or --corpus, and not both")
    if effects is not None and corpus is None:
        raise typer.BadParameter("--effects: only beside --corpus")
    if out is not None:
        check_picture(out)
    for path in (out, table, report):
        if path is not None:
            check_out(path, files)
    quiet_libraries()
    from .atlas import atlas as map_heads
    from .atlas import load_listener

    loaded, extractor = load_listener(model, device)
    heard: tuple[list, list, str] = (files, [], f"{len(files)} files")
    if corpus is not None:
        heard = _mixes(model, loaded, corpus, effects, clips, tests, seed)
    with atlas_bar(quiet) as progress:
        result = map_heads(loaded, heard[0], extractor, heard[1], threshold, seed, progress)
    _write(result, Path(model).name, heard[2], out, table, report, dark)


def _mixes(
    model: str, loaded: Any, corpus: Path, effects: Path | None, clips: int, tests: int, seed: int
) -> tuple[list, list, str]:
    """Mixes to look at, clips to measure worth on, and what the two are."""
    from .atlas_clips import described_mixes, taught_clips, unheard_hits
    from .atlas_worth import is_single
    from .tag_windows import HEADS, label_names

    hits = unheard_hits(corpus, model)
    tested = []
    if tests and type(loaded).__name__ in HEADS:
        tested = taught_clips(hits, label_names(loaded), is_single(loaded), tests, seed)
    kits = sorted({hit.kit for hit in hits})
    about = f"{clips} mixes of two or three sources, drums of {len(kits)} kits"
    about += f" ({', '.join(kits)})" + (" and effects" if effects is not None else "")
    if tested:
        about += f"; worth on {len(tested)} clips of the same kits with the model's own labels"
    return described_mixes(hits, effects, clips, seed), tested, about


def _write(
    result: "Atlas", name: str, about: str, out: Path | None, table: Path | None, report: Path | None, dark: bool
) -> None:
    """Print the names, and write what was asked for; each file is whole or not there."""
    from .atlas_files import write_json, write_table
    from .processing.plots import save_figure

    if table is not None:
        write_table(result, table)
    if report is not None:
        write_json(result, report, about)
    if out is not None:
        layers, heads = result.shape
        title = f"{name}: {layers} layers of {heads} heads, {result.clips} clips"
        title += f", worth on {result.tests}" if result.tests else ""
        save_figure(result.plot(dark, title), out)
    for layer, row in enumerate(result.names):
        print(f"layers.{layer}: {', '.join(row)}")
    for score, value in result.scores.items():
        if not isinstance(value, list):
            low, high = result.scores[f"{score}_interval"]
            print(f"{score} of the whole model: {value:.3f} ({low:.3f} to {high:.3f}), {result.tests} clips")
    for note in result.notes:
        print(f"not measured: {note}", file=sys.stderr)


@contextmanager
def atlas_bar(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Bars on standard error for clips and heads, for a person who waits.

    Args:
        quiet: No bars.

    Yields:
        What to call with "clips" or "heads", how many are done, and how many there are.
    """
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda what, done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, int] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)  # type: ignore[arg-type]

        yield show
