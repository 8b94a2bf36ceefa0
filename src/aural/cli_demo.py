"""Commands that train small models on real sound, measure them, and draw what they attend to: one per study.

aural demo
aural demo drums --corpus data/drums
aural demo captions
aural demo pretraining --corpus data/drums
aural demo heads --las demo
aural demo bottleneck
aural demo receipts --model model_cards/las-demo
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .console import quiet_libraries

demo_app = typer.Typer(rich_markup_mode="markdown")

LongOption = Annotated[bool, typer.Option("--long", help="Train longer, for a lower error.")]
TinyOption = Annotated[bool, typer.Option("--tiny", help="A few seconds that only show that everything runs.")]
SeedOption = Annotated[int, typer.Option(help="What the run follows from.")]
DrumsOption = Annotated[
    Path, typer.Option("--corpus", help="The folder that `aural corpora drums` made.", show_default=False)
]
ProcessesOption = Annotated[
    int | None, typer.Option(min=1, help="Trainings at once; default: one per core.", show_default=False)
]


def _size(tiny: bool) -> str:
    quiet_libraries()
    return "tiny" if tiny else "standard"


@demo_app.callback(
    invoke_without_command=True,
    epilog="Example: `aural demo --out demo` · `aural demo drums --corpus data/drums` · `aural demo captions` · "
    "`aural demo heads --las demo` · `aural demo bottleneck` · `aural demo receipts --model demo/model`",
)
def demo(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="Folder for what it writes.", show_default="demo")] = None,
    long: LongOption = False,
    tiny: TinyOption = False,
    seed: SeedOption = 0,
) -> None:
    """Train a small model on real sound, measure it, and draw what it attends to or hears.

    Alone, and as `aural demo strings`: Listen-Attend-Spell on speech that comes with aural, in some ten minutes.
    """
    if context.invoked_subcommand is None:
        strings(out or Path("demo"), long, tiny, seed)
    elif out is not None or long or tiny or seed:
        raise typer.BadParameter(f"options of `aural demo {context.invoked_subcommand}` come after its name")


@demo_app.command()
def strings(
    out: Annotated[Path, typer.Option(help="Folder for what it writes.")] = Path("demo"),
    long: LongOption = False,
    tiny: TinyOption = False,
    seed: SeedOption = 0,
) -> None:
    """Listen-Attend-Spell on strings of recordings that come with aural (some ten minutes)."""
    from .demo import PLANS, run_demo

    if long and tiny:
        raise typer.BadParameter("--long and --tiny exclude each other")
    run_demo(out, PLANS["long" if long else _size(tiny)], seed=seed, console=Console())


@demo_app.command()
def drums(
    corpus: DrumsOption,
    out: Annotated[Path, typer.Option(help="Folder for what it writes.")] = Path("demo-drums"),
    tiny: TinyOption = False,
    processes: ProcessesOption = None,
    seed: SeedOption = 0,
) -> None:
    """A patch transformer on single hits and mixes, in five folds by kit (six trainings of a quarter of an hour)."""
    from .drum_demo import PLANS, run_drums

    print(run_drums(corpus, out, PLANS[_size(tiny)], seed, processes, Console()))


@demo_app.command()
def captions(
    corpus: Annotated[Path, typer.Option(help="A folder with drums/ and effects/; what is not there is made.")] = Path(
        "data/mixes"
    ),
    out: Annotated[Path, typer.Option(help="Folder for what it writes.")] = Path("demo-captions"),
    tiny: TinyOption = False,
    seed: SeedOption = 0,
) -> None:
    """Descriptions of mixes of drums, animals and things, exactly tested (a quarter of an hour)."""
    from .caption_demo import PLANS, run_captions

    run_captions(corpus, out, PLANS[_size(tiny)], seed, Console())


@demo_app.command()
def pretraining(
    corpus: DrumsOption,
    out: Annotated[Path, typer.Option(help="Folder for what it writes.")] = Path("demo-pretraining"),
    tiny: TinyOption = False,
    seed: SeedOption = 0,
) -> None:
    """The drums with a tenth of their labels, after hearing all without, and from scratch (some ten minutes)."""
    from .drum_pretraining_report import PLANS, run_pretraining

    print(run_pretraining(corpus, out, PLANS[_size(tiny)], seed, Console()))


@demo_app.command()
def heads(
    out: Annotated[Path, typer.Option(help="Folder for what it writes.")] = Path("demo-heads"),
    tiny: TinyOption = False,
    las: Annotated[
        Path | None,
        typer.Option(help="A folder that `aural demo` wrote, in place of training LAS once more.", show_default=False),
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """LAS, CTC and a decoder with CTC on the same strings (three trainings of some twelve minutes)."""
    from .string_study import PLANS, run_strings

    print(run_strings(out, PLANS[_size(tiny)], seed, las=las, console=Console()))


@demo_app.command()
def bottleneck(
    out: Annotated[Path, typer.Option(help="Folder for what it writes.")] = Path("demo-bottleneck"),
    tiny: TinyOption = False,
    processes: ProcessesOption = None,
    seed: SeedOption = 0,
) -> None:
    """Word error rate over length, for spellers that see more or less of the speech (nine times five minutes)."""
    from .bottleneck import PLANS, run_bottleneck

    print(run_bottleneck(out, PLANS[_size(tiny)], seed, processes, Console()))


@demo_app.command()
def receipts(
    model: Annotated[Path, typer.Option(help="Model folder that `aural demo` wrote.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for what it writes.")] = Path("demo-receipts"),
    tiny: TinyOption = False,
    seed: SeedOption = 0,
) -> None:
    """Words that nobody said, found by muting what they attended to (some three minutes)."""
    from .receipt_study import PLANS, run_receipts

    print(run_receipts(model, out, PLANS[_size(tiny)], seed, Console()))
