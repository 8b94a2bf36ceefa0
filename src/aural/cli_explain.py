"""The figures of the field, from a live model.

aural explain attention -o attention.png
aural explain attention --model models/sounds --file yard.wav --layer layers.3 --head 2 -o attention.pdf
aural explain las --dark -o las.svg
aural explain patches --model models/sounds --file yard.wav -o patches.png
"""

from pathlib import Path
from typing import Annotated

import typer

from .cli_sounds import check_out
from .console import quiet_libraries
from .processing.plots import check_picture

explain_app = typer.Typer(rich_markup_mode="markdown", no_args_is_help=True)

ModelOption = Annotated[
    str | None,
    typer.Option(help="Model folder or Hub id; default, in a clone: the kept model that fits.", show_default=False),
]
FileOption = Annotated[
    Path | None,
    typer.Option(help="Audio of at most 30 s; default: a recording that comes with aural.", show_default=False),
]
DarkOption = Annotated[bool, typer.Option("--dark", help="For dark ground.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="The picture: .png, .svg or .pdf.", show_default=False)]
PatchOption = Annotated[
    str | None,
    typer.Option(
        help="The patch that is followed: SECONDS,HZ, or its number ROW * COLUMNS + COLUMN; default: the loudest.",
        show_default=False,
    ),
]


@explain_app.callback(
    epilog="Example: `aural explain attention -o attention.png` · `aural explain las --dark -o las.svg` · "
    "`aural explain patches --model models/sounds --file yard.wav -o patches.pdf`"
)
def explain() -> None:
    """Draw the three figures of the field from a live model, with its real numbers."""


@explain_app.command(
    epilog="Example: `aural explain attention -o attention.png` · "
    "`aural explain attention --model captioner --file yard.wav --layer decoder.1.cross --head 2 -o attention.pdf`"
)
def attention(
    out: OutOption,
    model: ModelOption = None,
    file: FileOption = None,
    layer: Annotated[
        str | None,
        typer.Option(
            help="A layer by its name, such as 3, layers.3, decoder.1.cross; default: the last cross-attention, else "
            "one in the middle.",
            show_default=False,
        ),
    ] = None,
    head: Annotated[int | None, typer.Option(min=0, help="Counted from 0; default: the sharpest.")] = None,
    query: Annotated[
        str | None,
        typer.Option(
            help="A query to show: a patch, SECONDS,HZ or its number ROW * COLUMNS + COLUMN; a token's place in the "
            "text. Default: the loudest patch, the first token.",
            show_default=False,
        ),
    ] = None,
    dark: DarkOption = False,
) -> None:
    """Scaled dot-product attention, number by number: Q, K, scores, mask, softmax, V, context; and every head."""
    _check(out, file)
    from . import explain as figures

    figures.attention(model, file, layer=layer, head=head, query=_place(query)).save(out, dark)
    print(out)


@explain_app.command(epilog="Example: `aural explain las -o las.png` · `… --model demo/model --file seven.wav --dark`")
def las(
    out: OutOption,
    model: ModelOption = None,
    file: FileOption = None,
    query: Annotated[
        int | None,
        typer.Option(
            min=0, help="The place of the token that is followed; default: the sharpest.", show_default=False
        ),
    ] = None,
    dark: DarkOption = False,
) -> None:
    """Listen-Attend-Spell layer by layer: the pyramid, where each token looks, what is written."""
    _check(out, file)
    from . import explain as figures

    figures.las(model, file, query=query).save(out, dark)
    print(out)


@explain_app.command(
    epilog="Example: `aural explain patches -o patches.png` · `… --model models/sounds --query 1.2,800`"
)
def patches(
    out: OutOption,
    model: ModelOption = None,
    file: FileOption = None,
    query: PatchOption = None,
    dark: DarkOption = False,
) -> None:
    """From a spectrogram to patches, embeddings, positions, layers, and what the model says."""
    _check(out, file)
    from . import explain as figures

    figures.patches(model, file, query=_place(query)).save(out, dark)
    print(out)


def _check(out: Path, file: Path | None) -> None:
    """What would fail at the end is said at once."""
    quiet_libraries()
    check_picture(out)
    check_out(out, [] if file is None else [file])


def _place(said: str | None) -> int | tuple[float, float] | None:
    """What --query says: a number, or seconds and Hz."""
    if said is None:
        return None
    try:
        if "," not in said:
            return int(said)
        seconds, hertz = (float(part) for part in said.split(","))
    except ValueError:
        raise typer.BadParameter(f"--query {said}: allowed are a number, and SECONDS,HZ such as 1.2,800") from None
    return seconds, hertz
